"""What a solver gets: components of a graph, one after the other, in one canonical form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.evidence import Costs

Nodes = NDArray[np.int32]
"""Numbers of nodes, or for each node the first of those it is together with: its root."""
Starts = NDArray[np.int64]
"""(n + 1,) where each part of an array begins, and where the last one ends."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Components with attraction and repulsion, one after the other, with nodes of its own 0..k.

    Components are in the order of their first nodes. The nodes of one are consecutive and in the
    order of the graph, its edges are consecutive with u < v, sorted, none twice: equal graphs make
    equal problems.
    """

    nodes: Nodes
    """(k,) node of the graph that each node stands for."""
    u: Nodes
    """(m,) first node of each edge, numbered within the problem."""
    v: Nodes
    """(m,) second node."""
    costs: Costs
    """(m,) cost of cutting each edge, not all of one sign within a component."""
    node_start: Starts
    """(c + 1,) where the nodes of each component begin."""
    edge_start: Starts
    """(c + 1,) where its edges begin."""

    def __len__(self) -> int:
        """Components."""
        return len(self.edge_start) - 1

    def total(self, values: NDArray[Any]) -> Costs:
        """Sum of the values (m,) of the edges of each component, (c,) float64."""
        component = np.repeat(np.arange(len(self)), np.diff(self.edge_start))
        return np.bincount(component, values, minlength=len(self)).astype(np.float64)

    def some(self, components: NDArray[np.integer]) -> Problem:
        """The components of these numbers, in this order, as a problem."""
        nodes, node_start = taken(self.node_start, components)
        edges, edge_start = taken(self.edge_start, components)
        shift = np.repeat(self.node_start[components] - node_start[:-1], np.diff(edge_start))
        u, v = ((end[edges] - shift).astype(np.int32) for end in (self.u, self.v))
        return Problem(self.nodes[nodes], u, v, self.costs[edges], node_start, edge_start)

    def part(self, first: int, last: int) -> Problem:
        """Components `first` to before `last`, as a problem."""
        nodes = slice(self.node_start[first], self.node_start[last])
        edges = slice(self.edge_start[first], self.edge_start[last])
        shift = np.int32(self.node_start[first])
        return Problem(
            self.nodes[nodes],
            self.u[edges] - shift,
            self.v[edges] - shift,
            self.costs[edges],
            self.node_start[first : last + 1] - self.node_start[first],
            self.edge_start[first : last + 1] - self.edge_start[first],
        )


def taken(start: Starts, parts: NDArray[np.integer]) -> tuple[NDArray[np.int64], Starts]:
    """Elements of some parts, one part after the other, and where these begin among them."""
    sizes = start[parts + 1] - start[parts]
    begin = np.r_[0, np.cumsum(sizes)].astype(np.int64)
    return np.repeat(start[parts] - begin[:-1], sizes) + np.arange(begin[-1]), begin


def canonical(
    n: int, low: NDArray[Any], high: NDArray[Any], costs: Costs
) -> tuple[Nodes, Nodes, Costs, bool]:
    """Edges (low < high) sorted, parallel ones summed, and whether there were any."""
    key = low.astype(np.int64)
    key *= max(n, 1)
    key += high
    doubled = not bool((key[1:] > key[:-1]).all())
    if doubled:
        order = np.argsort(key)
        key, costs, doubled = _parallel_summed(key[order], costs[order])
        low, high = np.divmod(key, max(n, 1))
    return low.astype(np.int32, copy=False), high.astype(np.int32, copy=False), costs, doubled


def _parallel_summed(key: NDArray[np.int64], costs: Costs) -> tuple[NDArray[np.int64], Costs, bool]:
    """Sum the costs of equal keys, smallest first: floats add up to the bit only in one order."""
    same = key[1:] == key[:-1]
    if not same.any():
        return key, costs, False
    twins = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    costs[twins] = costs[twins][np.lexsort((costs[twins], key[twins]))]
    first = np.flatnonzero(np.r_[True, ~same])
    return key[first], np.add.reduceat(costs, first), True


def by_content(problem: Problem) -> NDArray[np.int64]:
    """Order (k,) of the nodes within their components by what their edges say, not by number.

    Local optima of solvers depend on the order of nodes, and numbers depend on how an image is cut
    into blocks. Ordered like this, equal components are solved equally however they are numbered;
    nodes whose edges, and whose neighbours' edges, are alike to the last bit keep their order.
    """
    k, ends = len(problem.nodes), np.concatenate([problem.u, problem.v])
    other = np.concatenate([problem.v, problem.u])
    costs = np.concatenate([problem.costs, problem.costs])
    degree = np.bincount(ends, minlength=k)
    sums = np.bincount(ends, costs, minlength=k)
    sizes = np.bincount(ends, np.abs(costs), minlength=k)
    around = np.bincount(ends, costs * degree[other], minlength=k)
    component = np.repeat(np.arange(len(problem)), np.diff(problem.node_start))
    return np.lexsort((around, sizes, sums, degree, component)).astype(np.int64)


def reordered(problem: Problem, order: NDArray[np.int64]) -> Problem:
    """The problem with its nodes in another order, which keeps components together."""
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    u, v = place[problem.u], place[problem.v]
    low, high, costs, _ = canonical(len(order), np.minimum(u, v), np.maximum(u, v), problem.costs)
    start = np.searchsorted(low, problem.node_start).astype(np.int64)
    return Problem(problem.nodes[order], low, high, costs, problem.node_start, start)


_NONE = np.zeros(0, np.int32)
NO_COMPONENTS = Problem(
    _NONE, _NONE, _NONE, np.zeros(0), np.zeros(1, np.int64), np.zeros(1, np.int64)
)
"""A problem that is solved."""
