"""Lifted edges: evidence about two objects that do not touch, across more than one block.

A lifted edge costs its price when its ends are in different clusters, as an edge does, but joins
nothing: a cluster must be connected by edges proper (Keuper et al., "Efficient decomposition of
image and mesh graphs by lifted multicuts", 2015).

How the graph falls into components. Without attractive lifted edges, nodes that no path of
attractive edges joins are apart in a best partition: parting a cluster into its components of
attraction, and these into connected pieces, cuts nothing that attracts. An attractive lifted edge
changes that only where it can be honoured, that is where edges connect its ends:

- between two components that an edge joins, whatever its sign, it may pay to merge them: they are
  made one component (what touches either now touches it, so this is repeated while it can be);
- between two that only a detour through further components joins, it is cut. This is the one thing
  that is not exact: a cluster that is held together by nodes which nothing attracts to it is not
  looked for. To look for it, all that edges of any sign connect would have to be one component.

Lifted edges between different components are cut, whatever they cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.lifted_multicut import LiftedKernighanLinMulticut, LiftedMulticutObjective
from numpy.typing import NDArray

from bigseg.core.components import check_edges, decompose, settled, united
from bigseg.core.presolve import presolve
from bigseg.core.problem import Nodes, canonical
from bigseg.core.solvers import solve_components
from bigseg.types import Solver

Weighted = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""First nodes, second nodes and costs of edges, each (m,)."""


def solve_lifted(
    number_of_nodes: int,
    edges: Weighted,
    lifted: Weighted,
    *,
    solver: Solver = "kernighan-lin",
) -> Nodes:
    """Partition a graph with lifted edges; the same whatever the order or repetition of edges.

    Parameters
    ----------
    number_of_nodes
        Nodes are 0..number_of_nodes - 1.
    edges
        Nodes and costs of the edges; only they connect. Costs of parallel edges add up.
    lifted
        The same of lifted edges; one between the ends of an edge adds to its cost.
    solver
        Solver of the components without lifted edges inside; the others go to lifted
        Kernighan-Lin, warm-started by greedy contraction.

    Returns
    -------
    (number_of_nodes,) int32
        First node of each node's cluster.

    Raises
    ------
    BigsegError
        A cost is not finite, an edge has an unknown node, or arrays do not match in length.
    """
    base = _summed(number_of_nodes, *edges)
    far = _summed(number_of_nodes, *lifted)
    base, far = _apart(number_of_nodes, base, far)
    part = lifted_components(number_of_nodes, base, far)
    inside = part[far[0]] == part[far[1]]
    far = (far[0][inside], far[1][inside], far[2][inside])
    reached = np.zeros(number_of_nodes, np.bool_)
    reached[part[far[0]]] = True
    plain = ~reached[part[base[0]]]
    root, problem = decompose(number_of_nodes, *(x[plain] for x in base))
    root, problem = presolve(root, problem)
    label = solve_components(problem, solver=solver).label
    root = settled(root, problem.nodes, label)
    inner = ~plain & (part[base[0]] == part[base[1]])
    for nodes, near, distant in _each(part, reached, tuple(x[inner] for x in base), far):
        root[nodes] = nodes[_solved(len(nodes), near, distant)]
    return root


def lifted_components(number_of_nodes: int, edges: Weighted, lifted: Weighted) -> Nodes:
    """First node of each node's component, by the rule above; edges without parallel ones."""
    u, v, costs = edges
    a, b, strength = (x[lifted[2] > 0] for x in lifted)
    part = united(number_of_nodes, u, v, costs)
    while True:
        between = _pair_keys(number_of_nodes, part[u], part[v])
        wished = _pair_keys(number_of_nodes, part[a], part[b])
        join = (part[a] != part[b]) & np.isin(wished, between)
        if not join.any():
            break
        part = united(number_of_nodes, part[a], part[b], strength * join)[part]
    return part


def _summed(n: int, u: NDArray[Any], v: NDArray[Any], costs: NDArray[Any]) -> Weighted:
    """Canonical edges, without loops."""
    check_edges(n, u, v, costs)
    real = u != v
    low, high = (f(u[real], v[real]).astype(np.int32) for f in (np.minimum, np.maximum))
    return canonical(n, low, high, np.asarray(costs, np.float64)[real])[:3]


def _pair_keys(n: int, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int64]:
    """One number for each pair of nodes, either way round."""
    keys: NDArray[np.int64] = np.minimum(a, b).astype(np.int64) * n + np.maximum(a, b)
    return keys


def _apart(n: int, base: Weighted, far: Weighted) -> tuple[Weighted, Weighted]:
    """Add lifted edges to the edges that have the same ends; return the edges and the others."""
    keys, wanted = _pair_keys(n, base[0], base[1]), _pair_keys(n, far[0], far[1])
    place = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
    double = keys[place] == wanted if len(keys) else np.zeros(len(wanted), np.bool_)
    costs = base[2].copy()
    costs[place[double]] += far[2][double]
    rest = ~double
    return (base[0], base[1], costs), (far[0][rest], far[1][rest], far[2][rest])


def _each(
    part: Nodes, reached: NDArray[np.bool_], base: Weighted, far: Weighted
) -> Iterator[tuple[Nodes, Weighted, Weighted]]:
    """Nodes, edges and lifted edges of each reached component, numbered within it."""
    nodes = np.flatnonzero(reached[part]).astype(np.int32)
    nodes = nodes[np.argsort(part[nodes], kind="stable")]
    rank = np.zeros(len(part), np.int32)
    start = np.searchsorted(part[nodes], roots := np.unique(part[nodes]))
    rank[nodes] = np.arange(len(nodes)) - np.repeat(start, np.diff(np.r_[start, len(nodes)]))
    sets = [_by_component(part, roots, some) for some in (base, far)]
    for i, own in enumerate(np.split(nodes, start[1:])):
        near, distant = ((rank[u[i]], rank[v[i]], costs[i]) for u, v, costs in sets)
        yield own, near, distant


def _by_component(part: Nodes, roots: Nodes, edges: Weighted) -> list[list[NDArray[Any]]]:
    """Each column of the edges, cut into one array per component."""
    order = np.argsort(part[edges[0]], kind="stable")
    ends = np.searchsorted(part[edges[0]][order], roots[1:])
    return [np.split(column[order], ends) for column in edges]


def _solved(n: int, near: Weighted, far: Weighted) -> Nodes:
    """First node of each node's cluster in one component."""
    uv, lifted = (np.stack(some[:2], axis=1).astype(np.uint64) for some in (near, far))
    graph = UndirectedGraph.from_unique_edges(n, uv)
    objective = LiftedMulticutObjective(graph, near[2], lifted_uvs=lifted, lifted_costs=far[2])
    label = np.asarray(LiftedKernighanLinMulticut().optimize(objective))
    uncut = label[near[0]] == label[near[1]]
    found = united(n, near[0], near[1], uncut.astype(np.float64))  # connected, as it must be
    trivial = [np.zeros(n, np.int32), np.arange(n, dtype=np.int32)]
    return min([found, *trivial], key=lambda x: _energy(x, near) + _energy(x, far))


def _energy(label: Nodes, edges: Weighted) -> float:
    return float(edges[2][label[edges[0]] != label[edges[1]]].sum())
