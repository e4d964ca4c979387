"""The best set of links as a linear program, solved by HiGHS; whole numbers where it leaves none.

Variables: each link, each division (a mother with *both* daughters), each detection that may be
false. Of a detection at most one link leads in and one out; a division takes one way out of the
mother and one way in of each daughter. Ends and starts are what is left over, so they need no
variables. Measured: for divisions as pairs the relaxation is nearly always whole (one variable per
daughter, coupled, is not); what is fractional goes to a small integer program with all else fixed,
and if that has no time, to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import highspy
import numpy as np
from scipy import sparse

from bigseg.core.tracking.candidates import Candidates
from bigseg.core.tracking.costs import Nodes
from bigseg.core.tracking.detections import Bools, Floats, Ints
from bigseg.core.tracking.fusions import Fusions, none

WHOLE = 1e-6
"""How far from a whole number still counts as whole."""
WIDEST = 2_000
"""Columns of an integer program from which on no more are freed."""
_OPTIONS = {"output_flag": False, "threads": 1, "random_seed": 0, "mip_rel_gap": 1e-6}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is in the solution."""

    links: Bools
    divisions: Bools
    real: Bools
    """(detections,) False for those rejected."""
    value: float
    """Sum of the gains, and of what it costs to keep detections that may be false; where none is
    linked and all of those are rejected it is 0."""
    bound: float
    """No solution is below."""
    fractional: int
    """Variables that the relaxation left between 0 and 1."""
    fusions: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))


@dataclass(frozen=True, slots=True)
class _Program:
    cost: Floats
    matrix: sparse.csc_array
    upper: Floats
    optional: Ints
    """Detections that have a variable: the last columns."""
    first: int
    """The column of the first of them."""
    size: int
    """How many detections there are."""


def solve(
    c: Candidates,
    n: Nodes,
    conflicts: Ints | None = None,
    seconds: float = 60.0,
    merging: Fusions | None = None,
) -> Chosen:
    """Choose links, divisions and real detections at the least total cost.

    Parameters
    ----------
    c, n
        Candidates, and costs of the detections.
    conflicts
        (m, 2) detection, set: at most one of a set is real. See `Detections`.
    seconds
        For the integer program, where one is needed; after that, rounding.
    merging
        Objects that may become one, if there are any.
    """
    merging = merging or none()
    program = _build(c, n, conflicts, merging)
    relaxed, bound = _run(program.cost, program.matrix, program.upper, None, seconds * 10)
    if relaxed is None:
        x = _rounded(program, np.zeros(len(program.cost)))
        return _chosen(c, program, x, -np.inf, len(x))
    fraction = np.minimum(relaxed, 1 - relaxed) > WHOLE
    x = np.round(relaxed)
    if fraction.any():
        x = _mixed(program, relaxed, bound, seconds)
    return _chosen(c, program, x, bound, int(fraction.sum()))


def _build(
    c: Candidates, n: Nodes, conflicts: Ints | None, merging: Fusions | None = None
) -> _Program:
    """Rows: ways in, then ways out, then sets.

    Columns: links, divisions, fusions, optional detections.
    """
    merging = merging or none()
    size = len(n.appear)
    weight = n.appear + n.disappear - n.false
    member = np.zeros(size, np.bool_)
    if conflicts is not None and len(conflicts):
        member[conflicts[:, 0]] = True
    optional = np.flatnonzero((weight > 0) | member)
    counts = len(c.source), len(c.mother), len(merging), len(optional)
    column = np.arange(sum(counts))
    x, h, f, v = np.split(column, np.cumsum(counts)[:-1])
    one = [(c.target, x), (size + c.source, x), (size + c.mother, h)]
    one += [(c.daughters[:, k], h) for k in (0, 1)]
    one += [(merging.child, f), *((size + merging.parents[:, k], f) for k in (0, 1))]
    less = [(optional, v), (size + optional, v)]
    upper = np.ones(2 * size)
    upper[optional] = upper[size + optional] = 0
    if conflicts is not None and len(conflicts):
        place = np.searchsorted(optional, conflicts[:, 0])
        _, group = np.unique(conflicts[:, 1], return_inverse=True)
        one.append((2 * size + group, v[place]))
        upper = np.r_[upper, np.ones(group.max() + 1)]
    rows = np.concatenate([r for r, _ in one + less])
    columns = np.concatenate([k for _, k in one + less])
    plus = sum(len(r) for r, _ in one)
    values = np.where(np.arange(len(rows)) < plus, 1.0, -1.0)
    shape = (len(upper), len(column))
    matrix = sparse.csc_array((values, (rows, columns)), shape=shape)
    cost = np.concatenate([c.gain, c.born, merging.gain, weight[optional]])
    return _Program(cost, matrix, upper, optional, len(column) - len(optional), size)


def _run(
    cost: Floats, matrix: sparse.csc_array, upper: Floats, whole: Bools | None, seconds: float
) -> tuple[Floats | None, float]:
    """Minimise within 0..1; None if there was no solution in time. Also a lower bound."""
    if not len(cost):
        return np.zeros(0), 0.0
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(cost), len(upper)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.zeros(len(cost)), np.ones(len(cost))
    lp.row_lower_, lp.row_upper_ = np.full(len(upper), -highspy.kHighsInf), upper
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
    lp.a_matrix_.value_ = matrix.data
    if whole is not None:
        kinds = (highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger)
        lp.integrality_ = [kinds[int(w)] for w in whole]
    solver = highspy.Highs()
    for name, value in _OPTIONS.items():
        solver.setOptionValue(name, value)
    solver.setOptionValue("time_limit", seconds)
    solver.passModel(lp)
    solver.run()
    info = solver.getInfo()
    if whole is None:
        done = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
        bound = info.objective_function_value if done else -np.inf
    else:
        done = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        bound = info.mip_dual_bound
    return (np.array(solver.getSolution().col_value) if done else None), bound


def _mixed(p: _Program, relaxed: Floats, bound: float, seconds: float) -> Floats:
    """Solve again what is fractional and what touches it (two steps away), all else fixed.

    If that stays above the bound, what is fixed may stand in its way, and more of it is freed.
    """
    shared = abs(p.matrix)
    free = np.minimum(relaxed, 1 - relaxed) > WHOLE
    best, steps, before = _rounded(p, relaxed), 2, 0
    while True:
        for _ in range(steps):
            free = shared.T @ ((shared @ free.astype(np.float64)) > 0) > 0
        found = _freed(p, np.round(relaxed), free, seconds)
        if found is None:
            return best
        if p.cost @ found < p.cost @ best:
            best = found
        size = int(free.sum())
        if p.cost @ best <= bound + WHOLE or size == before or size > WIDEST:
            return best
        before, steps = size, 2 * steps


def _freed(p: _Program, fixed: Floats, free: Bools, seconds: float) -> Floats | None:
    """Solve for the free columns in whole numbers; None if there was no solution in time."""
    x = np.where(free, 0, fixed)
    room = p.upper - p.matrix @ x
    part = p.matrix[:, np.flatnonzero(free)].tocsr()
    used = np.flatnonzero(np.diff(part.indptr))
    whole = np.ones(int(free.sum()), np.bool_)
    found, _ = _run(p.cost[free], part[used].tocsc(), room[used], whole, seconds)
    if found is None:
        return None
    x[free] = np.round(found)
    return x


def _rounded(p: _Program, liked: Floats) -> Floats:
    """Take columns greedily: those that are liked most, then the cheapest, if they fit.

    Optional detections come first, so that links to them fit; those that no link uses, and that
    cost something, are given back.
    """
    x = np.zeros(len(p.cost))
    room = p.upper.copy()
    start, row, value = p.matrix.indptr, p.matrix.indices, p.matrix.data
    links = np.arange(p.first)
    links = links[np.lexsort((p.cost[: p.first], -liked[: p.first]))]
    optional = np.arange(p.first, len(x))
    optional = optional[np.lexsort((p.cost[p.first :], -liked[p.first :]))]
    for k in (*optional, *links):
        part = slice(start[k], start[k + 1])
        if (room[row[part]] - value[part] > -WHOLE).all():
            x[k] = 1
            room[row[part]] -= value[part]
    used = p.matrix[:, : p.first] @ x[: p.first]
    for k in optional[p.cost[optional] > 0]:
        ways = row[start[k] : start[k + 1]][value[start[k] : start[k + 1]] < 0]
        if not used[ways].any():
            x[k] = 0
    return x


def _chosen(c: Candidates, p: _Program, x: Floats, bound: float, fractional: int) -> Chosen:
    real = np.ones(p.size, np.bool_)
    real[p.optional] = x[p.first :] > 0.5
    bounds = np.cumsum([len(c.source), len(c.mother)])
    links, divisions, fused = np.split(x[: p.first] > 0.5, bounds)
    value = float(p.cost @ x)
    return Chosen(links, divisions, real, value, bound, fractional, fused)
