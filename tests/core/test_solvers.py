"""Solvers keep to their certificates, are near the best, and see no component but their own."""

from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph.multicut import KernighanLinMulticut, MulticutObjective
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.bounds import lower_bounds
from bigseg.core.components import decompose, settled
from bigseg.core.exact import solve_exactly
from bigseg.core.multicut import energy, solve
from bigseg.core.packing import pack
from bigseg.core.presolve import presolve
from bigseg.core.problem import Problem
from bigseg.core.reduce import reduce_by_blocks
from bigseg.core.solvers import Solver, energies, solve_components
from bigseg.errors import SpecError
from tests.core.small_graphs import best_of, graphs

SOLVERS = list(get_args(Solver))


def tiles(seed: int, cells: int = 150) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Cells in a row, each seen by four tiles; a tenth of their links are wrong."""
    random = np.random.default_rng(seed)
    cell, tile = np.divmod(np.arange(4 * cells), 4)
    u, v = np.triu_indices(len(cell), 1)
    near = cell[v] - cell[u] <= 1
    u, v = u[near], v[near]
    overlap = np.where(cell[u] == cell[v], 0.75, 0.1) + random.normal(0, 0.22, len(u))
    p = 0.998 * overlap.clip(0, 1) + 0.001
    costs = np.where(tile[u] == tile[v], -2, np.log(p / (1 - p)).clip(-4, 4))
    return len(cell), u, v, costs


def grid(side: int) -> tuple[Problem, np.ndarray]:
    """A noisy grid in conflict everywhere, and the blocks of its nodes."""
    number = np.arange(side**2).reshape(side, side)
    u = np.concatenate([number[:-1].ravel(), number[:, :-1].ravel()])
    v = np.concatenate([number[1:].ravel(), number[:, 1:].ravel()])
    costs = np.random.default_rng(0).normal(0.1, 1, len(u))
    _, problem = presolve(*decompose(side**2, u, v, costs))
    return problem, np.stack(np.divmod(problem.nodes, side), axis=1) // 8


@given(graphs(), st.sampled_from(SOLVERS))
@settings(deadline=None, max_examples=200)
def test_certificates_hold_and_exact_is_the_best(graph, solver) -> None:
    _, problem = decompose(*graph)
    best = energies(problem, best_of(problem).astype(np.int32))
    solution = solve_components(problem, solver=solver)
    assert solution.energy == pytest.approx(energies(problem, solution.label))
    assert (solution.lower_bound <= best + 1e-5).all()
    assert (solution.energy >= best - 1e-9).all()
    assert (solution.energy <= np.minimum(0, problem.total(problem.costs)) + 1e-9).all()
    assert solution.energy[solution.optimal] == pytest.approx(best[solution.optimal], abs=1e-4)
    if solver == "exact":
        assert solution.optimal.all()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_components_do_not_influence_each_other(solver, seed) -> None:
    _, problem = presolve(*decompose(*tiles(seed)))
    whole = solve_components(problem, solver=solver)
    parts = [
        solve_components(problem.part(first, last), solver=solver).label + problem.node_start[first]
        for first, last in pairwise(pack(np.diff(problem.edge_start), 50).tolist())
    ]
    assert len(parts) > 1
    assert (np.concatenate(parts) == whole.label).all()


@pytest.mark.parametrize("seed", range(6))
def test_kernighan_lin_is_near_the_optimum_of_overlaps(seed) -> None:
    n, u, v, costs = tiles(seed, cells=100)
    _, problem = presolve(*decompose(n, u, v, costs))
    exact = solve_components(problem, solver="exact", seconds=20)
    quick = solve_components(problem)
    assert exact.optimal.all()
    assert exact.exact.any() or quick.optimal.all()
    assert (quick.lower_bound <= exact.energy + 1e-6).all()
    cut = quick.energy.sum() - exact.energy.sum()
    assert -1e-6 <= cut <= 1e-4 * np.abs(exact.energy).sum()


def supervoxels(seed: int) -> Problem:
    """Clumps of twelve nodes with random costs, each a component, hard to solve."""
    random = np.random.default_rng(seed)
    u, v = np.triu_indices(12, 1)
    first = np.arange(60)[:, None] * 12
    u, v = (u + first).ravel(), (v + first).ravel()
    _, problem = presolve(*decompose(720, u, v, random.normal(0, 1, len(u))))
    return problem


@pytest.mark.parametrize("seed", range(2))
def test_further_starts_come_near_the_optimum_of_hard_components(seed) -> None:
    problem = supervoxels(seed)
    one, more = (solve_components(problem, certify=c).energy.sum() for c in (False, True))
    best = solve_components(problem, solver="exact").energy.sum()
    assert best - 1e-6 <= more <= best * (1 - 1e-3)
    assert more < one


@pytest.mark.parametrize("solver", ["kernighan-lin", "fusion-moves"])
def test_further_starts_see_no_other_component(solver) -> None:
    problem = supervoxels(0)
    whole = solve_components(problem, solver=solver, threads=2).label
    for c in range(0, len(problem), 7):
        nodes = slice(problem.node_start[c], problem.node_start[c + 1])
        part = solve_components(problem.part(c, c + 1), solver=solver)
        assert (part.label + problem.node_start[c] == whole[nodes]).all()


def test_small_components_are_solved_exactly_on_request() -> None:
    _, problem = presolve(*decompose(*tiles(3)))
    some = solve_components(problem, solver="mutex-watershed", exact_edges=40)
    small = some.edges <= 40
    assert small.any()
    assert not small.all()
    assert some.optimal[small].all()
    assert not some.exact[~small].any()


def test_without_time_the_answer_in_hand_and_its_bound_come_back() -> None:
    problem, _ = grid(12)
    start = solve_components(problem)
    bound = lower_bounds(problem)
    found = solve_exactly(problem.part(0, 1), start.label[: problem.node_start[1]], -9.0, seconds=0)
    assert (found.energy, found.bound) == (start.energy[0], -9.0)
    late = solve_components(problem, solver="exact", seconds=0)
    assert (late.label == start.label).all()
    assert late.lower_bound == pytest.approx(np.minimum(bound, start.energy))


def test_packed_cycles_make_a_better_bound_than_all_repulsion() -> None:
    problem, _ = grid(20)
    solution = solve_components(problem)
    weak = solve_components(problem, certify=False)
    assert (weak.energy >= solution.energy).all()
    assert weak.lower_bound.sum() < solution.lower_bound.sum() <= solution.energy.sum()


@pytest.mark.parametrize("solver", SOLVERS)
def test_partition_does_not_depend_on_the_order_of_edges(solver) -> None:
    n, u, v, costs = tiles(0)
    uv = np.stack([u, v], axis=1)
    order = np.random.default_rng(0).permutation(len(u))
    one = solve(n, uv, np.round(costs), solver=solver)
    assert (solve(n, uv[order][:, ::-1], np.round(costs)[order], solver=solver) == one).all()


def test_solvers_that_look_longer_find_less_energy() -> None:
    n, u, v, costs = tiles(1)
    uv = np.stack([u, v], axis=1)
    names = ["exact", "fusion-moves", "kernighan-lin", "greedy"]
    found = [energy(uv, costs, solve(n, uv, costs, solver=name)) for name in names]
    assert found == sorted(found)
    assert found[0] < energy(uv, costs, np.arange(n))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_settled_beforehand_costs_no_energy(seed) -> None:
    n, u, v, costs = tiles(seed)
    native = UndirectedGraph.from_unique_edges(n, np.stack([u, v], axis=1).astype(np.uint64))
    flat = np.asarray(KernighanLinMulticut().optimize(MulticutObjective(native, costs)))
    uv = np.stack([u, v], axis=1)
    ours = energy(uv, costs, solve(n, uv, costs))
    assert ours <= energy(uv, costs, flat) + 1e-5 * np.abs(costs).sum()


def test_a_component_is_reduced_until_it_fits() -> None:
    problem, block = grid(60)
    alone = np.arange(len(problem.nodes), dtype=np.int32)
    own = Problem(alone, *(getattr(problem, name) for name in Problem.__slots__[1:]))
    root, less = reduce_by_blocks(alone, own, block, budget=len(problem.u) // 2)
    assert np.diff(less.edge_start).max() <= len(problem.u) // 2
    label = settled(root, less.nodes, solve_components(less).label)
    flat = solve_components(problem).energy.sum()
    assert flat <= energies(problem, label).sum() <= 0.98 * flat
    one, _ = reduce_by_blocks(alone, own, np.zeros_like(block), budget=1)
    assert len(np.unique(one)) < len(one)
    same, kept = reduce_by_blocks(alone, own, block)
    assert (same == alone).all()
    assert kept is own


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "ilp"}, "there is no solver 'ilp'; there are kernighan-lin, greedy"),
        ({"exact_edges": -1}, "exact_edges -1 and seconds 60.0 must be at least 0"),
    ],
)
def test_what_cannot_be_asked_is_refused(options, message) -> None:
    with pytest.raises(SpecError, match=message):
        solve_components(grid(5)[0], **options)
