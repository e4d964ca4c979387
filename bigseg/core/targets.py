"""Flow targets: for every voxel of an object, the direction of its centre by heat diffusion.

Stringer et al. 2021, Nature Methods 18:100: heat enters at the centre of an object, spreads inside
it and is lost outside; the normalised gradient of the temperature is the flow. Each object is
diffused alone, in a padded box that fits the cache, for as many rounds as its own extent asks for,
so a long object does not slow the others and neighbours do not bend each other's flow.

In 3D nothing is published to be equal to, so the rounds use new values as soon as they are there.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.types import Floats, Labels

SOURCE = np.float32(1e30)
"""Heat per round: so much that float32 does not underflow at the end of a long, thin object."""

SETTLED = 2.0
"""Rounds per extent after which the flow of a solid object no longer turns (error < 0.01)."""
ROUGH = 0.4
"""Rounds per extent that suffice to judge an object (error < 0.05, where 0.4 is bad)."""

Boxes = NDArray[np.int32]

Spacing = tuple[float, float, float]
"""Voxel lengths along z, y, x; only their ratios count."""
CUBES = (1.0, 1.0, 1.0)
Passes = tuple[np.float32, np.float32, np.float32]
"""How easily heat goes to the neighbours along z, y, x."""


def flow_targets(labels: Labels, spacing: Spacing = CUBES) -> Floats:
    """Unit flows towards the centre of each object.

    Parameters
    ----------
    labels : (y, x) or (z, y, x) int
        Instance ids, 0 = background; ids need not be dense.
    spacing
        Voxel lengths along z, y, x. Flows are of unit length in space, not in voxels.

    Returns
    -------
    (2, y, x) or (3, z, y, x) float32
        Flow along each axis; zero in the background.
    """
    volume = as_volume(labels)
    flows = np.zeros((3, *volume.shape), np.float32)
    _fill_targets(volume, object_boxes(volume), flows, spacing)
    return flows[3 - labels.ndim :].reshape(labels.ndim, *labels.shape)


def as_volume(labels: Labels) -> NDArray[np.uint32]:
    """Labels as (z, y, x) uint32, z = 1 for a plane, with ids that are not larger than needed."""
    if labels.size and int(labels.max()) > max(labels.size, 2**16):
        ids, dense = np.unique(labels, return_inverse=True)
        labels = dense.reshape(labels.shape).astype(np.uint32) + np.uint32(ids[0] != 0)
    volume = labels.reshape((1,) * (3 - labels.ndim) + labels.shape)
    return np.ascontiguousarray(volume, dtype=np.uint32)


def object_boxes(volume: NDArray[np.uint32]) -> Boxes:
    """Bounding box of each id of a (z, y, x) volume.

    Returns
    -------
    (n + 1, 6) int32
        First z, y, x and the z, y, x after the last; all zero for an id that does not occur.
    """
    return _boxes(volume, int(volume.max()) if volume.size else 0)


@njit(cache=True, nogil=True)
def _boxes(volume: NDArray[np.uint32], n: int) -> Boxes:
    boxes = np.zeros((n + 1, 6), np.int32)
    deep, high, wide = volume.shape
    for z in range(deep):
        for y in range(high):
            x = 0
            while x < wide:
                id_ = volume[z, y, x]
                start = x
                while x < wide and volume[z, y, x] == id_:
                    x += 1
                if id_:
                    box = boxes[id_]
                    if box[3] == 0:
                        box[0], box[1], box[2] = z, y, start
                    box[1] = min(box[1], y)
                    box[2] = min(box[2], start)
                    box[3] = z + 1
                    box[4] = max(box[4], y + 1)
                    box[5] = max(box[5], x)
    return boxes


@njit(cache=True, nogil=True)
def _fill_targets(
    volume: NDArray[np.uint32], boxes: Boxes, flows: Floats, spacing: Spacing
) -> None:
    for id_ in range(1, len(boxes)):
        if boxes[id_, 3]:
            heat = object_heat(volume, id_, boxes[id_], SETTLED, spacing)
            z0, y0, x0, z1, y1, x1 = boxes[id_]
            for z in range(z0, z1):
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        if volume[z, y, x] == id_:
                            flow = direction(heat, (z - z0 + 1, y - y0 + 1, x - x0 + 1), spacing)
                            flows[0, z, y, x] = flow[0]
                            flows[1, z, y, x] = flow[1]
                            flows[2, z, y, x] = flow[2]


@njit(cache=True, nogil=True)
def direction(
    heat: Floats, voxel: tuple[int, int, int], spacing: Spacing
) -> tuple[float, float, float]:
    """Unit gradient, in space, of the heat at a voxel; zero where it is flat."""
    z, y, x = voxel
    fz = (np.float64(heat[z + 1, y, x]) - np.float64(heat[z - 1, y, x])) / spacing[0]
    fy = (np.float64(heat[z, y + 1, x]) - np.float64(heat[z, y - 1, x])) / spacing[1]
    fx = (np.float64(heat[z, y, x + 1]) - np.float64(heat[z, y, x - 1])) / spacing[2]
    norm = np.sqrt(fz * fz + fy * fy + fx * fx)
    if norm == 0.0:
        return 0.0, 0.0, 0.0
    return fz / norm, fy / norm, fx / norm


@njit(cache=True, nogil=True)
def object_heat(
    volume: NDArray[np.uint32],
    id_: int,
    box: NDArray[np.int32],
    effort: float,
    spacing: Spacing = CUBES,
) -> Floats:
    """Temperature of one object in its box, padded by a voxel of zeros on all sides.

    A flat object gets the published rounds; another one `effort` times the sum of its extents, in
    the shortest of the voxel's lengths. Through a long side of a voxel less heat passes.
    """
    z0, y0, x0, z1, y1, x1 = box
    inside = np.zeros((z1 - z0 + 2, y1 - y0 + 2, x1 - x0 + 2), np.float32)
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                if volume[z, y, x] == id_:
                    inside[z - z0 + 1, y - y0 + 1, x - x0 + 1] = 1
    heat = np.zeros_like(inside)
    deep, high, wide = heat.shape
    z, y, x = _centre(inside)
    if deep == 3:
        rounds = 2 * ((y1 - y0) + (x1 - x0) + 2)
        share = inside[1].ravel()
        share /= np.float32(9)
        _diffuse_plane(heat[1].ravel(), share, y * wide + x, rounds, wide)
    else:
        least = min(spacing)
        far = (deep - 2) * spacing[0] + (high - 2) * spacing[1] + (wide - 2) * spacing[2]
        rounds = int(np.ceil(effort * far / least))
        passes = (
            np.float32((least / spacing[0]) ** 2),
            np.float32((least / spacing[1]) ** 2),
            np.float32((least / spacing[2]) ** 2),
        )
        share = inside.ravel()
        share /= np.float32(1) + np.float32(2) * (passes[0] + passes[1] + passes[2])
        solid = (deep, high * wide)
        source = (z, y * wide + x)
        _diffuse_volume(heat.reshape(solid), share.reshape(solid), source, rounds, wide, passes)
    return heat


@njit(cache=True, nogil=True)
def _centre(inside: Floats) -> tuple[int, int, int]:
    """Voxel of the object that is nearest to its centre of mass."""
    total = np.zeros(3)
    n = 0
    for z, y, x in np.ndindex(inside.shape):
        if inside[z, y, x]:
            total[0] += z
            total[1] += y
            total[2] += x
            n += 1
    mean = total / n
    best, centre = np.inf, (0, 0, 0)
    for z, y, x in np.ndindex(inside.shape):
        if inside[z, y, x]:
            distance = (z - mean[0]) ** 2 + (y - mean[1]) ** 2 + (x - mean[2]) ** 2
            if distance < best:
                best, centre = distance, (z, y, x)
    return centre


@njit(cache=True, nogil=True)
def _diffuse_plane(heat: Floats, share: Floats, source: int, rounds: int, wide: int) -> None:
    """Mean over 3 x 3 pixels, heat outside being lost, `rounds` times (as published).

    The plane is flat: neighbours are `wide` apart, and what is read around the ends of a line
    is multiplied by a share of zero. One long loop is what compilers make vectors of.
    """
    sums = np.zeros(len(heat) - 2, np.float32)
    n = len(heat) - 2 * wide - 2
    above, here, below = sums[:n], sums[wide : wide + n], sums[2 * wide : 2 * wide + n]
    part = share[wide + 1 : wide + 1 + n]
    new = heat[wide + 1 : wide + 1 + n]
    for _ in range(rounds):
        heat[source] += SOURCE
        for i in range(len(sums)):
            sums[i] = heat[i] + heat[i + 1] + heat[i + 2]
        for i in range(n):
            new[i] = part[i] * (above[i] + here[i] + below[i])


@njit(cache=True, nogil=True)
def _diffuse_volume(
    heat: Floats,
    share: Floats,
    source: tuple[int, int],
    rounds: int,
    wide: int,
    passes: Passes,
) -> None:
    """Mean over a voxel and its 6 neighbours, plane by plane, to and fro, `rounds` times.

    `heat` and `share` are (z, y x); see `_diffuse_plane`. `passes` weighs the neighbours along
    each axis.
    """
    new = np.zeros(heat.shape[1] - 2 * wide - 2, np.float32)
    for turn in range(rounds):
        heat[source] += SOURCE
        for k in range(1, len(heat) - 1):
            z = len(heat) - 1 - k if turn % 2 else k
            _mix(new, (heat[z - 1], heat[z], heat[z + 1]), share[z], wide, passes)
            here = heat[z, wide + 1 :]
            for i in range(len(new)):
                here[i] = new[i]


@njit(cache=True, nogil=True)
def _mix(
    new: Floats,
    planes: tuple[Floats, Floats, Floats],
    share: Floats,
    wide: int,
    passes: Passes,
) -> None:
    """New values of one plane, from its second line to the last but one."""
    pz, py, px = passes
    plane = planes[1]
    before, after, share = planes[0][wide + 1 :], planes[2][wide + 1 :], share[wide + 1 :]
    above, left, here = plane[1:], plane[wide:], plane[wide + 1 :]
    right, below = plane[wide + 2 :], plane[2 * wide + 1 :]
    for i in range(len(new)):
        across = here[i] + px * (left[i] + right[i]) + py * (above[i] + below[i])
        new[i] = share[i] * (pz * (before[i] + after[i]) + across)
