"""How much better than a partition the best one can be at most: certificates without a solver.

A cycle with one repulsive edge has an edge that the best partition gets wrong: it cuts an
attractive one or joins the repulsive one. Cycles that share no cost each add what their weakest
edge costs to the energy of cutting exactly the repulsive edges. Taking the shortest cycles first
is the iterative cycle packing of Lange, Karrenbauer and Andres ("Partial optimality and fast lower
bounds for weighted correlation clustering", 2018).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.evidence import Costs
from bigseg.core.problem import Problem

_STEPS = np.array([2, 3, 4, 6, 1 << 30], np.int32)
"""Longest path of attractive edges that is looked for in each pass."""

_VISITS = 2000
"""Nodes that the search for one path visits at most; a path not found makes the bound weaker."""


Neighbours = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]
"""Where each node's attracted neighbours begin, the neighbours, and the edges to them."""


def lower_bounds(problem: Problem, steps: NDArray[np.int32] = _STEPS) -> Costs:
    """Return an energy that no partition of each component falls below, (c,) float64."""
    rest = problem.costs.copy()
    packed = _pack(neighbours(problem), problem.u, problem.v, rest, steps)
    return problem.total(problem.costs.clip(max=0) + packed)


def cut_repulsive(problem: Problem) -> Costs:
    """Sum of the negative costs of each component: the weakest bound there is."""
    return problem.total(problem.costs.clip(max=0))


def neighbours(problem: Problem) -> Neighbours:
    """Graph of the attractive edges, to walk on."""
    edge = np.flatnonzero(problem.costs > 0).astype(np.int32)
    end = np.concatenate([problem.u[edge], problem.v[edge]])
    other = np.concatenate([problem.v[edge], problem.u[edge]])
    order = np.argsort(end, kind="stable")
    start = np.zeros(len(problem.nodes) + 1, np.int64)
    np.cumsum(np.bincount(end, minlength=len(problem.nodes)), out=start[1:])
    return start, other[order], np.concatenate([edge, edge])[order]


@njit(cache=True, nogil=True)
def _pack(graph, u, v, rest, steps):  # type: ignore[no-untyped-def]
    """Take cycles out of the costs in `rest`; return what those of each repulsive edge sum to."""
    k = len(graph[0]) - 1
    packed = np.zeros(len(u), np.float64)
    came = np.zeros(k, np.int32)
    marks = np.full(k, -1, np.int64), np.zeros(k, np.int32), np.zeros(k, np.int32)
    search = 0
    for most in steps:
        for e in range(len(u)):
            found = True
            while found and rest[e] < 0:
                found = _path(graph, rest, (u[e], v[e], most), search, marks, came)
                search += 1
                if found:
                    packed[e] += _taken(u, v, rest, e, came)
    return packed


@njit(cache=True, nogil=True)
def _path(graph, rest, way, search, marks, came):  # type: ignore[no-untyped-def]
    """Breadth first from a to b over edges with attraction left; `came` has the edges."""
    start, other, edge = graph
    a, b, most = way
    seen, depth, queue = marks
    seen[a], depth[a], queue[0] = search, 0, a
    head, tail = 0, 1
    while head < tail and tail < _VISITS:
        node = queue[head]
        head += 1
        if depth[node] >= most:
            return False
        for i in range(start[node], start[node + 1]):
            there = other[i]
            if rest[edge[i]] > 0 and seen[there] != search:
                seen[there], depth[there], came[there] = search, depth[node] + 1, edge[i]
                if there == b:
                    return True
                queue[tail] = there
                tail += 1
    return False


@njit(cache=True, nogil=True)
def _taken(u, v, rest, e, came):  # type: ignore[no-untyped-def]
    """Subtract the weakest cost of a cycle from all its costs, and return it."""
    least = -rest[e]
    node = v[e]
    while node != u[e]:
        least = min(least, rest[came[node]])
        node = u[came[node]] + v[came[node]] - node
    node = v[e]
    while node != u[e]:
        rest[came[node]] -= least
        node = u[came[node]] + v[came[node]] - node
    rest[e] += least
    return least
