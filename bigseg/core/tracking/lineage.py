"""From links between detections to tracks, divisions and lineages.

A *track* is a maximal path without branches: it ends where its object divides, merges or is lost,
and it goes on over frames in which the object was missed. (GEFF calls it a tracklet; the Cell
Tracking Challenge would end it at a missed frame, see `bigseg.core.tracking.ctc`.) A *lineage* is
all tracks that hang together by divisions and merges.

Ids follow the data alone: tracks are numbered from 1 in the order of their first detection (frame,
then label), lineages in the order of their first track. So a parent's id is below its daughters'.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bigseg.errors import BigsegError

Ints = NDArray[np.int64]
Frames = NDArray[np.int32]
Integers = NDArray[np.integer[Any]]
_NAMED = 3
"""How many offenders a message names."""


class LineageError(BigsegError, ValueError):
    """Links or tracks that no lineage can have."""


@dataclass(frozen=True, slots=True)
class Lineages:
    """Detections in their tracks, and how tracks descend from each other.

    Arrays of tracks have one row for each; row i is track i + 1.
    """

    frame: Frames
    """(n,) frame of each detection; they are sorted by frame, then label."""
    links: Ints
    """(m, 2) source and target, rows of the detections, sorted by target, then source."""
    track: Ints
    """(n,) track of each detection, from 1."""
    begin: Frames
    """(tracks,) first frame."""
    end: Frames
    """(tracks,) last frame."""
    length: Ints
    """(tracks,) detections; fewer than end - begin + 1 where frames are missed."""
    joints: Ints
    """(j, 2) parent and child track of each link between tracks, sorted by child."""
    parent: Ints
    """(tracks,) parent track, 0 for none; the lowest one of a track that others merged into."""
    daughters: Ints
    """(tracks,) tracks that begin from this one; 2 or more is a division."""
    generation: Ints
    """(tracks,) divisions and merges since the first track of the lineage."""
    lineage: Ints
    """(tracks,) lineage, from 1."""

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def other_parent(self) -> Ints:
        """(tracks,) the second track that merged into this one, 0 for none."""
        other = np.zeros(len(self), np.int64)
        other[self.joints[:, 1] - 1] = self.joints[:, 0]
        return np.where(other == self.parent, 0, other)

    @property
    def parental(self) -> NDArray[np.bool_]:
        """(m,) whether a link leads from one track to another."""
        return np.asarray(self.track[self.links[:, 0]] != self.track[self.links[:, 1]])


def lineages(
    frame: Integers,
    label: Integers,
    links: Integers,
    *,
    merging: bool = False,
) -> Lineages:
    """Make tracks and lineages of links.

    Parameters
    ----------
    frame, label : (n,) int
        Detections, sorted by frame, then label; each pair once.
    links : (m, 2) int
        Source and target, rows of the detections; every link goes forward in time.
    merging : bool
        Whether a detection may have two sources.

    Raises
    ------
    LineageError
        If detections are not sorted or not unique, or `check_links` finds a fault.
    """
    links = np.asarray(links, np.int64).reshape(-1, 2)
    check_detections(frame, label)
    check_links(frame, label, links, merging=merging)
    links = links[np.lexsort((links[:, 0], links[:, 1]))]
    n = len(frame)
    source, target = links.T
    leaving, coming = np.bincount(source, minlength=n), np.bincount(target, minlength=n)
    goes_on = (leaving[source] == 1) & (coming[target] == 1)
    head = _heads(n, links[goes_on])
    heads, track = np.unique(head, return_inverse=True)
    track = track.astype(np.int64) + 1
    begin = frame[heads].astype(np.int32)
    end = begin.copy()
    np.maximum.at(end, track - 1, frame.astype(np.int32))
    joints = track[links[~goes_on]]
    joints = joints[np.lexsort((joints[:, 0], joints[:, 1]))]
    parent, daughters, generation, lineage = _descent(len(heads), joints)
    return Lineages(
        frame=frame.astype(np.int32),
        links=links,
        track=track,
        begin=begin,
        end=end,
        length=np.bincount(track - 1, minlength=len(heads)).astype(np.int64),
        joints=joints,
        parent=parent,
        daughters=daughters,
        generation=generation,
        lineage=lineage,
    )


def check_detections(frame: Integers, label: Integers) -> None:
    """Refuse detections that are not sorted by frame and label, or not unique."""
    if len(frame) != len(label):
        raise LineageError(f"There are {len(frame)} frames, but {len(label)} labels.")
    later = (np.diff(frame) > 0) | ((np.diff(frame) == 0) & (np.diff(label) > 0))
    if later.all():
        return
    row = int(np.flatnonzero(~later)[0]) + 1
    here = _named(frame, label, row)
    if frame[row] == frame[row - 1] and label[row] == label[row - 1]:
        raise LineageError(
            f"Two detections are {here}; every object needs a label of its own within its frame."
        )
    raise LineageError(
        f"Detections must be sorted by frame, then label; {here} comes after "
        f"{_named(frame, label, row - 1)}."
    )


def check_links(
    frame: Integers, label: Integers, links: Integers, *, merging: bool = False
) -> None:
    """Refuse links that no lineage can have.

    Raises
    ------
    LineageError
        For a row that does not exist, a cycle, a link that does not go forward in time or is there
        twice, a third daughter, and a second source unless `merging`.
    """
    n = len(frame)
    unknown = links[((links < 0) | (links >= n)).any(axis=1)]
    if len(unknown):
        raise LineageError(
            f"A link goes from detection {unknown[0, 0]} to {unknown[0, 1]}, but there are only "
            f"detections 0 to {n - 1}."
            if n
            else "There are links, but no detections."
        )
    backwards = links[frame[links[:, 0]] >= frame[links[:, 1]]]
    if len(backwards):
        raise LineageError(_backwards(frame, label, links, backwards))
    if len(np.unique(links[:, 0] * max(n, 1) + links[:, 1])) < len(links):
        keys, counts = np.unique(links, axis=0, return_counts=True)
        source, target = keys[counts > 1][0]
        raise LineageError(
            f"The link from {_named(frame, label, source)} to {_named(frame, label, target)} is "
            "there more than once."
        )
    _check_degree(frame, label, links[:, 0], 2, "has {} daughters, but an object divides in two")
    most, rule = (2, "only two can merge") if merging else (1, "merging was not asked for")
    _check_degree(frame, label, links[:, 1], most, "has {} sources, but " + rule)


def _check_degree(frame: Integers, label: Integers, ends: Integers, most: int, fault: str) -> None:
    counts = np.bincount(ends, minlength=len(frame))
    rows = np.flatnonzero(counts > most)
    if not len(rows):
        return
    named = "; ".join(_named(frame, label, row) for row in rows[:_NAMED])
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    raise LineageError(
        f"The object of {named}{more} {fault.format(counts[rows[0]])}: take links away."
    )


def _backwards(frame: Integers, label: Integers, links: Integers, backwards: Integers) -> str:
    """Sentence about links that do not go forward, which may close a cycle."""
    n = len(frame)
    graph = coo_array((np.ones(len(links), np.int8), tuple(links.T)), (n, n))
    group = connected_components(graph, directed=True, connection="strong")[1]
    source, target = backwards[0]
    for a, b in backwards:
        if group[a] == group[b]:
            return (
                f"The links form a cycle through {_named(frame, label, b)} and "
                f"{_named(frame, label, a)}: an object cannot descend from itself; take one away."
            )
    return (
        f"A link goes from {_named(frame, label, source)} to {_named(frame, label, target)}; links "
        "go forward in time: exchange its ends or take it away."
    )


def _named(frame: Integers, label: Integers, row: int) -> str:
    return f"frame {frame[row]} label {label[row]}"


def _heads(n: int, links: Ints) -> Ints:
    """First detection of each one's path; every detection has one link at most on either side."""
    head = np.arange(n)
    head[links[:, 1]] = links[:, 0]
    while True:  # each round doubles how far back is seen
        further = head[head]
        if np.array_equal(further, head):
            return head
        head = further


def _descent(tracks: int, joints: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Parent, daughters, generation and lineage of each track; parents come before children."""
    above, below = joints.T - 1
    parent = np.zeros(tracks, np.int64)
    parent[below[::-1]] = above[::-1] + 1
    daughters = np.bincount(above, minlength=tracks).astype(np.int64)
    generation = np.zeros(tracks, np.int64)
    while True:
        grown = generation.copy()
        np.maximum.at(grown, below, generation[above] + 1)
        if np.array_equal(grown, generation):
            break
        generation = grown
    graph = coo_array((np.ones(len(joints), np.int8), (above, below)), (tracks, tracks))
    group = connected_components(graph, directed=False)[1] if tracks else np.zeros(0, np.int64)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(1, len(first) + 1)
    return parent, daughters, generation, order[inverse]
