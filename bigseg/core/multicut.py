"""Which objects of different blocks are one: a multicut of the graph of all of them.

A multicut splits the nodes of a graph into clusters so that the costs of the edges between
clusters are least; positive costs attract. Nodes that no positive edge joins are never together
in the best partition, so every component of positive edges is a problem of its own (Alush and
Goldberger, 2012), and one without a repulsive edge inside is solved by merging it. What is left
goes to Kernighan-Lin (Keuper et al., 2015), warm-started by greedy additive edge contraction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.multicut import (
    KernighanLinMulticut,
    MulticutDecomposer,
    MulticutObjective,
)
from numba import njit
from numpy.typing import NDArray

from bigseg.core.evidence import Costs
from bigseg.errors import BigsegError, SpecError

Nodes = NDArray[np.int64]

_REACH = 16
"""Nodes of one block and component that each node repels: all of them, but in absurd cases."""


def energy(uv: NDArray[Any], costs: Costs, component: NDArray[Any]) -> float:
    """Sum of the costs of the edges that a partition cuts: what `solve` makes small."""
    return float(costs[component[uv[:, 0]] != component[uv[:, 1]]].sum())


def solve(
    number_of_nodes: int,
    uv: NDArray[Any],
    costs: NDArray[Any],
    *,
    repulsion: float = 0.0,
    block_of_node: NDArray[Any] | None = None,
    threads: int = 1,
) -> NDArray[np.uint64]:
    """Partition a graph; the same partition whatever the order or repetition of the edges.

    Parameters
    ----------
    number_of_nodes
        Nodes are 0..number_of_nodes - 1.
    uv
        (m, 2) integers, the nodes of each edge; costs of parallel edges add up, loops are ignored.
    costs
        (m,) cost of cutting each edge; positive attracts.
    repulsion
        How strongly two nodes of one block repel each other that attraction has brought into one
        component, in units of the mean absolute cost in that component. It parts objects that a
        neighbour fused and keeps apart those that a block split: of the mixtures measured it
        helped only where fusions were far more frequent than splits, so it is off (0).
    block_of_node
        (number_of_nodes,) integers, needed if there is repulsion.
    threads
        Threads among which the components are shared out; has no influence on the result.

    Returns
    -------
    (number_of_nodes,) uint64
        Cluster of each node, dense from 0, in the order of the clusters' first nodes.

    Raises
    ------
    BigsegError
        A cost is not finite, an edge has an unknown node, or arrays do not match in length.
    SpecError
        `repulsion` is negative, or lacks the blocks.
    """
    _check(number_of_nodes, uv, costs, repulsion, block_of_node)
    nodes, weights = canonical_edges(number_of_nodes, uv, costs)
    root = _components(number_of_nodes, nodes, weights > 0)
    inner = root[nodes[:, 0]] == root[nodes[:, 1]]
    nodes, weights = nodes[inner], weights[inner]
    if repulsion > 0 and block_of_node is not None:
        nodes, weights = _repelled(root, nodes, weights, repulsion, np.asarray(block_of_node))
    conflicted = np.zeros(number_of_nodes, bool)
    conflicted[root[nodes[weights < 0, 0]]] = True
    hard = conflicted[root[nodes[:, 0]]] if len(nodes) else np.zeros(0, bool)
    if hard.any():
        _split(root, nodes[hard], weights[hard], threads)
    return _dense(root)


def canonical_edges(
    number_of_nodes: int, uv: NDArray[Any], costs: NDArray[Any]
) -> tuple[NDArray[np.int64], Costs]:
    """Edges with u < v, sorted, parallel ones summed (in the order of their costs), no loops."""
    low, high = (f(uv[:, 0], uv[:, 1]).astype(np.int64) for f in (np.minimum, np.maximum))
    costs = np.asarray(costs, np.float64)
    if (low == high).any():
        real = low != high
        low, high, costs = low[real], high[real], costs[real]
    if number_of_nodes >= 1 << 31:
        raise BigsegError(f"{number_of_nodes} objects are more than one graph holds (2^31).")
    key = low * number_of_nodes + high
    if not (key[1:] > key[:-1]).all():
        order = np.argsort(key)
        key, costs = _parallel_summed(key[order], costs[order])
    return np.stack(np.divmod(key, max(number_of_nodes, 1)), axis=1), costs


def _parallel_summed(key: NDArray[np.int64], costs: Costs) -> tuple[NDArray[np.int64], Costs]:
    """Sum the costs of equal keys, smallest first: floats add up to the bit only in one order."""
    same = key[1:] == key[:-1]
    if not same.any():
        return key, costs
    twins = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    costs[twins] = costs[twins][np.lexsort((costs[twins], key[twins]))]
    first = np.flatnonzero(np.r_[True, ~same])
    return key[first], np.add.reduceat(costs, first)


def _check(
    number_of_nodes: int,
    uv: NDArray[Any],
    costs: NDArray[Any],
    repulsion: float,
    block_of_node: NDArray[Any] | None,
) -> None:
    """Refuse what has no answer, naming the first offender."""
    if uv.shape != (len(costs), 2):
        raise BigsegError(f"edges of shape {uv.shape} do not go with {len(costs)} costs.")
    bad = ~np.isfinite(costs)
    if bad.any():
        row = int(bad.argmax())
        raise BigsegError(
            f"edge {row} ({uv[row, 0]}, {uv[row, 1]}) costs {costs[row]}; costs must be finite: "
            "compute the evidence of its blocks again."
        )
    if uv.size and (int(uv.max()) >= number_of_nodes or int(uv.min()) < 0):
        row = int(((uv >= number_of_nodes) | (uv < 0)).any(axis=1).argmax())
        raise BigsegError(
            f"edge {row} ({uv[row, 0]}, {uv[row, 1]}) leads to an unknown node; there are "
            f"{number_of_nodes} nodes: a block is missing, or was labelled again after its edges."
        )
    if not 0 <= repulsion < np.inf:
        raise SpecError(f"repulsion is {repulsion}; it must be a finite number, at least 0.")
    if repulsion > 0 and (block_of_node is None or len(block_of_node) != number_of_nodes):
        raise SpecError(
            f"repulsion {repulsion} needs the block of each of {number_of_nodes} nodes."
        )


def _components(number_of_nodes: int, uv: NDArray[np.int64], join: NDArray[np.bool_]) -> Nodes:
    """First node of each node's component, over the edges in `join`."""
    parent = np.arange(number_of_nodes, dtype=np.int64)
    _union(parent, uv, join)
    return parent


@njit(cache=True, nogil=True)
def _union(parent, uv, join):  # type: ignore[no-untyped-def]
    """Union-find in place; the smaller root wins, so a root is its set's first node."""
    for e in range(len(uv)):
        if join[e]:
            u, v = uv[e, 0], uv[e, 1]
            while parent[u] != u:
                parent[u] = parent[parent[u]]
                u = parent[u]
            while parent[v] != v:
                parent[v] = parent[parent[v]]
                v = parent[v]
            parent[max(u, v)] = min(u, v)
    for i in range(len(parent)):
        parent[i] = parent[parent[i]]  # parents come before their children


def _rivals(root: Nodes, block: NDArray[Any]) -> NDArray[np.int64]:
    """Pairs of nodes of one block in one component."""
    size = np.bincount(root, minlength=len(root))
    crowd = np.flatnonzero(size[root] > 1)
    order = crowd[np.lexsort((crowd, block[crowd], root[crowd]))]
    found = [np.empty((0, 2), np.int64)]
    for step in range(1, _REACH):
        u, v = order[:-step], order[step:]
        same = (root[u] == root[v]) & (block[u] == block[v])
        if not same.any():
            break
        found.append(np.stack([u[same], v[same]], axis=1))
    return np.concatenate(found)


def _repelled(
    root: Nodes,
    uv: NDArray[np.int64],
    costs: Costs,
    repulsion: float,
    block: NDArray[Any],
) -> tuple[NDArray[np.int64], Costs]:
    """Edges inside components, and with them the repulsion between nodes of one block."""
    pairs = _rivals(root, block)
    of_edge = root[uv[:, 0]]
    total = np.bincount(of_edge, np.abs(costs), minlength=len(root))
    mean = total / np.maximum(np.bincount(of_edge, minlength=len(root)), 1)
    force = -repulsion * mean[root[pairs[:, 0]]]
    return canonical_edges(len(root), np.concatenate([uv, pairs]), np.concatenate([costs, force]))


def _split(root: Nodes, uv: NDArray[np.int64], costs: Costs, threads: int) -> None:
    """Solve the components that the edges `uv` belong to, and set their nodes' roots anew."""
    nodes, dense = np.unique(uv, return_inverse=True)
    dense = dense.reshape(uv.shape)
    graph = UndirectedGraph.from_unique_edges(len(nodes), dense.astype(np.uint64))
    solver = MulticutDecomposer(KernighanLinMulticut(), number_of_threads=threads)
    label = np.asarray(solver.optimize(MulticutObjective(graph, costs)))
    # Kernighan-Lin may put nodes together that no attraction joins; parting them costs nothing.
    together = (label[dense[:, 0]] == label[dense[:, 1]]) & (costs > 0)
    root[nodes] = nodes[_components(len(nodes), dense, together)]


def _dense(root: Nodes) -> NDArray[np.uint64]:
    """Number the roots from 0, in the order of nodes."""
    number = np.cumsum(root == np.arange(len(root)), dtype=np.int64) - 1
    return number[root].astype(np.uint64)
