"""The best partition of one component, or how far from it the one in hand can be at most.

An integer program says for each attractive edge whether it is cut, and for each repulsive one how
much of it is. A repulsive edge cannot be cut if a path of attractive edges joins its ends uncut:
such constraints suffice (Lange et al., 2018), and of their great number only those are
written down that a solution breaks (Andres et al., 2011). HiGHS solves the programs (Huangfu and
Hall, 2018): first without demanding whole numbers, which often yields them or proves that the
partition in hand cannot be improved on, then with.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from time import monotonic

import numpy as np
import scipy.optimize
import scipy.sparse
from numba import njit
from numpy.typing import NDArray

from bigseg.core.bounds import neighbours
from bigseg.core.components import united
from bigseg.core.evidence import Costs
from bigseg.core.problem import Nodes, Problem

TOLERANCE = 1e-6
"""Gap between energy and bound, in units of all costs of a component, that counts as none."""

_BROKEN = 1e-4
"""By how much a constraint is broken that is written down."""


@dataclass(frozen=True, slots=True)
class Exact:
    """What is known of a component."""

    label: Nodes
    """(k,) cluster of each node."""
    energy: float
    bound: float
    """No partition has a lower energy."""


def solve_exactly(component: Problem, label: Nodes, bound: float, *, seconds: float) -> Exact:
    """Solve one component to optimality, or return the label given and the bound reached.

    Parameters
    ----------
    component
        A problem of one component.
    label
        (k,) a good partition, say by Kernighan-Lin.
    bound
        A known lower bound of the energy.
    seconds
        Time after which the partition given is returned, with a bound that was proven till then.
    """
    best = Exact(label, energy(component, label), bound)
    program = _Program(component, monotonic() + seconds)
    for whole in (False, True):
        while not _closed(component, best):
            solution, least = program.solve(whole)
            best = Exact(best.label, best.energy, max(best.bound, min(least, best.energy)))
            if solution is None or _closed(component, best):
                return best
            best = _better(component, best, solution)
            if not program.constrain(solution):
                break
    return best


def energy(problem: Problem, label: Nodes) -> float:
    """Sum of the costs of the edges that are cut."""
    return float(problem.costs[label[problem.u] != label[problem.v]].sum())


def _closed(component: Problem, best: Exact) -> bool:
    return best.energy - best.bound <= TOLERANCE * float(np.abs(component.costs).sum())


def _better(component: Problem, best: Exact, cut: Costs) -> Exact:
    """The better of two partitions: the one in hand, and what the uncut attraction joins."""
    joined = np.where(cut < 0.5, component.costs, 0)
    label = united(len(component.nodes), component.u, component.v, joined)
    value = energy(component, label)
    return Exact(label, value, best.bound) if value < best.energy else best


class _Program:
    """The integer program and the constraints written down so far."""

    def __init__(self, component: Problem, end: float) -> None:
        self.component = component
        self.end = end
        self.graph = neighbours(component)
        self.unit = float(np.abs(component.costs).max())  # HiGHS knows absolute tolerances
        self.repulsive = np.flatnonzero(component.costs < 0).astype(np.int32)
        self.rows: list[NDArray[np.int32]] = []
        """Edges of each cycle, the repulsive one first."""
        self.constrain(np.where(component.costs < 0, 1.0, 0.0))

    def constrain(self, cut: Costs) -> bool:
        """Write down, for each repulsive edge, the constraint that `cut` breaks most, if any."""
        edges, starts = _broken(
            self.graph, self.component.u, self.component.v, cut.clip(0, 1), self.repulsive
        )
        self.rows += np.split(edges, starts[1:]) if len(starts) else []
        return len(starts) > 0

    def solve(self, whole: bool) -> tuple[Costs | None, float]:
        """How much each edge is cut, and a bound; None if the time is over."""
        left = self.end - monotonic()
        if left <= 0:
            return None, -np.inf
        length = np.array([len(row) for row in self.rows])
        values = np.ones(length.sum())
        values[np.r_[0, np.cumsum(length)[:-1]]] = -1
        matrix = scipy.sparse.csr_array(
            (values, np.concatenate(self.rows), np.r_[0, np.cumsum(length)]),
            shape=(len(length), len(self.component.costs)),
        )
        found = scipy.optimize.milp(
            self.component.costs / self.unit,
            integrality=(self.component.costs > 0) * int(whole),
            bounds=scipy.optimize.Bounds(0, 1),
            constraints=scipy.optimize.LinearConstraint(matrix, lb=0),
            options={"time_limit": left, "mip_rel_gap": TOLERANCE / 10},
        )
        bound = found.mip_dual_bound if whole else (found.fun if found.status == 0 else None)
        least = -np.inf if bound is None else float(bound) * self.unit
        return (None if found.status != 0 else found.x), least


@njit(cache=True, nogil=True)
def _broken(graph, u, v, cut, repulsive):  # type: ignore[no-untyped-def]
    """Cycles (repulsive edge, then a shortest path) of the broken constraints, end to end."""
    k = len(graph[0]) - 1
    edges, starts = [np.int32(0) for _ in range(0)], [0 for _ in range(0)]
    distance = np.full(k, np.inf)
    hops, came = np.zeros(k, np.int32), np.zeros(k, np.int32)
    for e in repulsive:
        limit = cut[e] - _BROKEN
        touched = _walk(graph, cut, (u[e], v[e], limit), distance, hops, came)
        if distance[v[e]] < limit:
            starts.append(len(edges))
            edges.append(e)
            node = v[e]
            while node != u[e]:
                edges.append(came[node])
                node = u[came[node]] + v[came[node]] - node
        for node in touched:
            distance[node] = np.inf
    return np.array(edges, dtype=np.int32), np.array(starts, dtype=np.int64)


@njit(cache=True, nogil=True)
def _walk(graph, cut, way, distance, hops, came):  # type: ignore[no-untyped-def]
    """Distances from a until b is reached or none is below the limit (Dijkstra), fewest edges."""
    start, other, edge = graph
    a, b, limit = way
    touched = [a]
    distance[a], hops[a] = 0.0, 0
    heap = [(0.0, np.int32(0), a)]
    while len(heap) > 0:
        far, steps, node = heapq.heappop(heap)
        if node == b:
            break
        for i in range(start[node], start[node + 1]):
            there, there_far = other[i], far + cut[edge[i]]
            nearer = there_far < distance[there]
            as_near = there_far == distance[there] and steps + 1 < hops[there]
            if there_far < limit and (nearer or as_near):
                touched.append(there)
                distance[there], hops[there], came[there] = there_far, steps + 1, edge[i]
                heapq.heappush(heap, (there_far, np.int32(steps + 1), there))
    return touched
