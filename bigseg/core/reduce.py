"""Make a component that is too large for a worker smaller: merge what is certain, block by block.

Some graphs, those of supervoxels above all, are one component that no exact reduction parts. Here
only the strongest attractions are contracted, within groups of blocks that double from level to
level, until the component fits. Contracting all that a group's own solution joins, as hierarchical
solvers do (Pape et al., 2017), needs fewer levels and costs several times as much energy: at the
border of a group half of the evidence is missing.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.multicut import GreedyAdditiveMulticut, MulticutObjective
from numpy.typing import NDArray

from bigseg.core.bounds import cut_repulsive
from bigseg.core.components import refined, settled, undecided
from bigseg.core.packing import pack
from bigseg.core.presolve import as_graph, contracted, presolve
from bigseg.core.problem import Nodes, Problem
from bigseg.core.solvers import Solution, energies, mended, solve_components
from bigseg.types import Solver

BUDGET = 20_000_000
"""Edges that a worker solves in 8 GB."""

_CERTAIN = 85
"""Percentile of the attractive costs from which on an edge is contracted."""

_AT_ONCE = 1_000_000
"""Edges of the groups that are contracted together: a matter of memory only."""


def reduce_by_blocks(
    root: Nodes, problem: Problem, block: NDArray[Any], *, budget: int = BUDGET
) -> tuple[Nodes, Problem]:
    """Contract confident edges until no component has more than `budget` edges; not exact.

    Parameters
    ----------
    root
        (n,) first node that each node of the graph is together with, see `decompose`.
    problem
        What is undecided, best presolved.
    block
        (k, axes) place in the grid of blocks of each of the problem's nodes.
    budget
        Edges that a component may have.

    Returns
    -------
    root, problem
        As before, with the merged nodes. Components within the budget stay as they are.
    """
    place = np.asarray(block, np.int64) - np.min(block, axis=0, initial=0)
    certain = 0.0
    while (large := np.diff(problem.edge_start) > budget).any():
        of_edge = np.repeat(large, np.diff(problem.edge_start))
        if certain == 0:
            certain = float(np.percentile(problem.costs[of_edge & (problem.costs > 0)], _CERTAIN))
        elif not place.any():  # there is no larger group: be content with less certainty
            certain /= 2
        inside = of_edge & (place[problem.u] == place[problem.v]).all(axis=1)
        before = problem.nodes
        root, problem = presolve(
            *_merged(root, problem, _confident(problem, inside, place, certain))
        )
        order = np.argsort(before)
        place = place[order[np.searchsorted(before, problem.nodes, sorter=order)]] >> 1
    return root, problem


def _merged(root: Nodes, problem: Problem, to: Nodes) -> tuple[Nodes, Problem]:
    """The problem with each node put together with node `to` of it."""
    less = as_graph(problem)
    low, high, costs, _ = contracted(less, to)
    found, rest, _ = undecided(len(to), low, high, costs, None)
    return refined(root, problem, found[to], rest)


def _confident(
    problem: Problem, inside: NDArray[np.bool_], place: NDArray[np.int64], certain: float
) -> Nodes:
    """First node that each is merged with by the edges inside groups that cost more than that."""
    edges = np.flatnonzero(inside)
    _, group = np.unique(place[problem.u[edges]], axis=0, return_inverse=True)
    edges = edges[np.argsort(group.ravel(), kind="stable")]
    to = np.arange(len(problem.nodes), dtype=np.int32)
    start = np.r_[0, np.cumsum(np.bincount(group.ravel()))]
    for first, last in pairwise(start[pack(np.diff(start), _AT_ONCE)].tolist()):
        chosen = np.sort(edges[first:last])  # the library wants edges in order
        ends = np.stack([problem.u[chosen], problem.v[chosen]], axis=1)
        nodes, own = np.unique(ends, return_inverse=True)
        graph = UndirectedGraph.from_unique_edges(len(nodes), own.reshape(-1, 2).astype(np.uint64))
        greedy = GreedyAdditiveMulticut(weight_stop=certain)
        label = np.asarray(greedy.optimize(MulticutObjective(graph, problem.costs[chosen])))
        _, leader = np.unique(label, return_index=True)
        to[nodes] = nodes[leader[label]]
    return to


def solve_large(
    problem: Problem, block: NDArray[Any], *, solver: Solver, budget: int = BUDGET
) -> Solution:
    """Partition components that are too large for a worker, after `reduce_by_blocks`.

    Parameters
    ----------
    problem
        Components, best presolved.
    block
        (k, axes) place in the grid of blocks of each of the problem's nodes.
    solver
        See `solve_components`.
    budget
        Edges that a component may have.

    Returns
    -------
    Solution
        Lower bounds are the sum of all repulsive costs: better ones would take too long.
    """
    root, less = reduce_by_blocks(
        np.arange(len(problem.nodes), dtype=np.int32), as_graph(problem), block, budget=budget
    )
    found = solve_components(less, solver=solver, certify=False)
    label = mended(problem, settled(root, less.nodes, found.label))
    energy = energies(problem, label)
    bound = np.minimum(cut_repulsive(problem), energy)
    none = np.zeros(len(problem), np.bool_)
    edges, nodes = np.diff(problem.edge_start), np.diff(problem.node_start)
    return Solution(label, nodes, edges, energy, bound, energy == bound, none)
