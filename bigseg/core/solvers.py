"""Partition the components that need a solver, and say how far from the best each answer can be.

Every solver's answer is mended where that is free: nodes that no uncut attraction joins are parted,
and a component is merged whole or parted wholly where that is better. Components do not influence
each other's answers, so they can be shared out and kept in any way.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, get_args

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.multicut import (
    ChainedMulticutSolvers,
    FusionMoveMulticut,
    GreedyAdditiveMulticut,
    GreedyFixationMulticut,
    KernighanLinMulticut,
    MulticutDecomposer,
    MulticutObjective,
    MulticutSolver,
    WatershedProposalGenerator,
)
from bioimage_cpp.graph.mutex_watershed import mutex_watershed_clustering
from numpy.typing import NDArray

from bigseg.core.bounds import cut_repulsive, lower_bounds
from bigseg.core.components import united
from bigseg.core.evidence import Costs
from bigseg.core.exact import TOLERANCE, solve_exactly
from bigseg.core.problem import Nodes, Problem, by_content, reordered, taken
from bigseg.errors import SpecError
from bigseg.types import Solver

_NATIVE = {
    "kernighan-lin": KernighanLinMulticut,
    "greedy": GreedyAdditiveMulticut,
    "greedy-fixation": GreedyFixationMulticut,
}
"""Solvers that the library itself shares out over components."""

_LARGE = 50_000
"""Edges of a component beyond which there is no integer program and one start only."""

_STARTS, _NOISE = 8, 0.6
"""Further starts of Kernighan-Lin, and their noise in mean absolute costs of the component: on
graphs of supervoxels they bring it from 0.04 % to 0.0003 % above the optimum."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A partition of a problem, and one row of certificate per component."""

    label: Nodes
    """(k,) first node of each node's cluster, as numbered in the problem."""
    nodes: NDArray[np.int64]
    """(c,) nodes of each component."""
    edges: NDArray[np.int64]
    """(c,) edges of each component."""
    energy: Costs
    """(c,) costs of the edges that are cut."""
    lower_bound: Costs
    """(c,) no partition of the component costs less."""
    optimal: NDArray[np.bool_]
    """(c,) whether energy and bound meet: no partition is better."""
    exact: NDArray[np.bool_]
    """(c,) whether the integer program was asked."""

    def columns(self) -> dict[str, NDArray[Any]]:
        """The rows of the components as named columns, to store."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "label"}


def solve_components(
    problem: Problem,
    *,
    solver: Solver = "kernighan-lin",
    exact_edges: int = 0,
    seconds: float = 60.0,
    certify: bool = True,
    threads: int = 1,
) -> Solution:
    """Partition each component.

    Parameters
    ----------
    problem
        Components, best presolved.
    solver
        ``kernighan-lin`` (Keuper et al., 2015) starts from ``greedy``, the contraction of the
        strongest edges, and where it is not proven best again from noisy variants of that;
        ``greedy-fixation`` decides on repulsion too, strongest first;
        ``mutex-watershed`` (Wolf et al., 2018) does, without adding up; ``fusion-moves`` (Beier
        et al., 2015) continues from Kernighan-Lin with random proposals of fixed seeds; ``exact``
        asks HiGHS wherever Kernighan-Lin is not proven best and HiGHS has a chance, up to 50,000
        edges.
    exact_edges
        Components of at most so many edges are solved exactly whatever the solver.
    seconds
        Time for one component's exact solution; after that the heuristic's stands.
    certify
        Whether to look for good lower bounds, and again for partitions where these leave room;
        without, they are the sum of all repulsive costs.
    threads
        Has no influence on the result.

    Raises
    ------
    SpecError
        There is no such solver, or a number is below 0.
    """
    if solver not in get_args(Solver):
        raise SpecError(f"there is no solver '{solver}'; there are {', '.join(get_args(Solver))}.")
    if exact_edges < 0 or not seconds >= 0:
        raise SpecError(f"exact_edges {exact_edges} and seconds {seconds} must be at least 0.")
    asked, order = problem, by_content(problem)
    problem = reordered(problem, order)
    label = mended(problem, _heuristic(problem, solver, threads))
    edges = np.diff(problem.edge_start)
    wanted = (edges <= exact_edges) | ((solver == "exact") & (edges <= _LARGE))
    bound = lower_bounds(problem) if certify or wanted.any() else cut_repulsive(problem)
    enough = TOLERANCE * problem.total(np.abs(problem.costs))
    if certify and solver in ("kernighan-lin", "fusion-moves", "exact"):
        label = _restarted(problem, label, bound + enough, threads)
    energy = energies(problem, label)
    exact = wanted & (energy - bound > enough)
    for c in np.flatnonzero(exact).tolist():
        nodes = slice(problem.node_start[c], problem.node_start[c + 1])
        first = problem.node_start[c]
        found = solve_exactly(
            problem.part(c, c + 1), label[nodes] - first, bound[c], seconds=seconds
        )
        label[nodes], energy[c], bound[c] = found.label + first, found.energy, found.bound
    bound = np.minimum(bound, energy)
    optimal = energy - bound <= enough
    label = _renamed(label, order)
    return Solution(label, np.diff(asked.node_start), edges, energy, bound, optimal, exact)


def _renamed(label: Nodes, order: NDArray[np.int64]) -> Nodes:
    """First nodes of clusters as they were numbered before `reordered`."""
    cluster = np.empty(len(order), np.int64)
    cluster[order] = label
    first = np.full(len(order), len(order), np.int32)
    np.minimum.at(first, cluster, np.arange(len(order), dtype=np.int32))
    return np.asarray(first[cluster], np.int32)


def _restarted(problem: Problem, label: Nodes, enough: Costs, threads: int) -> Nodes:
    """Solve the components whose energy is above `enough` from other starts, and keep the best."""
    found, best = label.copy(), energies(problem, label)
    for seed in range(_STARTS):
        some = np.flatnonzero((best > enough) & (np.diff(problem.edge_start) <= _LARGE))
        if len(some) == 0:
            break
        part = problem.some(some)
        size = np.diff(part.edge_start)
        mean = part.total(np.abs(part.costs)) / size
        greedy = GreedyAdditiveMulticut(add_noise=True, seed=seed, sigma=_NOISE)
        method = ChainedMulticutSolvers([greedy, KernighanLinMulticut()])
        again = mended(part, _native(part, method, part.costs / np.repeat(mean, size), threads))
        energy = energies(part, again)
        nodes, start = taken(problem.node_start, some)
        better = np.repeat(energy < best[some], np.diff(start))
        shift = np.repeat(problem.node_start[some] - start[:-1], np.diff(start))
        found[nodes[better]] = (again + shift)[better]
        best[some] = np.minimum(best[some], energy)
    return found


def energies(problem: Problem, label: Nodes) -> Costs:
    """Sum of the costs of the edges that are cut, per component, (c,) float64."""
    return problem.total(problem.costs * (label[problem.u] != label[problem.v]))


def mended(problem: Problem, label: NDArray[Any]) -> Nodes:
    """The partition or one as good or better: clusters joined by attraction, no trivial gains."""
    together = label[problem.u] == label[problem.v]
    tidy = united(len(problem.nodes), problem.u, problem.v, np.where(together, problem.costs, 0))
    energy = energies(problem, tidy)
    alone = np.arange(len(problem.nodes), dtype=np.int32)
    size = np.diff(problem.node_start)
    parted = np.repeat(energies(problem, alone) < np.minimum(energy, 0), size)
    merged = np.repeat((energy > 0) & (energies(problem, alone) >= 0), size)
    first = np.repeat(problem.node_start[:-1], size).astype(np.int32)
    return np.where(parted, alone, np.where(merged, first, tidy)).astype(np.int32)


def _heuristic(problem: Problem, solver: Solver, threads: int) -> NDArray[Any]:
    """Cluster of each node, by any numbers that are the same within a cluster only."""
    if len(problem.nodes) == 0:
        return np.zeros(0, np.uint64)
    if solver == "mutex-watershed":
        return _mutex_watershed(problem)
    label = _native(problem, _NATIVE.get(solver, KernighanLinMulticut)(), problem.costs, threads)
    return _fused(problem, label) if solver == "fusion-moves" else label


def _native(
    problem: Problem, method: MulticutSolver, costs: Costs, threads: int
) -> NDArray[np.uint64]:
    """Partition by a solver that the library shares out over components."""
    native = MulticutDecomposer(method, number_of_threads=threads)
    return np.asarray(native.optimize(MulticutObjective(graph(problem), costs)))


def graph(problem: Problem) -> UndirectedGraph:
    """The problem's edges as the library wants them."""
    uv = np.stack([problem.u, problem.v], axis=1).astype(np.uint64)
    return UndirectedGraph.from_unique_edges(len(problem.nodes), uv)


def _mutex_watershed(problem: Problem) -> NDArray[Any]:
    """Cluster by the strongest edges first, whether they join or forbid."""
    rank = np.empty(len(problem.costs))  # instead of costs: no two are the same, ties are settled
    rank[np.argsort(np.abs(problem.costs), kind="stable")[::-1]] = np.arange(len(rank), 0, -1)
    uv = np.stack([problem.u, problem.v], axis=1).astype(np.uint64)
    join, part = problem.costs > 0, problem.costs < 0
    attractive = UndirectedGraph.from_unique_edges(len(problem.nodes), uv[join])
    return np.asarray(mutex_watershed_clustering(attractive, rank[join], uv[part], rank[part]))


def _fused(problem: Problem, label: NDArray[Any]) -> NDArray[Any]:
    """Improve each component on its own: the proposals are random, but not its neighbours'."""
    better = label.astype(np.int64)
    for c in range(len(problem)):
        part = problem.part(c, c + 1)
        nodes = slice(problem.node_start[c], problem.node_start[c + 1])
        _, start = np.unique(label[nodes], return_inverse=True)
        objective = MulticutObjective(graph(part), part.costs, start.astype(np.uint64))
        method = FusionMoveMulticut(proposal_generator=WatershedProposalGenerator(seed=0))
        better[nodes] = np.asarray(method.optimize(objective)).astype(np.int64) + nodes.start
    return better
