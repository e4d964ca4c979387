"""Cut a graph into the components that must be solved, exactly and without a solver.

Nodes that no path of attraction joins are never together in the best partition, so every component
of attractive edges is a problem of its own (Alush and Goldberger, 2012), and one that no repulsive
edge runs inside of is solved by merging it. Of a graph of overlaps little is left after that.

Edges come as two arrays of nodes and one of costs, as they lie on disk: 3e7 of them need no copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.problem import Nodes, Problem, canonical
from bigseg.core.rivals import crowded, repelled
from bigseg.errors import BigsegError, SpecError


def decompose(
    number_of_nodes: int,
    u: NDArray[Any],
    v: NDArray[Any],
    costs: NDArray[Any],
    *,
    repulsion: float = 0.0,
    block_of_node: NDArray[Any] | None = None,
) -> tuple[Nodes, Problem]:
    """Settle all that needs no solver: the same whatever the order or repetition of the edges.

    Parameters
    ----------
    number_of_nodes
        Nodes are 0..number_of_nodes - 1, fewer than 2^31.
    u, v
        (m,) integers, the nodes of each edge, either way round; costs of parallel edges add up,
        loops are ignored. Best int32 and contiguous: they are read in place.
    costs
        (m,) float32 or float64, cost of cutting each edge; positive attracts.
    repulsion, block_of_node
        See `core.multicut.solve`; repelling edges are added within components.

    Returns
    -------
    root : (number_of_nodes,) int32
        First node that each node is surely together with; nodes of the problem are still alone.
    problem
        What is undecided.

    Raises
    ------
    BigsegError
        A cost is not finite, an edge has an unknown node, or arrays do not match in length.
    SpecError
        `repulsion` is negative, or lacks the blocks.
    """
    check_edges(number_of_nodes, u, v, costs)
    rivalry = _check_repulsion(number_of_nodes, repulsion, block_of_node)
    root, problem, doubled = undecided(number_of_nodes, u, v, costs, rivalry)
    if doubled:  # two edges that attract may be part of one that repels
        rivals = None if rivalry is None else rivalry[problem.nodes]
        inner, less, _ = undecided(len(problem.nodes), problem.u, problem.v, problem.costs, rivals)
        root, problem = refined(root, problem, inner, less)
    if rivalry is not None:
        problem = repelled(problem, repulsion, rivalry[problem.nodes])
    return root, problem


def refined(root: Nodes, problem: Problem, inner: Nodes, less: Problem) -> tuple[Nodes, Problem]:
    """`inner` and `less` are what became of the nodes of `problem`: put them in its place."""
    nodes = problem.nodes[less.nodes]
    rest = Problem(nodes, less.u, less.v, less.costs, less.node_start, less.edge_start)
    first = nodes[less.node_start[:-1]]
    if (first[1:] < first[:-1]).any():  # a component fell apart, and others lie in between
        rest = rest.some(np.argsort(first))
    return settled(root, problem.nodes, inner), rest


def settled(root: Nodes, nodes: Nodes, label: NDArray[Any]) -> Nodes:
    """Roots of all nodes, now that the undecided ones have been partitioned.

    Parameters
    ----------
    root
        (n,) roots, as `decompose` returns them.
    nodes
        (k,) the undecided nodes, in any order.
    label
        (k,) for each of them the position in `nodes` of one that all of its cluster share.

    Returns
    -------
    (n,) int32
        New roots; everything that was together with an undecided node follows it.
    """
    found = root.copy()
    leader = np.full(len(nodes), np.iinfo(np.int32).max, np.int32)
    np.minimum.at(leader, label, nodes)
    found[nodes] = leader[label]
    result: Nodes = found[found]
    return result


def check_edges(n: int, u: NDArray[Any], v: NDArray[Any], costs: NDArray[Any]) -> None:
    """Refuse what has no answer, naming the first offender."""
    if not u.shape == v.shape == (len(costs),):
        raise BigsegError(f"edges of shape {u.shape}, {v.shape} do not go with {len(costs)} costs.")
    if n >= 1 << 31:
        raise BigsegError(f"{n} objects are more than one graph holds (2^31).")
    if len(costs) == 0:
        return
    bad = ~np.isfinite(costs)
    if bad.any():
        row = int(bad.argmax())
        raise BigsegError(
            f"edge {row} ({u[row]}, {v[row]}) costs {costs[row]}; costs must be finite: "
            "compute the evidence of its blocks again."
        )
    if max(int(u.max()), int(v.max())) >= n or min(int(u.min()), int(v.min())) < 0:
        row = int(((u >= n) | (v >= n) | (u < 0) | (v < 0)).argmax())
        raise BigsegError(
            f"edge {row} ({u[row]}, {v[row]}) leads to an unknown node; there are {n} nodes: "
            "a block is missing, or was labelled again after its edges."
        )


def _check_repulsion(
    n: int, repulsion: float, block_of_node: NDArray[Any] | None
) -> NDArray[Any] | None:
    """Blocks of the nodes if nodes of one block repel each other."""
    if not 0 <= repulsion < np.inf:
        raise SpecError(f"repulsion is {repulsion}; it must be a finite number, at least 0.")
    if repulsion == 0:
        return None
    if block_of_node is None or len(block_of_node) != n:
        raise SpecError(f"repulsion {repulsion} needs the block of each of {n} nodes.")
    return np.asarray(block_of_node)


def undecided(
    n: int, u: NDArray[Any], v: NDArray[Any], costs: NDArray[Any], block: NDArray[Any] | None
) -> tuple[Nodes, Problem, bool]:
    """Decompose by the edges as they are; the last of the three says whether some were parallel."""
    root = united(n, u, v, costs)
    torn = np.zeros(n, np.bool_)
    inner = _tear(root, u, v, costs, torn)
    if block is not None:
        torn |= crowded(root, block)
    nodes, rank, node_start = _ordered(root, torn)
    low, high, weight = _inner_edges(root, torn, rank, u, v, costs, inner)
    del rank
    root[nodes] = nodes
    low, high, weight, doubled = canonical(len(nodes), low, high, weight)
    edge_start = np.searchsorted(low, node_start).astype(np.int64)
    return root, Problem(nodes, low, high, weight, node_start, edge_start), doubled


def united(n: int, u: NDArray[Any], v: NDArray[Any], costs: NDArray[Any]) -> Nodes:
    """First node of each node's component of attractive edges."""
    parent = np.arange(n, dtype=np.int32)
    _unite(parent, u, v, costs)
    return parent


@njit(cache=True, nogil=True)
def _unite(parent, u, v, costs):  # type: ignore[no-untyped-def]
    """Union-find in place; the smaller root wins, so a root is its set's first node."""
    for e in range(len(u)):
        if costs[e] > 0:
            a, b = u[e], v[e]
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            if a < b:
                parent[b] = a
            else:
                parent[a] = b
    for i in range(len(parent)):
        parent[i] = parent[parent[i]]  # parents come before their children


@njit(cache=True, nogil=True)
def _tear(root, u, v, costs, torn):  # type: ignore[no-untyped-def]
    """Mark the roots of components with repulsion inside; return the edges that are inner."""
    inner = 0
    for e in range(len(u)):
        if u[e] != v[e] and root[u[e]] == root[v[e]]:
            inner += 1
            if costs[e] < 0:
                torn[root[u[e]]] = True
    return inner


@njit(cache=True, nogil=True)
def _ordered(root, torn):  # type: ignore[no-untyped-def]
    """Nodes of torn components by component, the position of each node, where components begin."""
    n = len(root)
    size = np.zeros(n, np.int32)
    count, parts = 0, 0
    for i in range(n):
        if torn[root[i]]:
            size[root[i]] += 1
            count += 1
            parts += root[i] == i
    start = np.zeros(parts + 1, np.int64)
    nodes = np.empty(count, np.int32)
    part = 0
    for i in range(n):  # from here on `size` is where the next node of a component goes
        if size[i] > 0:
            start[part + 1] = start[part] + size[i]
            size[i] = start[part]
            part += 1
    rank = np.empty(n, np.int32)
    for i in range(n):
        if torn[root[i]]:
            rank[i] = size[root[i]]
            size[root[i]] += 1
            nodes[rank[i]] = i
    return nodes, rank, start


@njit(cache=True, nogil=True)
def _inner_edges(root, torn, rank, u, v, costs, most):  # type: ignore[no-untyped-def]
    """Edges inside torn components, between positions, the smaller one first."""
    count = 0
    low, high = np.empty(most, np.int32), np.empty(most, np.int32)
    weight = np.empty(most, np.float64)
    for e in range(len(u)):
        a, b = u[e], v[e]
        if a != b and root[a] == root[b] and torn[root[a]]:
            low[count] = min(rank[a], rank[b])
            high[count] = max(rank[a], rank[b])
            weight[count] = costs[e]
            count += 1
    return low[:count].copy(), high[:count].copy(), weight[:count].copy()
