"""Fill the coarser levels of an image from its finer ones, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.pyramid import downsample_labels, downsample_mean, factors_between, parent_box
from bigseg.errors import ImageError
from bigseg.grid import Box, Grid, Index, size
from bigseg.io.volume import Volume

PARENT = 1 << 24
"""Voxels of the finer level that are held at once, about."""


def level_grid(coarse: Volume) -> Grid:
    """Blocks (t, z, y, x) of one level: one stored object each, so that none is shared."""
    t, _, z, y, x = coarse.shape
    return Grid((t, z, y, x), coarse.unit, (0, 0, 0, 0))


def shrink_block(fine: Volume, coarse: Volume, box: Box, *, labels: bool) -> None:
    """Compute the voxels of `box` in `coarse` from those of `fine`, and write them.

    Parameters
    ----------
    fine, coarse
        Two levels of one image, `coarse` being the next one.
    box : four slices (t, z, y, x)
        In voxels of `coarse`.
    labels
        Keep ids (most frequent one) rather than average.
    """
    above, factors = _between(fine, coarse)
    for channel in range(coarse.shape[1]):
        small = np.empty(size(box), coarse.dtype)
        for piece in _pieces(size(box), fine.unit, factors):
            there = tuple(
                slice(b.start + p.start, b.start + p.stop) for b, p in zip(box, piece, strict=True)
            )
            block = fine.read(parent_box(there, factors, above), (channel,))[:, 0]
            whole = _shrunk(block, factors, labels=labels)
            # An image may have dropped the incomplete last window of an axis.
            small[piece] = whole[tuple(slice(0, p.stop - p.start) for p in piece)]
        coarse.write(box, small, channel)


def shrink_what_is_left(fine: Volume, coarse: Volume, box: Box, *, labels: bool) -> None:
    """Do what `shrink_block` does where voxels cannot be read: those count as 0.

    What is damaged of the finer level is emptied, so that readers get past it, too: whole stored
    objects, as zarr finds no part of one. What cannot be reached may be whole, and stays; then the
    whole box is 0 in the coarser level.
    """
    above, factors = _between(fine, coarse)
    t, z, y, x = above
    stored = Grid((t, z, y, x), fine.unit, (0, 0, 0, 0))
    try:
        for one in stored.meeting(parent_box(box, factors, above)):
            for channel in range(fine.shape[1]):
                _empty_if_damaged(fine, one.write, channel)
        shrink_block(fine, coarse, box, labels=labels)
    except Exception:  # each store has exceptions of its own
        for channel in range(coarse.shape[1]):
            coarse.write(box, np.zeros(size(box), coarse.dtype), channel)


def _empty_if_damaged(volume: Volume, box: Box, channel: int) -> None:
    try:
        volume.read(box, (channel,))
    except ImageError:
        volume.write(box, np.zeros(size(box), volume.dtype), channel)


def _between(fine: Volume, coarse: Volume) -> tuple[Index, Index]:
    """Shape (t, z, y, x) of the finer level, and its voxels per voxel of the coarser one."""
    above = (fine.shape[0], *fine.shape[2:])
    below = (coarse.shape[0], *coarse.shape[2:])
    return above, factors_between(above, below)


def _pieces(shape: Index, unit: Index, factors: Index) -> Iterator[Box]:
    """Parts of a block whose parents are small, and whole stored objects of the finer level.

    Objects that are too large to be held are read in slabs of whole chunks of 64³ or 512² voxels.
    """
    if prod(unit) > PARENT:
        wide = 1024 if shape[1] == 1 else 256
        steps = [1, 32, wide, wide]
    else:
        steps = [max(u // f, 1) for u, f in zip(unit, factors, strict=True)]
        for axis in (3, 2, 1):
            while steps[axis] < shape[axis] and 2 * prod(steps) * prod(factors) <= PARENT:
                steps[axis] *= 2
    return (block.write for block in Grid(shape, tuple(steps), (0, 0, 0, 0)))


def _shrunk(block: NDArray[Any], factors: Index, *, labels: bool) -> NDArray[Any]:
    if not labels:
        return downsample_mean(block, factors)
    return np.stack([downsample_labels(frame, factors[1:]) for frame in block])
