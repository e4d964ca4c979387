"""Repulsion between objects of one block that attraction has brought into one component."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.problem import Nodes, Problem, canonical

_REACH = 16
"""Nodes of one block and component that each node repels: all of them, but in absurd cases."""


def crowded(root: Nodes, block: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each root's component has two nodes of one block."""
    order = np.arange(len(block), dtype=np.int32)
    if (block[1:] < block[:-1]).any():
        order = np.argsort(block, kind="stable").astype(np.int32)
    number = block if block.dtype.kind == "i" else np.unique(block, return_inverse=True)[1]
    return _meetings(root, number.astype(np.int64, copy=False), order)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _meetings(root, block, order):  # type: ignore[no-untyped-def]
    """Mark roots of which two nodes that follow each other are of one block."""
    met = np.zeros(len(root), np.bool_)
    last = np.full(len(root), -1, np.int32)
    for i in order:
        before = last[root[i]]
        if before >= 0 and block[before] == block[i]:
            met[root[i]] = True
        last[root[i]] = i
    return met


def repelled(problem: Problem, repulsion: float, block: NDArray[Any]) -> Problem:
    """Add an edge between nodes of one block and component, as strong as `solve` says.

    Parameters
    ----------
    problem
        Components with attraction, not all with repulsion.
    repulsion
        Strength in units of the mean absolute cost in the component.
    block
        (k,) block of each of the problem's nodes.
    """
    part = np.repeat(np.arange(len(problem)), np.diff(problem.node_start))
    order = np.lexsort((np.arange(len(part)), block, part)).astype(np.int32)
    low, high = [problem.u], [problem.v]
    for step in range(1, _REACH):
        a, b = order[:-step], order[step:]
        same = (part[a] == part[b]) & (block[a] == block[b])
        if not same.any():
            break
        low.append(np.minimum(a[same], b[same]))
        high.append(np.maximum(a[same], b[same]))
    edges = np.diff(problem.edge_start)
    of_edge = np.repeat(np.arange(len(problem)), edges)
    mean = np.bincount(of_edge, np.abs(problem.costs), minlength=len(problem)) / edges.clip(1)
    force = -repulsion * mean[part[np.concatenate(low)[len(problem.u) :]]]
    u, v, costs, _ = canonical(
        len(part), np.concatenate(low), np.concatenate(high), np.r_[problem.costs, force]
    )
    start = np.searchsorted(u, problem.node_start).astype(np.int64)
    return replace(problem, u=u, v=v, costs=costs, edge_start=start)
