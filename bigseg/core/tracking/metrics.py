"""How well tracks agree with the truth: what it takes to turn one graph into the other.

The measures of the Cell Tracking Challenge (Matula et al., 2015, PLoS ONE 10:e0144959), with its
weights: `AOGM = 5 NS + 10 FN + 1 FP + 1 ED + 1.5 EA + 1 EC`. Values equal those of py-ctcmetrics
1.3.3. traccuracy 0.4.3 counts the same but for two things, in which the definition is followed:
it takes a link for parental only where an object divides or merges, while a CTC file may also name
one single child, as after a gap; and an object that holds three true ones is one split to it,
where two are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.graph import Graph
from bigseg.core.tracking.lineage import Ints

NS, FN, FP, ED, EA, EC = 5.0, 10.0, 1.0, 1.0, 1.5, 1.0
"""Weights of the operations, those of the challenge."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which detections of a result are which of the truth."""

    partner: Ints
    """(true detections,) row in the result, -1 where missed."""
    holds: Ints
    """(detections of the result,) how many true ones each one is the partner of."""

    @property
    def alone(self) -> Ints:
        """(true detections,) as `partner`, but -1 where the partner holds other true ones, too."""
        if not len(self.holds):
            return self.partner
        return np.where((self.partner >= 0) & (self.holds[self.partner] == 1), self.partner, -1)

    @property
    def reverse(self) -> Ints:
        """(detections of the result,) row in the truth where it holds exactly one, else -1."""
        rows = np.flatnonzero(self.alone >= 0)
        back = np.full(len(self.holds), -1, np.int64)
        back[self.alone[rows]] = rows
        return back


def pairing(true: int, result: int, pairs: Ints) -> Pairing:
    """Pairs of `match_masks` (as rows of the graphs) or `match_points` in both directions."""
    partner = np.full(true, -1, np.int64)
    partner[pairs[:, 0]] = pairs[:, 1]
    return Pairing(partner, np.bincount(pairs[:, 1], minlength=result).astype(np.int64))


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations that turn the result into the truth, and how much the truth holds."""

    NS: int
    """Detections to split: true objects beyond the first that one object of the result holds."""
    FN: int
    """Detections to add."""
    FP: int
    """Detections to delete."""
    ED: int
    """Links to delete."""
    EA: int
    """Links to add."""
    EC: int
    """Links whose kind (along a track, or parent to child) is to be changed."""
    detections: int
    """Detections of the truth."""
    links: int
    """Links of the truth."""

    @property
    def aogm(self) -> float:
        """Weighted sum of the operations."""
        return self._detecting + self._linking

    @property
    def det(self) -> float:
        """Detection accuracy; nan if the truth has no detection."""
        return _accuracy(self._detecting, FN * self.detections)

    @property
    def tra(self) -> float:
        """Tracking accuracy; nan if the truth is empty."""
        return _accuracy(self.aogm, FN * self.detections + EA * self.links)

    @property
    def lnk(self) -> float:
        """Linking accuracy; nan if the truth has no link."""
        return _accuracy(self._linking, EA * self.links)

    @property
    def _detecting(self) -> float:
        return NS * self.NS + FN * self.FN + FP * self.FP

    @property
    def _linking(self) -> float:
        return ED * self.ED + EA * self.EA + EC * self.EC


def _accuracy(cost: float, from_scratch: float) -> float:
    return 1 - min(cost, from_scratch) / from_scratch if from_scratch else math.nan


def operations(truth: Graph, result: Graph, pairs: Pairing) -> Operations:
    """Count the operations that turn `result` into `truth`.

    Links are compared between detections of the result that hold exactly one true object.
    """
    back = pairs.reverse
    there = back[result.links]
    kept = (there >= 0).all(axis=1)
    ours, ours_parental = there[kept], result.parental[kept]
    common, mine, theirs = np.intersect1d(
        keys(ours, len(truth.frame)),
        keys(truth.links, len(truth.frame)),
        assume_unique=True,
        return_indices=True,
    )
    return Operations(
        NS=int(np.maximum(pairs.holds - 1, 0).sum()),
        FN=int((pairs.partner < 0).sum()),
        FP=int((pairs.holds == 0).sum()),
        ED=len(ours) - len(common),
        EA=len(truth.links) - len(common),
        EC=int((ours_parental[mine] != truth.parental[theirs]).sum()),
        detections=len(truth.frame),
        links=len(truth.links),
    )


def keys(links: Ints, n: int) -> Ints:
    """One number for each pair of rows below `n`."""
    return links[:, 0] * max(n, 1) + links[:, 1]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of what was sought."""

    found: int
    """Of the truth."""
    right: int
    """Of the result; the same number, unless one of the one stands for several of the other."""
    true: int
    """All of the truth."""
    result: int
    """All of the result."""

    @property
    def recall(self) -> float:
        """Share of the truth that was found; nan of nothing."""
        return self.found / self.true if self.true else math.nan

    @property
    def precision(self) -> float:
        """Share of the result that is right; nan of nothing."""
        return self.right / self.result if self.result else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of both, 0 if nothing was found; nan if there is nothing on both sides."""
        if not self.true + self.result:
            return math.nan
        if not self.found or not self.right:
            return 0.0
        return 2 * self.recall * self.precision / (self.recall + self.precision)


def masked(values: Ints, at: Ints) -> Ints:
    """`values[at]`, and -1 where `at` is -1."""
    taken: Ints = values[at] if len(values) else np.full(len(at), -1, np.int64)
    return np.where(at >= 0, taken, -1)


Bools = NDArray[np.bool_]
