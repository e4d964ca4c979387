"""A series in parts: some frames and a region each, with a halo, linked each by itself.

What leads into a detection is decided by the part that *owns* it, the one whose core holds it; the
others see it in their halo only. So every detection has at most one link in, whatever parts say;
where two of them want the same way out, the dearer one is dropped (`stitch`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bigseg.core.tracking.detections import Bools, Detections, Floats, Ints


@dataclass(frozen=True, slots=True)
class Core:
    """What a part owns: frames `first` to `last`, both of them, and a box, `high` excluded."""

    first: int
    last: int
    low: tuple[float, ...]
    high: tuple[float, ...]

    def holds(self, d: Detections, frames: int = 0, distance: float = 0.0) -> Bools:
        """Which detections are in the core, or in it with a halo."""
        inside = (d.frame >= self.first - frames) & (d.frame <= self.last + frames)
        low, high = np.asarray(self.low) - distance, np.asarray(self.high) + distance
        return np.asarray(inside & ((d.position >= low) & (d.position < high)).all(1))


def split(d: Detections, frames: int, objects: int) -> list[Core]:
    """Divide a series in cores of at most `frames` frames and, about, `objects` detections.

    Regions are halved along their longest axis at the median, until they hold few enough.
    """
    cores: list[Core] = []
    for first in range(0, d.frames, frames):
        last = min(first + frames, d.frames) - 1
        rows = slice(*np.searchsorted(d.frame, (first, last + 1)))
        everywhere = ((-np.inf,) * 3, (np.inf,) * 3)
        cores += [Core(first, last, *box) for box in _halve(d.position[rows], everywhere, objects)]
    return cores


Box = tuple[tuple[float, ...], tuple[float, ...]]


def _halve(points: Floats, box: Box, most: int) -> list[Box]:
    if len(points) <= most:
        return [box]
    axis = int(np.argmax(np.ptp(points, axis=0)))
    cut = float(np.median(points[:, axis]))
    below = points[:, axis] < cut
    if not below.any():
        return [box]
    low, high = box
    left = (low, (*high[:axis], cut, *high[axis + 1 :]))
    right = ((*low[:axis], cut, *low[axis + 1 :]), high)
    return _halve(points[below], left, most) + _halve(points[~below], right, most)


@dataclass(frozen=True, slots=True)
class Links:
    """Who comes from whom; sorted by target, which is unique but where objects merge."""

    source: Ints
    """Rows of the detections."""
    target: Ints
    division: Bools
    """Whether the source divided, the target being one of two daughters."""
    gain: Floats
    """What the link saves against an end and a start; half of it for each daughter."""

    @property
    def merging(self) -> Bools:
        """(links,) whether another link leads into the same target: two became one."""
        return np.asarray(np.bincount(self.target)[self.target] > 1)


def owned(links: Links, rows: Ints, own: Bools) -> Links:
    """Return links into what a part owns, as rows of the whole.

    Parameters
    ----------
    links
        Of the part.
    rows, own
        Of each detection of the part, its row in the whole, and whether the part owns it.
    """
    mine = own[links.target]
    return Links(
        rows[links.source[mine]], rows[links.target[mine]], links.division[mine], links.gain[mine]
    )


def stitch(parts: list[Links]) -> tuple[Links, int]:
    """Join links of all parts; also how many were dropped.

    A source goes on once, or divides in two; of more, the links of least gain are dropped, and of a
    division of which one daughter is left, a link remains.
    """
    names = ("source", "target", "division", "gain")
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Links(nothing, nothing, np.zeros(0, np.bool_), np.zeros(0)), 0
    columns = [np.concatenate([getattr(p, n) for p in parts]) for n in names]
    order = np.lexsort((columns[1], columns[3], columns[0]))
    source, target, division, gain = (c[order] for c in columns)
    start = np.r_[True, source[1:] != source[:-1]] if len(source) else np.zeros(0, np.bool_)
    group = np.cumsum(start) - 1
    rank = np.arange(len(source)) - np.flatnonzero(start)[group]
    daughters = np.bincount(group, division, minlength=int(start.sum()))
    count = np.bincount(group, minlength=int(start.sum()))
    # A source that both divides and moves on does what its best link says.
    splits = division[np.flatnonzero(start)] & (daughters >= 2)
    most = np.where(splits, 2, 1)[group]
    keep = rank < most
    keep &= ~splits[group] | division
    divided = splits[group] & (np.minimum(daughters, count)[group] >= 2)
    order = np.argsort(target[keep], kind="stable")
    found = [c[keep][order] for c in (source, target, divided, gain)]
    return Links(*found), int((~keep).sum())
