"""Masks for the frames in which a track misses its object, between the two that it has.

The nearer of the two masks is moved by as much of the way between their centres as the time says.
It goes only where there is background: objects that were seen are never overwritten. Filling gaps
before writing a CTC folder is worth much: unfilled, each one ends a track there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from bigseg.core.tracking.descent import previous
from bigseg.core.tracking.lineage import Frames, Ints, Lineages


@dataclass(frozen=True, slots=True)
class Gaps:
    """Frames that tracks miss; one row for each frame of each gap, sorted by frame, then track."""

    frame: Frames
    """(g,) frame without the object."""
    track: Ints
    """(g,) whose it is."""
    before: Ints
    """(g,) row of the last detection before."""
    after: Ints
    """(g,) row of the first detection after."""
    part: NDArray[np.float64]
    """(g,) where the frame is between both, from 0 to 1."""


def gaps(found: Lineages) -> Gaps:
    """Frames that tracks miss between their detections.

    A gap between a mother and her daughters is not filled: whose it would be is not known.
    """
    before = previous(found)
    after = np.flatnonzero(before >= 0)
    before = before[after]
    missed = found.frame[after] - found.frame[before] - 1
    row = np.repeat(np.arange(len(after)), missed)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(missed) - missed, missed) + 1
    before, after = before[row], after[row]
    frame = (found.frame[before] + nth).astype(np.int32)
    order = np.lexsort((found.track[before], frame))
    part = nth / (missed[row] + 1)
    return Gaps(frame[order], found.track[before][order], before[order], after[order], part[order])


@dataclass(frozen=True, slots=True)
class Piece:
    """Voxels of one object."""

    corner: tuple[int, ...]
    """First voxel of its box along each axis; may lie outside of the frame."""
    mask: NDArray[np.bool_]
    """Its voxels within its box."""

    @property
    def centre(self) -> NDArray[np.float64]:
        """Mean of its voxels, in voxels of the frame."""
        return np.asarray(np.argwhere(self.mask).mean(axis=0) + self.corner, np.float64)


def cut(labels: NDArray[Any], wanted: Iterable[int]) -> dict[int, Piece]:
    """Pieces of some objects of a frame; those that are not there are left out.

    Parameters
    ----------
    labels
        Labels of a frame or of a part of it, any number of axes.
    wanted
        Which ones.
    """
    ids = np.unique(np.fromiter(wanted, np.uint64))
    place = np.searchsorted(ids, labels.ravel()).reshape(labels.shape)
    known = ids[np.minimum(place, max(len(ids) - 1, 0))] == labels if len(ids) else labels < 0
    boxes = find_objects(np.where(known, place + 1, 0))
    return {
        int(ids[i]): Piece(tuple(s.start for s in box), labels[box] == ids[i])
        for i, box in enumerate(boxes)
        if box is not None
    }


def between(before: Piece, after: Piece, part: float) -> Piece:
    """Shape of an object at `part` (0 to 1) of the time from one piece to another."""
    way = after.centre - before.centre
    base, move = (before, part * way) if part <= 0.5 else (after, (part - 1) * way)
    moved = np.rint(move).astype(np.int64)
    return Piece(tuple(int(c + m) for c, m in zip(base.corner, moved, strict=True)), base.mask)


def paste(labels: NDArray[Any], piece: Piece, label: int) -> int:
    """Write a piece into a frame, in place, where there is background.

    Returns
    -------
    int
        Voxels that were written; 0 if all are outside of the frame or taken.
    """
    box, own = [], []
    for corner, n, length in zip(piece.corner, piece.mask.shape, labels.shape, strict=True):
        start, stop = max(corner, 0), min(corner + n, length)
        if start >= stop:
            return 0
        box.append(slice(start, stop))
        own.append(slice(start - corner, stop - corner))
    there = labels[tuple(box)]
    free = piece.mask[tuple(own)] & (there == 0)
    there[free] = label
    return int(free.sum())
