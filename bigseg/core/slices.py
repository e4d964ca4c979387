"""Objects of planes become objects of a volume: what a link between two planes is worth.

A node is an object of one plane, a link joins two whose voxels lie above each other, one or more
planes apart. Links attract by the overlap of their ends; two objects of one plane that are linked
to the same third one are rivals and repel each other, or else a single plane in which two objects
are fused would fuse both stacks. A multicut of both (`core.multicut`) gives the objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bigseg.core.objects import HIGH, LOW, SUMS, Table
from bigseg.core.overlap import Counts, Pairs, add_counts, overlap_counts
from bigseg.errors import BigsegError, ImageError, SpecError

Score = Literal["fitted", "iou", "max"]
"""`fitted`: both shares of an overlap; `iou`: over the union; `max`: over the larger object."""
Ints = NDArray[np.int64]
Costs = NDArray[np.float64]

SMALLER, LARGER, CONSTANT = 1.0, 2.0, -1.0
"""Of `fitted`: weights of the log-odds of the shared part of the smaller and the larger object."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """How overlaps between planes become costs.

    The defaults are the best of a grid, by mean average precision in 3D at IoU 0.5 and 0.75, for
    planes of the truth of training volumes of BBBC050 and of two ovules (as they are, with planes
    dropped, and with objects fused, split and missed) and for planes of a network. On others, see
    `benchmarks/slices.py`.
    """

    beta: float = 0.5
    """Prior probability that two objects above each other are different, in (0, 1)."""
    score: Score = "fitted"
    skip: float = 0.75
    """Weight of a link for every plane that it skips, 0 to 1; such links never repel."""
    repulsion: float = 1.2
    """How much rivals repel each other, in the weaker of their two attractions to the third. From
    1 on, a plane in which two objects are fused does not fuse their stacks; up to about 2, the two
    pieces in which a plane shows one object still come together."""
    size_exponent: float = 0.0
    """Evidence grows with the mean voxels n of both objects, as n ** size_exponent."""

    def __post_init__(self) -> None:
        if not 0 < self.beta < 1:
            raise SpecError(f"beta is {self.beta}; it must lie between 0 and 1, both excluded.")
        if not 0 <= self.skip <= 1:
            raise SpecError(f"skip is {self.skip}; it must lie between 0 and 1.")
        if not 0 <= self.repulsion < np.inf:
            raise SpecError(f"repulsion is {self.repulsion}; it must be finite and at least 0.")


def count_pairs(labels: NDArray[Any], own: int, reach: int) -> tuple[Pairs, Counts]:
    """Voxels that objects of different planes have above each other.

    Counts of disjoint regions of a plane add up (`core.overlap.add_counts`).

    Parameters
    ----------
    labels
        (z, y, x) ids, 0 = background, each id in one plane only; of the planes that are counted
        and of `reach` more, as far as there are any.
    own
        Planes, from the first, whose objects are the lower ends.
    reach
        Planes from the lower to the upper end at most: 1 for consecutive planes.

    Returns
    -------
    pairs : (n, 2) uint64
        Id of the lower and of the upper plane, sorted.
    counts : (n,) int64
        Voxels of both.

    Raises
    ------
    ImageError
        An id is in two planes.
    """
    found = []
    for step in range(1, min(reach, len(labels) - 1) + 1):
        upper = labels[step : step + own]
        found.append(overlap_counts(labels[: len(upper)], upper))
    pairs, counts = add_counts(found)
    twice = pairs[:, 0] == pairs[:, 1]
    if twice.any():
        raise ImageError(
            f"object {pairs[int(twice.argmax()), 0]} is in two planes; objects of planes need ids "
            "of their own: number them through."
        )
    return pairs, counts


def link_costs(
    n_uv: NDArray[Any],
    n_u: NDArray[Any],
    n_v: NDArray[Any],
    step: NDArray[Any],
    weighing: Weighing,
) -> Costs:
    """Log-odds that the two ends of each link are one object.

    With s and l, the shares of the smaller and of the larger object that the other covers, and
    ``o(p) = log(p' / (1 - p'))`` of ``p' = 0.998 p + 0.001``, the score `fitted` has the log-odds
    ``o(s) + 2 o(l) - 1``, `iou` and `max` have ``o(iou)`` and ``o(l)``; to each
    ``log((1 - beta) / beta)`` is added. `iou` and `max` alone cut the caps of round objects off,
    where a plane's object is much smaller than the next, and the share of the smaller alone sees
    no difference between a cap and another object that begins above a large one.

    Parameters
    ----------
    n_uv, n_u, n_v
        (m,) voxels of both ends above each other, of the lower and of the upper end.
    step
        (m,) planes from one to the other.

    Returns
    -------
    (m,) float64
        Positive attracts. Links that skip planes weigh less and are at least 0: sizes and places
        change more over two planes, so little overlap there speaks against nothing.

    Raises
    ------
    BigsegError
        The counts of a link contradict each other.
    """
    smaller, larger = np.minimum(n_u, n_v), np.maximum(n_u, n_v)
    wrong = (n_uv < 1) | (n_uv > smaller) | (step < 1)
    if wrong.any():
        row = int(wrong.argmax())
        raise BigsegError(
            f"link {row} joins objects of {n_u[row]} and {n_v[row]} voxels, {step[row]} planes "
            f"apart, that share {n_uv[row]}; that cannot be: count the pairs of planes again."
        )
    if weighing.score == "fitted":
        odds = SMALLER * _odds(n_uv / smaller) + LARGER * _odds(n_uv / larger) + CONSTANT
    elif weighing.score == "iou":
        odds = _odds(n_uv / (n_u + n_v - n_uv))
    else:
        odds = _odds(n_uv / larger)
    odds += np.log((1 - weighing.beta) / weighing.beta)
    odds *= ((n_u + n_v) / 2) ** weighing.size_exponent
    return np.where(step > 1, np.maximum(odds, 0) * weighing.skip ** (step - 1.0), odds)


def _odds(share: NDArray[Any]) -> Costs:
    p = 0.998 * share + 0.001
    return np.asarray(np.log(p / (1 - p)), np.float64)


def rivals(
    uv: NDArray[Any], costs: Costs, plane: NDArray[Any], repulsion: float
) -> tuple[Ints, Costs]:
    """Pairs of objects of one plane that attract the same object of another plane.

    Two objects that a third fuses, and two pieces of an object that is whole in the planes before
    and after, are rivals alike. Of several third objects only the one that they attract most
    counts, which tells the two apart: pieces attract all of these, and repel each other once.

    Parameters
    ----------
    uv
        (m, 2) nodes of each link; each pair once.
    costs
        (m,) cost of cutting each; only links that attract make rivals.
    plane
        (nodes,) plane of each node.
    repulsion
        See `Weighing`.

    Returns
    -------
    pairs : (n, 2) int64
        Smaller node first, sorted, each pair once.
    costs : (n,) float64
        Negative.
    """
    pulls = costs > 0
    ends = uv[pulls].astype(np.int64)
    hub, end = np.r_[ends[:, 0], ends[:, 1]], np.r_[ends[:, 1], ends[:, 0]]
    force = np.tile(costs[pulls], 2)
    order = np.lexsort((end, plane[end], hub))
    hub, end, force, level = hub[order], end[order], force[order], plane[end[order]]
    pairs, weaker = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for step in range(1, len(hub) if repulsion > 0 else 0):
        same = (hub[:-step] == hub[step:]) & (level[:-step] == level[step:])
        if not same.any():
            break
        pairs.append(np.stack([end[:-step][same], end[step:][same]], axis=1))
        weaker.append(np.minimum(force[:-step][same], force[step:][same]))
    found, cost = np.concatenate(pairs), -repulsion * np.concatenate(weaker)
    order = np.lexsort((cost, found[:, 1], found[:, 0]))
    found, cost = found[order], cost[order]
    strongest = np.ones(len(found), np.bool_)
    strongest[1:] = (found[1:] != found[:-1]).any(axis=1)
    return found[strongest], cost[strongest]


def sum_rows(tables: Sequence[Table], at: Sequence[NDArray[Any]], count: int) -> Table:
    """Rows of objects of planes from those of blocks: voxels, bounds and sums are added up.

    Parameters
    ----------
    tables
        As of `core.objects.measure_objects`, with `flow_error` and, maybe, votes `class_0`, ….
    at
        For each table, (rows,) position of each row's object, 0 to count - 1, or -1.
    count
        Objects.

    Returns
    -------
    Table
        `count` rows of the same columns; `id` counts from 1, and `voxels_total` are `voxels`.
    """
    votes = [name for name in tables[0] if name.startswith("class_")] if tables else []
    total: Table = {"id": np.arange(1, count + 1, dtype=np.uint64)}
    total |= {name: np.zeros(count, np.int32) for name in ("frame", *HIGH)}
    total |= {name: np.full(count, np.iinfo(np.int32).max, np.int32) for name in LOW}
    total |= {name: np.zeros(count, np.int64) for name in ("voxels", *SUMS, *votes)}
    total |= {name: np.zeros(count, np.bool_) for name in ("touches_border", "cut")}
    error, seen = np.zeros(count), np.zeros(count)
    for table, place in zip(tables, at, strict=True):
        known = np.flatnonzero((place >= 0) & ~np.isnan(table["flow_error"]))
        np.add.at(seen, place[known], table["voxels_total"][known])
        weighted = table["flow_error"][known] * table["voxels_total"][known]
        np.add.at(error, place[known], weighted)
        _add_rows(total, table, np.flatnonzero((place >= 0) & (table["voxels"] > 0)), place, votes)
    total["voxels_total"] = total["voxels"]
    total["flow_error"] = np.where(seen > 0, error / np.maximum(seen, 1), np.nan)
    return total


def _add_rows(total: Table, table: Table, rows: Ints, at: NDArray[Any], votes: list[str]) -> None:
    """Add what adds up of the rows of one table."""
    place = at[rows]
    total["frame"][place] = table["frame"][rows]
    for name in ("voxels", *SUMS, *votes):
        np.add.at(total[name], place, table[name][rows])
    for name in LOW:
        np.minimum.at(total[name], place, table[name][rows])
    for name in HIGH:
        np.maximum.at(total[name], place, table[name][rows])
    for name in ("touches_border", "cut"):
        total[name][place[table[name][rows]]] = True
