"""Divisions that were found, at their time or a few frames off; as traccuracy's `DivisionMetrics`.

A division is a detection with two or more links out of it. It is found if its partner divides and
both links to the daughters are found; if the partner divides with other daughters it is wrong, and
counts neither as found nor as missing in what follows. One that is missing and one that is too many
are the same, some frames off, if the earlier one's partner is what the later one comes from, and
each daughter of the earlier one leads to a detection whose partner descends from there.
"""

from __future__ import annotations

import numpy as np

from bigseg.core.tracking.graph import Graph
from bigseg.core.tracking.lineage import Ints
from bigseg.core.tracking.metrics import Found, Pairing, keys


def divisions_found(
    truth: Graph, result: Graph, pairs: Pairing, most_frames: int = 1
) -> tuple[Found, ...]:
    """Count the divisions that were found.

    Returns
    -------
    tuple of Found
        Entry i allows i frames of difference, from 0 to `most_frames`.

    Notes
    -----
    Pairs that are found within the same number of frames are taken in the order of the truth; one
    division never stands for two.
    """
    true, ours = divisions(truth), divisions(result)
    found, missing, extra = _at_once(truth, result, pairs, true, ours)
    counts = [found]
    shifted = _Shifts(truth, result, pairs, missing, extra)
    for frames in range(1, most_frames + 1):
        counts.append(counts[-1] + shifted.take(frames))
    return tuple(Found(n, n, len(true), len(ours)) for n in counts)


def divisions(graph: Graph) -> Ints:
    """Detections that divide."""
    return np.flatnonzero(np.bincount(graph.links[:, 0], minlength=len(graph.frame)) >= 2)


def _at_once(
    truth: Graph, result: Graph, pairs: Pairing, true: Ints, ours: Ints
) -> tuple[int, Ints, Ints]:
    """Divisions found at their time; true ones that are missing; and what is too many."""
    partner = pairs.alone
    divides = np.zeros(len(result.frame) + 1, np.bool_)  # one more, for the partner -1
    divides[ours] = True
    met = divides[partner[true]] & (partner[true] >= 0)
    link = partner[truth.links].reshape(-1, 2)
    n = len(result.frame)
    right = (link >= 0).all(axis=1) & np.isin(keys(link, n), keys(result.links, n))
    daughters = np.bincount(truth.links[right, 0], minlength=len(truth.frame))
    found = met & (daughters[true] == 2)
    return int(found.sum()), true[~met], np.setdiff1d(ours, partner[true[met]])


class _Shifts:
    """Divisions that are there, but in another frame."""

    def __init__(
        self, truth: Graph, result: Graph, pairs: Pairing, missing: Ints, extra: Ints
    ) -> None:
        self.truth, self.result = _Walk(truth), _Walk(result)
        self.partner, self.reverse = pairs.alone, pairs.reverse
        self.missing, self.extra = dict.fromkeys(missing.tolist()), dict.fromkeys(extra.tolist())

    def take(self, frames: int) -> int:
        """Find and take out those that are exactly `frames` off."""
        early = self._earlier(
            (self.result, self.extra, self.reverse),
            (self.truth, self.missing, self.partner),
            frames,
        )
        late = self._earlier(
            (self.truth, self.missing, self.partner),
            (self.result, self.extra, self.reverse),
            frames,
        )
        candidates = sorted([(b, a) for a, b in early] + late)
        taken = 0
        for true, ours in candidates:
            if true in self.missing and ours in self.extra:
                del self.missing[true], self.extra[ours]
                taken += 1
        return taken

    @staticmethod
    def _earlier(
        first: tuple[_Walk, dict[int, None], Ints],
        second: tuple[_Walk, dict[int, None], Ints],
        frames: int,
    ) -> list[tuple[int, int]]:
        """Divisions of the first graph that come `frames` before one of the second."""
        here, dividing, partner = first
        there, others, back = second
        found = []
        for late in others:
            ancestor = there.ancestor(late, frames)
            early = int(back[ancestor]) if ancestor >= 0 else -1
            if early not in dividing or there.frame[late] - here.frame[early] != frames:
                continue
            good = [here.leads(d, partner, there, ancestor) for d in here.next[early]]
            if sum(good) == 2:
                found.append((early, late))
        return found


class _Walk:
    """Steps through a graph, one detection at a time; only divisions are walked from."""

    def __init__(self, graph: Graph) -> None:
        self.frame, self.source = graph.frame, graph.source
        order = np.argsort(graph.links[:, 0], kind="stable")
        links = graph.links[order]
        starts = np.searchsorted(links[:, 0], np.arange(len(graph.frame) + 1))
        self.next = _Daughters(links[:, 1], starts)

    def ancestor(self, row: int, steps: int) -> int:
        """Row that one comes from, `steps` links back; -1 if there is none."""
        for _ in range(steps):
            if row < 0:
                break
            row = int(self.source[row])
        return row

    def leads(self, row: int, partner: Ints, there: _Walk, ancestor: int) -> bool:
        """Whether this track, before it divides, has a partner that descends from `ancestor`."""
        while True:
            other = int(partner[row])
            if other >= 0 and there.descends(other, ancestor):
                return True
            onward = self.next[row]
            if len(onward) != 1:
                return False
            row = onward[0]

    def descends(self, row: int, ancestor: int) -> bool:
        """Whether links lead back to `ancestor`."""
        while row >= 0 and self.frame[row] > self.frame[ancestor]:
            row = int(self.source[row])
        return row == ancestor


class _Daughters:
    """Targets of each detection."""

    def __init__(self, targets: Ints, starts: Ints) -> None:
        self.targets, self.starts = targets, starts

    def __getitem__(self, row: int) -> list[int]:
        return [int(t) for t in self.targets[self.starts[row] : self.starts[row + 1]]]
