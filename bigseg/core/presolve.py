"""Merge nodes that some best partition has together: exact, and cheaper than any solver.

If an edge attracts at least as strongly as all other edges of one of its ends attract and repel
together, that end can be moved to the other's cluster without loss: the edge can be contracted
(Lange et al., "Partial optimality and fast lower bounds for weighted correlation clustering",
2018). A contraction adds up parallel edges, after which more edges dominate, and components fall
apart or are left without conflict. Rounds of this, all nodes at once, until nothing moves.

Why all at once: each node moves along one edge at most. The edges moved along make trees whose
root stays; taken from the root outwards, each node is still alone when its turn comes, and the
sums at its edges have at most shrunk in favour of the one it moves along.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bigseg.core.components import refined, undecided
from bigseg.core.evidence import Costs
from bigseg.core.problem import Nodes, Problem, canonical


def presolve(root: Nodes, problem: Problem) -> tuple[Nodes, Problem]:
    """Contract what can be contracted without loss; arguments and result as of `decompose`.

    The best energy of the smaller problem, plus the costs of the edges between its components that
    were dropped, is that of the larger: an optimum survives, ties included.

    Parameters
    ----------
    root
        (n,) first node that each node of the graph is surely together with.
    problem
        What is undecided.

    Returns
    -------
    root : (n,) int32
        As before, with the merged nodes.
    problem
        What is still undecided; `nodes` are the first ones of what was merged.
    """
    k = len(problem.nodes)
    inner, less = np.arange(k, dtype=np.int32), as_graph(problem)
    moved = True
    while moved and len(less.u):
        to = _dominated(len(less.nodes), less.u, less.v, less.costs)
        low, high, costs, _ = contracted(less, to)
        found, rest, _ = undecided(len(less.nodes), low, high, costs, None)
        found = found[to]
        moved = len(rest.nodes) < len(less.nodes)
        inner, less = refined(inner, less, found, rest)
    return refined(root, problem, inner, less)


def as_graph(problem: Problem) -> Problem:
    """The same, as a problem about its own nodes."""
    own = np.arange(len(problem.nodes), dtype=np.int32)
    return Problem(own, problem.u, problem.v, problem.costs, problem.node_start, problem.edge_start)


def contracted(problem: Problem, to: Nodes) -> tuple[Nodes, Nodes, Costs, bool]:
    """Edges between the nodes that are left, parallel ones summed."""
    u, v = to[problem.u], to[problem.v]
    real = u != v
    u, v = u[real], v[real]
    return canonical(len(to), np.minimum(u, v), np.maximum(u, v), problem.costs[real])


@njit(cache=True, nogil=True)
def _dominated(n, u, v, costs):  # type: ignore[no-untyped-def]
    """Root of each node after every node whose strongest edge outweighs the others has moved."""
    total = np.zeros(n, np.float64)
    best = np.zeros(n, np.float64)
    to = np.full(n, -1, np.int32)
    for e in range(len(u)):
        a, b, cost = u[e], v[e], costs[e]
        total[a] += abs(cost)
        total[b] += abs(cost)
        if cost > best[a]:  # edges are sorted: of equal ones the first end wins
            best[a] = cost
            to[a] = b
        if cost > best[b]:
            best[b] = cost
            to[b] = a
    parent = np.arange(n).astype(np.int32)
    for i in range(n):
        if to[i] >= 0 and 2 * best[i] >= total[i]:
            a, b = np.int32(i), to[i]
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            parent[max(a, b)] = min(a, b)
    for i in range(n):
        parent[i] = parent[parent[i]]
    return parent
