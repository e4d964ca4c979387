"""Fill the coarser levels of an image from its finer ones, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.pyramid import downsample_labels, downsample_mean, factors_between, parent_box
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
    above = (fine.shape[0], *fine.shape[2:])
    below = (coarse.shape[0], *coarse.shape[2:])
    factors = factors_between(above, below)
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
