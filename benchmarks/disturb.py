"""Per-block labels that are wrong on purpose, at stated rates: what merging has to cope with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from bigseg.grid import Block

Array = NDArray[Any]


@dataclass(frozen=True)
class Errors:
    """How often blocks err, each for itself."""

    shift: int = 0
    """Most voxels by which a block misplaces all of its labels, along each axis."""
    split: float = 0.0
    """Share of a block's objects that it takes for two."""
    miss: float = 0.0
    """Share that it does not see."""
    fuse: float = 0.0
    """Share that it takes for a part of a neighbour (nearer than 3 voxels)."""


def disturbed(truth: Array, block: Block, errors: Errors, seed: int = 0) -> NDArray[np.uint32]:
    """Labels (z, y, x) of a block's read box; the same for the same block and seed."""
    random = np.random.default_rng([seed, *block.index])
    steps = random.integers(-errors.shift, errors.shift + 1, 3)
    places = [
        np.clip(np.arange(b.start + step, b.stop + step), 0, n - 1) if n > 1 else np.zeros(1, int)
        for b, step, n in zip(block.read[1:], steps, truth.shape, strict=True)
    ]
    labels = truth[np.ix_(*places)].astype(np.uint32)
    ids = np.unique(labels)
    chances = random.random(int(ids.max()) + 1 if len(ids) else 1)
    bounds = np.cumsum([errors.miss, errors.split, errors.fuse])
    boxes = scipy.ndimage.find_objects(labels)
    highest = len(chances)
    for number in ids[ids > 0]:
        if chances[number] >= bounds[2]:
            continue
        box = tuple(slice(max(s.start - 3, 0), s.stop + 3) for s in boxes[int(number) - 1])
        part = labels[box]
        mask = part == number
        if chances[number] < bounds[0]:
            part[mask] = 0
        elif chances[number] < bounds[1]:
            part[mask & _half(mask, random)] = highest
            highest += 1
        else:
            _fuse(part, mask)
    return labels


def _half(mask: Array, random: np.random.Generator) -> Array:
    """What lies on one side of a plane through the middle of an object."""
    normal = random.normal(size=3) * (np.array(mask.shape) > 1)
    grid = np.stack(np.meshgrid(*map(np.arange, mask.shape), indexing="ij"), -1)
    if not mask.any():
        return mask
    side: Array = (grid - grid[mask].mean(axis=0)) @ normal > 0
    return side


def _fuse(part: Array, mask: Array) -> None:
    """Give an object the id of the neighbour nearest to it, if there is one in `part`."""
    others = np.where(mask, 0, part)
    if not mask.any() or not others.any():
        return
    distance, where = scipy.ndimage.distance_transform_edt(others == 0, return_indices=True)
    nearest = np.where(mask, distance, np.inf).argmin()
    if distance.flat[nearest] <= 3:
        part[mask] = others[tuple(index.flat[nearest] for index in where)]
