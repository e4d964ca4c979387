"""How well labels agree with the truth, from the table of which ids meet in how many voxels.

Tables of disjoint regions add up (`merge_contingencies`), so scores of any size are made block by
block and equal those of the whole image. First id: prediction; second: truth; 0 is background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, maximum_bipartite_matching

from bigseg.core.overlap import Counts, Pairs, add_counts

Floats64 = NDArray[np.float64]

THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""0.5, 0.55 … 0.95: those of the mean average precision."""
_DENSE = 1 << 22
"""Cells of the largest table that is assigned exactly; beyond, pairs are taken by falling IoU."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of a predicted and a true object that share voxels."""

    predicted: NDArray[np.int64]
    """(n,) number of the predicted object, dense from 0."""
    true: NDArray[np.int64]
    """(n,) number of the true object, dense from 0."""
    shared: Counts
    """(n,) voxels of both."""
    union: Counts
    """(n,) voxels of either."""
    predicted_sizes: Counts
    """(predicted objects,) voxels."""
    true_sizes: Counts
    """(true objects,) voxels."""

    @property
    def iou(self) -> Floats64:
        """(n,) intersection over union."""
        return np.asarray(self.shared / self.union, np.float64)


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one prediction. Those without a value (nothing to find) are nan or inf."""

    predicted: int
    """Predicted objects."""
    true: int
    """True objects."""
    thresholds: tuple[float, ...]
    """IoU from which a pair counts as found."""
    true_positives: tuple[int, ...]
    """Found objects at each threshold."""
    average_precision: tuple[float, ...]
    """TP / (TP + FP + FN) at each threshold."""
    error_rate: tuple[float, ...]
    """(FN + FP) / (TP + FN) at each threshold."""
    mean_average_precision: float
    """Mean over the thresholds 0.5, 0.55 … 0.95."""
    aji: float
    """Aggregated Jaccard index of Kumar et al., 2017."""
    aji_cellpose: float
    """Aggregated Jaccard index as Cellpose computes it."""
    voi_split: float
    """Bits by which true objects are split; background of the truth is left out."""
    voi_merge: float
    """Bits by which true objects are merged."""
    rand_error: float
    """Adapted Rand error; background of the truth is left out."""

    def as_dict(self) -> dict[str, Any]:
        """Scores as JSON knows them: None where there is no finite value."""
        return {name: _jsonable(value) for name, value in asdict(self).items()}


def _jsonable(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_jsonable(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def merge_contingencies(tables: Sequence[tuple[Pairs, Counts]]) -> tuple[Pairs, Counts]:
    """Contingency table of the union of disjoint regions."""
    return add_counts(tables)


def match(pairs: Pairs, counts: Counts) -> Matches:
    """Objects and their overlaps from a contingency table with background."""
    numbers, sizes = [], []
    for side in (0, 1):
        ids, inverse = np.unique(pairs[:, side], return_inverse=True)
        voxels = np.zeros(len(ids), np.int64)
        np.add.at(voxels, inverse, counts)
        background = int(len(ids) > 0 and ids[0] == 0)
        numbers.append(inverse - background)
        sizes.append(voxels[background:])
    real = (pairs != 0).all(axis=1)
    predicted, true, shared = numbers[0][real], numbers[1][real], counts[real]
    union = sizes[0][predicted] + sizes[1][true] - shared
    return Matches(predicted, true, shared, union, sizes[0], sizes[1])


def true_positives(matches: Matches, threshold: float) -> int:
    """Most pairs of IoU >= threshold that can be formed with every object in one at most.

    Above 0.5 an object has at most one such partner; otherwise a largest matching is sought, which
    is what the assignments of Cellpose and StarDist amount to.
    """
    good = matches.iou >= threshold
    rows, columns = matches.predicted[good], matches.true[good]
    if len(np.unique(rows)) == len(rows) and len(np.unique(columns)) == len(columns):
        return len(rows)
    shape = (len(matches.predicted_sizes), len(matches.true_sizes))
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape).tocsr()
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())


def average_precision(matches: Matches, threshold: float) -> float:
    """TP / (TP + FP + FN) at one IoU threshold (Cellpose, StarDist, DSB 2018); nan of nothing."""
    found = true_positives(matches, threshold)
    objects = len(matches.predicted_sizes) + len(matches.true_sizes) - found
    return found / objects if objects else math.nan


def error_rate(matches: Matches, threshold: float) -> float:
    """(FN + FP) / (TP + FN) at one IoU threshold; inf of false objects only, nan of nothing."""
    found = true_positives(matches, threshold)
    true = len(matches.true_sizes)
    wrong = len(matches.predicted_sizes) + true - 2 * found
    if true == 0:
        return math.inf if wrong else math.nan
    return wrong / true


def aji(matches: Matches) -> float:
    """Aggregated Jaccard index of Kumar et al., 2017 (doi:10.1109/TMI.2017.2677499).

    Every true object picks the prediction of highest IoU, which several may pick; the voxels of
    predictions that nobody picked count as wrong, and so does a true object without any overlap.
    Of equal IoUs the larger overlap is picked, then the smaller id.
    """
    order = np.lexsort((matches.predicted, -matches.shared, -matches.iou, matches.true))
    true, first = np.unique(matches.true[order], return_index=True)
    best = order[first]
    missed = np.delete(matches.true_sizes, true).sum()
    unused = np.delete(matches.predicted_sizes, np.unique(matches.predicted[best])).sum()
    whole = int(matches.union[best].sum() + missed + unused)
    return int(matches.shared[best].sum()) / whole if whole else math.nan


def aji_cellpose(matches: Matches) -> float:
    """Aggregated Jaccard index as in Cellpose: one-to-one pairs over the union of foregrounds.

    Pairs are assigned so that most have IoU >= 0.5, and then the sum of IoU is largest. Only where
    some 2000 objects without a partner of IoU > 0.5 hang together by their overlaps, the weaker
    pairs are taken in the order of their IoU.
    """
    foreground = int(
        matches.predicted_sizes.sum() + matches.true_sizes.sum() - matches.shared.sum()
    )
    shared = int(matches.shared[_assigned(matches)].sum())
    return shared / foreground if foreground else math.nan


def _assigned(matches: Matches) -> NDArray[np.int64]:
    """Rows of the best one-to-one assignment: most IoUs >= 0.5 first, then the largest sum."""
    iou = matches.iou
    # Objects of IoU > 0.5 have no other partner of IoU >= 0.5, so the best assignment has them.
    sure = np.flatnonzero(iou > 0.5)
    taken = np.isin(matches.predicted, matches.predicted[sure])
    taken |= np.isin(matches.true, matches.true[sure])
    rest = np.flatnonzero(~taken)
    best = [sure]
    for group in _groups(matches.predicted[rest], matches.true[rest]):
        part = rest[group]
        best.append(part[_best_pairs(matches.predicted[part], matches.true[part], iou[part])])
    return np.concatenate(best)


def _groups(rows: NDArray[np.int64], columns: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Edges of each connected component of a bipartite graph."""
    if len(rows) == 0:
        return []
    nodes = np.stack([np.unique(rows, return_inverse=True)[1], np.zeros_like(rows)])
    nodes[1] = np.unique(columns, return_inverse=True)[1] + nodes[0].max() + 1
    n = int(nodes[1].max()) + 1
    graph = coo_array((np.ones(len(rows), np.int8), (nodes[0], nodes[1])), shape=(n, n))
    component = connected_components(graph, directed=False)[1][nodes[0]]
    order = np.argsort(component, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(component[order])) + 1)


def _best_pairs(
    rows: NDArray[np.int64], columns: NDArray[np.int64], iou: Floats64
) -> NDArray[np.int64]:
    """Edges of the assignment with most IoUs >= 0.5, then with the largest sum of IoU."""
    row_ids, row = np.unique(rows, return_inverse=True)
    column_ids, column = np.unique(columns, return_inverse=True)
    gain = iou + (iou >= 0.5) * (2.0 * min(len(row_ids), len(column_ids)))
    if len(row_ids) == 1 or len(column_ids) == 1:
        return np.array([gain.argmax()], np.int64)
    if len(row_ids) * len(column_ids) > _DENSE:
        return np.flatnonzero(_greedy(row, column, np.argsort(-gain, kind="stable")))
    table = np.zeros((len(row_ids), len(column_ids)))
    table[row, column] = gain
    partner = np.full(len(row_ids), -1)
    chosen = linear_sum_assignment(table, maximize=True)
    partner[chosen[0]] = chosen[1]
    return np.flatnonzero(partner[row] == column)


@njit(cache=True, nogil=True)
def _greedy(row, column, order):  # type: ignore[no-untyped-def]
    """Mark the edges that still find both ends free, in the given order."""
    taken = np.zeros(len(row), np.bool_)
    busy_row, busy_column = np.zeros(row.max() + 1, np.bool_), np.zeros(column.max() + 1, np.bool_)
    for e in order:
        if not (busy_row[row[e]] or busy_column[column[e]]):
            taken[e] = busy_row[row[e]] = busy_column[column[e]] = True
    return taken


def variation_of_information(pairs: Pairs, counts: Counts) -> tuple[float, float]:
    """(split, merge) in bits, over the voxels of true objects (Meila, 2007).

    Split is H(prediction | truth), merge H(truth | prediction); predicted background is a segment
    like another. (nan, nan) where there is no true object.
    """
    joint, predicted, true = _foreground(pairs, counts)
    if len(joint) == 0:
        return math.nan, math.nan
    whole = joint.sum()
    split = -(joint * np.log2(joint / true)).sum() / whole
    merge = -(joint * np.log2(joint / predicted)).sum() / whole
    return abs(float(split)), abs(float(merge))


def adapted_rand_error(pairs: Pairs, counts: Counts) -> float:
    """1 - F1 of the pairs of voxels that are together in truth and in prediction.

    Over the voxels of true objects (Arganda-Carreras et al., 2015); nan where there is no pair.
    """
    joint, predicted, true = _foreground(pairs, counts)
    both = (joint * (joint - 1)).sum()
    # Rows hold the total of their object, so each voxel of the row adds its partners.
    together = (joint * (predicted - 1)).sum() + (joint * (true - 1)).sum()
    return 1 - 2 * float(both / together) if together else math.nan


def _foreground(pairs: Pairs, counts: Counts) -> tuple[Floats64, Floats64, Floats64]:
    """Of each row within true objects: its voxels, its prediction's and its true object's."""
    real = pairs[:, 1] != 0
    joint = counts[real].astype(np.float64)
    totals: list[Floats64] = []
    for side in (0, 1):
        ids, inverse = np.unique(pairs[real, side], return_inverse=True)
        total = np.bincount(inverse, joint, minlength=len(ids))[inverse]
        totals.append(total.astype(np.float64, copy=False))
    return joint, totals[0], totals[1]


def score(pairs: Pairs, counts: Counts, thresholds: Sequence[float] = (0.5, 0.75, 0.9)) -> Scores:
    """Score a contingency table (prediction, truth) that includes background.

    Parameters
    ----------
    pairs, counts
        (n, 2) ids and (n,) voxels, as of `bigseg.core.overlap.contingency`.
    thresholds
        IoU from which a predicted object counts as found.
    """
    matches = match(pairs, counts)
    split, merge = variation_of_information(pairs, counts)
    return Scores(
        predicted=len(matches.predicted_sizes),
        true=len(matches.true_sizes),
        thresholds=tuple(thresholds),
        true_positives=tuple(true_positives(matches, t) for t in thresholds),
        average_precision=tuple(average_precision(matches, t) for t in thresholds),
        error_rate=tuple(error_rate(matches, t) for t in thresholds),
        mean_average_precision=float(np.mean([average_precision(matches, t) for t in THRESHOLDS])),
        aji=aji(matches),
        aji_cellpose=aji_cellpose(matches),
        voi_split=split,
        voi_merge=merge,
        rand_error=adapted_rand_error(pairs, counts),
    )
