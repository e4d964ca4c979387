"""Whole tracks, divisions and cell cycles: the biological measures of Ulman et al., 2017.

(Nature Methods 14:1141, doi:10.1038/nmeth.4473.) Values equal those of py-ctcmetrics 1.3.3, which
the challenge's own evaluation has become. CCA is where packages differ: traccuracy 0.4.3 adds the
link from mother to daughter to the length of a cycle, so its bins and hence its values are others;
here, as in py-ctcmetrics, a cycle is as long as the track, and the value is 0 if only the result
has none.

A true detection is followed by a track if its partner belongs to it and holds no other true one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.graph import Graph
from bigseg.core.tracking.lineage import Ints
from bigseg.core.tracking.metrics import Found, Pairing, masked


def complete_tracks(truth: Graph, result: Graph, pairs: Pairing) -> float:
    """CT: F1 of tracks that one track follows from the first to the last detection, no further."""
    if not truth.tracks + result.tracks:
        return math.nan
    follower = masked(result.track, pairs.alone)
    least, most = np.full(truth.tracks, np.iinfo(np.int64).max), np.full(truth.tracks, -1)
    np.minimum.at(least, truth.track, follower)
    np.maximum.at(most, truth.track, follower)
    whole = (least == most) & (least >= 0)
    by = most[whole]
    right = (truth.begin[whole] == result.begin[by]) & (truth.end[whole] == result.end[by])
    return float(2 * right.sum() / (truth.tracks + result.tracks))


def track_fractions(truth: Graph, result: Graph, pairs: Pairing) -> float:
    """TF: longest stretch of each true track that one track follows, over its length; the mean.

    Tracks that are never followed are left out; 0 if all are. As in the challenge's programs, a
    track of the result that follows a whole true track counts for none of a higher id; so the
    value may depend on ids where a result's tracks go on beyond true ones.
    """
    if not truth.tracks:
        return math.nan
    best: NDArray[np.float64] = np.zeros(truth.tracks)
    done = -1
    for follower, track, fraction in zip(*_followed(truth, result, pairs), strict=True):
        if follower == done or best[track] == 1:
            continue
        best[track] = max(best[track], fraction)
        if fraction == 1:
            done = follower
    return float(best[best > 0].mean()) if best.any() else 0.0


def _followed(
    truth: Graph, result: Graph, pairs: Pairing
) -> tuple[list[int], list[int], list[float]]:
    """Follower, followed track and longest followed fraction of it; sorted by the former two."""
    order = np.lexsort((truth.frame, truth.track))
    track, follower = truth.track[order], masked(result.track, pairs.alone)[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(track) != 0) | (np.diff(follower) != 0)
    start = np.flatnonzero(new)
    length = np.diff(np.r_[start, len(order)])
    whole = np.bincount(truth.track, minlength=truth.tracks)
    run = np.stack([follower[start], track[start], -length], axis=1)
    run = run[run[:, 0] >= 0]
    run = run[np.lexsort(run.T[::-1])]
    first = np.ones(len(run), np.bool_)
    first[1:] = (np.diff(run[:, :2], axis=0) != 0).any(axis=1)
    run = run[first]
    fraction = -run[:, 2] / whole[run[:, 1]]
    return run[:, 0].tolist(), run[:, 1].tolist(), fraction.tolist()


def cell_cycles(truth: Graph, result: Graph) -> float:
    """CCA: 1 - the largest difference of the distributions of lengths of whole cell cycles.

    nan if the truth has no track that begins and ends with a division, 0 if only the result has
    none.
    """
    true, ours = _cycles(truth), _cycles(result)
    if not len(true):
        return math.nan
    if not len(ours):
        return 0.0
    longest = int(max(true.max(), ours.max())) + 1
    one, other = (np.cumsum(np.bincount(c, minlength=longest)) / len(c) for c in (true, ours))
    return float(1 - np.abs(one - other).max())


def _cycles(graph: Graph) -> Ints:
    divides = np.bincount(graph.joints[:, 0], minlength=graph.tracks) > 1
    born = np.zeros(graph.tracks, np.bool_)
    born[graph.joints[divides[graph.joints[:, 0]], 1]] = True
    whole = divides & born
    return (graph.end - graph.begin)[whole]


def branching(
    truth: Graph, result: Graph, pairs: Pairing, frames: Sequence[int]
) -> dict[int, Found]:
    """BC(i): divisions found with mother and daughters, at most i frames off; its F1 is the score.

    Parameters
    ----------
    frames : sequence of int
        The values of i.

    Returns
    -------
    dict of i to Found
        BC(i) has no value, hence nan, if the truth has no division.
    """
    true, ours = _Births(truth), _Births(result)
    met = _Meetings(truth, result, pairs)
    counts = {}
    for i in frames:
        n = sum(
            _same(true, ours, met, mother, other, i)
            for mother in true.mothers
            for other in met.candidates(true, mother, ours, i)
        )
        counts[i] = Found(n, n, len(true.mothers), len(ours.mothers))
    return counts


class _Births:
    """Tracks that divide, when, and into which."""

    def __init__(self, graph: Graph) -> None:
        joints, self.begin, self.end = graph.joints, graph.begin, graph.end
        parents, start, count = np.unique(joints[:, 0], return_index=True, return_counts=True)
        self.children: dict[int, list[int]] = {
            int(parent): joints[first : first + n, 1].tolist()
            for parent, first, n in zip(parents, start, count, strict=True)
            if n > 1
        }

    @property
    def mothers(self) -> list[int]:
        """Tracks that divide."""
        return list(self.children)


class _Meetings:
    """Which track of the result is at a true track in a frame."""

    def __init__(self, truth: Graph, result: Graph, pairs: Pairing) -> None:
        self.follower = masked(result.track, pairs.alone)
        self.frames = int(truth.frame.max(initial=0)) + 1
        key = truth.track * self.frames + truth.frame
        self.order = np.argsort(key)
        self.key = key[self.order]

    def at(self, track: int, frame: int) -> int:
        """Follower of a true track in a frame; -1 if there is none."""
        if not 0 <= frame < self.frames:
            return -1
        key = track * self.frames + frame
        place = int(np.searchsorted(self.key, key))
        if place == len(self.key) or self.key[place] != key:
            return -1
        return int(self.follower[self.order[place]])

    def candidates(self, true: _Births, mother: int, ours: _Births, i: int) -> list[int]:
        """Tracks of the result that divide at most `i` frames off and meet the mother last."""
        end = int(true.end[mother])
        met: dict[int, None] = {}
        for frame in range(end - i, end + 1):
            other = self.at(mother, frame)
            if other not in ours.children:
                continue
            theirs = int(ours.end[other])
            if abs(theirs - end) <= i and min(theirs, end) == frame:
                met[other] = None
        return list(met)


def _same(true: _Births, ours: _Births, met: _Meetings, mother: int, other: int, i: int) -> bool:
    """Whether the daughters of two divisions that meet are each other's."""
    if len(true.children[mother]) != len(ours.children[other]):
        return False
    used = set()
    for daughter in true.children[mother]:
        begin = int(true.begin[daughter])
        for track in ours.children[other]:
            start = int(ours.begin[track])
            if abs(start - begin) <= i and met.at(daughter, max(start, begin)) == track:
                used.add(track)
                break
    return len(used) == len(true.children[mother])
