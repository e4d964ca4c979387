"""Objects that tests invent: balls, rods, sheets, branches, touching cells; and crops of them.

All worlds are (z, y, x) uint32, planes have z = 1, and every object is one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

Array = NDArray[Any]
Index = tuple[int, ...]
Paint = Callable[[Index, np.random.Generator], Array]
"""Mask of one object at a random place."""


def _line(shape: Index, ends: Array, width: float) -> Array:
    """Mask of what is nearer than half of `width` to the line between two points."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    along = ends[1] - ends[0]
    t = ((grid - ends[0]) @ along / max(float(along @ along), 1e-9)).clip(0, 1)
    mask: Array = ((grid - ends[0] - t[..., None] * along) ** 2).sum(axis=-1) <= (width / 2) ** 2
    return mask


def _direction(shape: Index, random: np.random.Generator) -> Array:
    towards = random.normal(size=3) * (np.array(shape) > 1)
    return np.asarray(towards / np.linalg.norm(towards))


def _place(shape: Index, random: np.random.Generator) -> Array:
    return random.random(3) * (np.array(shape) - 1)


def a_ball(shape: Index, random: np.random.Generator, radius: tuple[float, float]) -> Array:
    """A ball, or a disc."""
    centre = _place(shape, random)
    return _line(shape, np.stack([centre, centre]), 2 * random.uniform(*radius))


def a_rod(
    shape: Index, random: np.random.Generator, width: tuple[float, float], length: float
) -> Array:
    """A straight rod in any direction."""
    start = _place(shape, random)
    ends = np.stack([start, start + length * _direction(shape, random)])
    return _line(shape, ends, random.uniform(*width))


def a_box(shape: Index, random: np.random.Generator, width: int, length: int) -> Array:
    """A rod along an axis, `width` voxels wide to the voxel."""
    mask = np.zeros(shape, bool)
    axis = random.choice(np.flatnonzero(np.array(shape) > 1))
    place = []
    for k, n in enumerate(shape):
        size = length if k == axis else width
        start = int(random.integers(-size // 2, n)) if n > 1 else 0
        place.append(slice(max(start, 0), start + size))
    mask[tuple(place)] = True
    return mask


def a_sheet(shape: Index, random: np.random.Generator, thick: float, width: float) -> Array:
    """A disc of some thickness in any direction; in planes, a rod."""
    centre, normal = _place(shape, random), _direction(shape, random)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - centre
    high = grid @ normal
    far = (grid**2).sum(axis=-1) - high**2
    mask: Array = (np.abs(high) <= thick / 2) & (far <= (width / 2) ** 2)
    return mask


def a_branch(shape: Index, random: np.random.Generator, width: float, length: float) -> Array:
    """Some rods from one point."""
    start = _place(shape, random)
    arms = [start + length / 2 * _direction(shape, random) for _ in range(3)]
    return np.any([_line(shape, np.stack([start, end]), width) for end in arms], axis=0)


def scatter(shape: Index, count: int, paint: Paint, seed: int, *, gap: bool = False) -> Array:
    """World of `count` objects; later ones stop at earlier ones, or keep away from them."""
    random = np.random.default_rng(seed)
    world = np.zeros(shape, np.uint32)
    for number in range(1, count + 1):
        mask = paint(shape, random)
        if gap and (world[scipy.ndimage.binary_dilation(mask, np.ones((3, 3, 3)))] > 0).any():
            continue
        world[mask & (world == 0)] = number
    return pieces(world)


def touching(shape: Index, pitch: float, seed: int) -> Array:
    """Voronoi cells of jittered seeds: dense, no background."""
    from scipy.spatial import cKDTree

    random = np.random.default_rng(seed)
    steps = [np.arange(pitch / 2, max(n, 2), pitch) if n > 1 else np.zeros(1) for n in shape]
    seeds = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    seeds = seeds + random.uniform(-pitch / 3, pitch / 3, seeds.shape) * (np.array(shape) > 1)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    nearest = cKDTree(seeds).query(grid)[1]
    return pieces((nearest + 1).reshape(shape).astype(np.uint32))


def lattice(shape: Index, pitch: int, radius: float) -> np.ndarray:
    """Balls or discs on a jittered lattice; touching if they are wider than it."""
    steps = [np.arange(pitch / 2, n, pitch) if n > 1 else np.zeros(1) for n in shape]
    centres = np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)
    jitter = np.random.default_rng(0).uniform(-1, 1, centres.shape)
    centres += jitter * (np.array(shape) > 1)
    found = np.zeros(shape, np.uint32)
    nearest = np.full(shape, radius**2)
    for number, centre in enumerate(centres, 1):
        box = tuple(
            slice(max(int(c - radius) - 1, 0), int(c + radius) + 2) for c in centre
        )  # all that it can reach
        grid = np.ogrid[
            tuple(slice(s.start, min(s.stop, n)) for s, n in zip(box, shape, strict=True))
        ]
        distance = sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True))
        closer = distance < nearest[box]
        found[box][closer] = number
        nearest[box][closer] = distance[closer]
    return found


def gaps(labels: Array) -> Array:
    """The same cells with a voxel of background around each."""
    inner = np.ones(labels.shape, bool)
    for axis in range(labels.ndim):
        step = [slice(None)] * labels.ndim
        ends = [slice(None)] * labels.ndim
        step[axis], ends[axis] = slice(1, None), slice(None, -1)
        differ = labels[tuple(step)] != labels[tuple(ends)]
        inner[tuple(step)] &= ~differ
        inner[tuple(ends)] &= ~differ
    return pieces(np.where(inner, labels, 0).astype(np.uint32))


def pieces(labels: Array) -> NDArray[np.uint32]:
    """Each connected piece (over faces) of an object as an object of its own, ids without gaps.

    Pieces of one id are told apart by doubling the grid: between neighbours of different ids the
    voxel in the middle stays empty.
    """
    fine = np.zeros([2 * n - 1 for n in labels.shape], bool)
    fine[tuple(slice(None, None, 2) for _ in labels.shape)] = labels > 0
    for axis in range(labels.ndim):
        first, second = [slice(None)] * labels.ndim, [slice(None)] * labels.ndim
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        same = (labels[tuple(first)] == labels[tuple(second)]) & (labels[tuple(first)] > 0)
        between = [slice(None, None, 2)] * labels.ndim
        between[axis] = slice(1, None, 2)
        fine[tuple(between)] = same
    found, _ = scipy.ndimage.label(fine)
    return np.asarray(found[tuple(slice(None, None, 2) for _ in labels.shape)], np.uint32)
