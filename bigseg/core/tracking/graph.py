"""What is scored: detections, their links, and which links lead from a parent to a child."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.lineage import Frames, Integers, Ints, LineageError, Lineages

Rows = Ints
"""(tracks, 4) id, first frame, last frame, parent's id (0 for none): lines of a CTC text file."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Detections of a series in tracks; tracks are numbered from 0 in the order of their ids."""

    frame: Frames
    """(n,) frame, ascending."""
    track: Ints
    """(n,) number of the track of each detection."""
    links: Ints
    """(m, 2) source and target; rows of the detections."""
    parental: NDArray[np.bool_]
    """(m,) whether the link leads from a parent to a child, and not along one track."""

    @property
    def tracks(self) -> int:
        """How many tracks there are."""
        return int(self.track.max()) + 1 if len(self.track) else 0

    @property
    def begin(self) -> Ints:
        """(tracks,) first frame of each."""
        first = np.full(self.tracks, np.iinfo(np.int64).max)
        np.minimum.at(first, self.track, self.frame)
        return first

    @property
    def end(self) -> Ints:
        """(tracks,) last frame of each."""
        last = np.full(self.tracks, -1, np.int64)
        np.maximum.at(last, self.track, self.frame)
        return last

    @property
    def joints(self) -> Ints:
        """(j, 2) numbers of parent and child track, sorted by parent, then child."""
        pairs = self.track[self.links[self.parental]]
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    @property
    def source(self) -> Ints:
        """(n,) row that each detection comes from, -1 for none; the lowest of several."""
        before = np.full(len(self.frame), -1, np.int64)
        order = np.argsort(-self.links[:, 0], kind="stable")
        before[self.links[order, 1]] = self.links[order, 0]
        return before


def of_lineages(found: Lineages) -> Graph:
    """Graph of linked detections: links are parental where an object divides or merges."""
    return Graph(found.frame, found.track - 1, found.links, found.parental)


def of_rows(frame: Integers, label: Integers, rows: Rows) -> Graph:
    """Graph of masks whose labels are tracks, and of the lines that say what descends from what.

    Parameters
    ----------
    frame, label : (n,) int
        Which label is in which frame, sorted by frame, then label, each once.
    rows : (tracks, 4) int
        Id, first frame, last frame, parent; every label needs a line.

    Raises
    ------
    LineageError
        As `check_rows`; and for a label without a line, a line without a label, and a label that is
        not in every frame that its line names or is in another one.
    """
    rows = np.asarray(rows, np.int64).reshape(-1, 4)
    check_rows(rows)
    rows = rows[np.argsort(rows[:, 0])]
    _check_presence(np.asarray(frame), np.asarray(label), rows)
    return linked(frame, label, rows)


def linked(frame: Integers, label: Integers, rows: Rows) -> Graph:
    """As `of_rows`, but a label may be missing in frames: the link then goes over them.

    `rows` are sorted by id; lines of which no frame has the label are left out.
    """
    frame, label = np.asarray(frame), np.asarray(label, np.int64)
    ids, track = np.unique(label, return_inverse=True)
    order = np.lexsort((frame, track))
    same = np.diff(track[order]) == 0
    along = np.stack([order[:-1][same], order[1:][same]], axis=1)
    last = order[np.flatnonzero(np.r_[~same, True])] if len(order) else order
    first = order[np.flatnonzero(np.r_[True, ~same])] if len(order) else order
    line = rows[np.isin(rows[:, 0], ids) & np.isin(rows[:, 3], ids)]
    child, parent = (np.searchsorted(ids, line[:, column]) for column in (0, 3))
    across = np.stack([last[parent], first[child]], axis=1).reshape(-1, 2)
    parental = np.r_[np.zeros(len(along), np.bool_), np.ones(len(across), np.bool_)]
    links = np.concatenate([along, across]).astype(np.int64)
    return Graph(frame.astype(np.int32), track.astype(np.int64), links, parental)


def check_rows(rows: Rows) -> None:
    """Refuse lines that no lineage can have: of which both CTC packages say they are not valid."""
    ids, counts = np.unique(rows[:, 0], return_counts=True)
    if len(ids) and ids[0] < 1:
        raise LineageError(f"There is a track {ids[0]}; tracks are numbered from 1.")
    if (counts > 1).any():
        raise LineageError(
            f"Track {ids[counts > 1][0]} has {counts.max()} lines; each track needs one of its own."
        )
    for track, begin, end, parent in rows[rows[:, 2] < rows[:, 1]][:1]:
        raise LineageError(
            f"Track {track} (parent {parent}) ends in frame {end}, before it begins in {begin}."
        )
    born = rows[rows[:, 3] != 0]
    lost = born[~np.isin(born[:, 3], ids)]
    if len(lost):
        raise LineageError(
            f"Track {lost[0, 0]} has the parent {lost[0, 3]}, which has no line; "
            "write 0 for a track without parent."
        )
    order = np.argsort(rows[:, 0])
    ends = rows[order, 2][np.searchsorted(rows[order, 0], born[:, 3])]
    early = np.flatnonzero(ends >= born[:, 1])
    if len(early):
        track, begin, _, parent = born[early[0]]
        raise LineageError(
            f"Track {track} begins in frame {begin}, but its parent {parent} ends only in "
            f"{ends[early[0]]}; a parent ends before its children begin."
        )


def _check_presence(frame: Integers, label: Integers, rows: Rows) -> None:
    place = np.searchsorted(rows[:, 0], label)
    known = place < len(rows)
    known[known] = rows[place[known], 0] == label[known]
    if not known.all():
        at = int(np.flatnonzero(~known)[0])
        raise LineageError(f"Label {label[at]} in frame {frame[at]} has no line; add one.")
    outside = (frame < rows[place, 1]) | (frame > rows[place, 2])
    if outside.any():
        at = int(np.flatnonzero(outside)[0])
        track, begin, end, _ = rows[place[at]]
        raise LineageError(
            f"Label {track} is in frame {frame[at]}, but its line says frames {begin} to {end}."
        )
    there = np.bincount(place, minlength=len(rows))
    short = np.flatnonzero(there < rows[:, 2] - rows[:, 1] + 1)
    if len(short):
        track, begin, end, _ = rows[short[0]]
        have = set(frame[place == short[0]].tolist())
        gone = next(t for t in range(begin, end + 1) if t not in have)
        raise LineageError(
            f"Label {track} is missing in frame {gone}, but its line says frames {begin} to {end}; "
            "fill the gap, or end the track there and begin another whose parent it is."
        )
