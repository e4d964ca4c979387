"""What is settled without a solver is settled rightly: against all partitions of small graphs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.components import decompose, settled
from bigseg.core.presolve import presolve
from bigseg.core.problem import Problem
from bigseg.errors import BigsegError, SpecError
from tests.core.small_graphs import best_of, energies, graphs, partitions


@given(graphs(), st.booleans())
@settings(deadline=None, max_examples=300)
def test_an_optimum_survives(graph, presolved) -> None:
    n, u, v, costs = graph
    root, problem = decompose(n, u, v, costs)
    if presolved:
        root, problem = presolve(root, problem)
    root = settled(root, problem.nodes, best_of(problem))
    best = energies(partitions(n), u, v, costs).min()
    assert energies(root[None], u, v, costs)[0] == pytest.approx(best, abs=1e-9)


@given(graphs())
@settings(deadline=None, max_examples=100)
def test_a_problem_is_canonical_and_in_conflict(graph) -> None:
    for root, problem in (decompose(*graph), presolve(*decompose(*graph))):
        assert (root <= np.arange(graph[0])).all()
        assert (root[root] == root).all()
        assert (root[problem.nodes] == problem.nodes).all()
        assert (np.diff(problem.nodes[problem.node_start[:-1]]) > 0).all()
        assert len(problem.node_start) == len(problem.edge_start) == len(problem) + 1
        for c in range(len(problem)):
            part = problem.part(c, c + 1)
            assert (np.diff(part.nodes) > 0).all()
            assert (part.u < part.v).all()
            assert (np.diff(part.u * np.int64(9) + part.v) > 0).all()
            assert part.costs.min() < 0 < part.costs.max()
            assert set(part.u) | set(part.v) == set(range(len(part.nodes)))


@given(graphs(), st.randoms())
@settings(deadline=None, max_examples=100)
def test_order_direction_and_width_of_edges_do_not_matter(graph, random) -> None:
    n, u, v, costs = graph
    order = random.sample(range(len(u)), len(u))
    swap = np.array([random.random() < 0.5 for _ in order])
    a, b = u[order], v[order]
    turned = np.where(swap, a, b).astype(np.int32), np.where(swap, b, a).astype(np.int32)
    root, problem = presolve(*decompose(n, u, v, costs))
    again, same = presolve(*decompose(n, *turned, costs[order]))
    assert (again == root).all()
    for name in Problem.__slots__:
        assert (getattr(same, name) == getattr(problem, name)).all()


def test_attraction_that_repulsion_outweighs_joins_nothing() -> None:
    u, v = np.array([0, 1, 1]), np.array([1, 0, 2])
    root, problem = decompose(3, u, v, np.array([1.0, -3.0, 1.0]))
    assert root.tolist() == [0, 1, 1]
    assert len(problem) == 0


def test_a_conflict_is_left_and_can_be_taken_apart() -> None:
    u, v = np.array([5, 6, 5, 0, 1]), np.array([6, 7, 7, 1, 2])
    root, problem = decompose(8, u, v, np.array([2, 2, -3, 1, 1], np.float32))
    assert root.tolist() == [0, 0, 0, 3, 4, 5, 6, 7]
    assert problem.nodes.tolist() == [5, 6, 7]
    assert list(zip(problem.u, problem.v, problem.costs, strict=True)) == [
        (0, 1, 2),
        (0, 2, -3),
        (1, 2, 2),
    ]
    assert settled(root, problem.nodes, np.array([0, 2, 2])).tolist() == [0, 0, 0, 3, 4, 5, 6, 6]


def test_a_dominant_edge_is_contracted() -> None:
    u, v = np.array([0, 1, 2, 0]), np.array([1, 2, 3, 3])
    root, problem = presolve(*decompose(4, u, v, np.array([9.0, 1.0, 1.5, -2.0])))
    assert root.tolist() == [0, 0, 2, 2]
    assert len(problem) == 0


def test_components_that_fall_apart_stay_in_the_order_of_their_first_nodes() -> None:
    knot = np.array([[0, 1, 2, 0, 1], [1, 2, 3, 2, 3]])  # two triangles, undecided
    names = np.array([0, 6, 7, 8, 9, 1, 2, 3, 10, 11, 12, 13])
    ends = np.concatenate([knot, knot + 8, knot + 4], axis=1)
    costs = np.tile([2.0, 2.1, 2.2, -3.0, -2.9], 3)
    apart = np.array([[0, 0], [8, 8]])  # attraction that repulsion, read later, outweighs
    u, v = names[np.concatenate([ends, apart], axis=1)]
    root, problem = decompose(14, u, v, np.r_[costs, 1.0, -9.0])
    assert problem.nodes[problem.node_start[:-1]].tolist() == [0, 1, 10]
    assert problem.nodes.tolist() == [0, 6, 7, 8, 1, 2, 3, 9, 10, 11, 12, 13]
    assert root.tolist() == list(range(14))


def test_repulsion_is_added_between_nodes_of_one_block_in_any_order_of_blocks() -> None:
    u, v, costs = np.array([0, 1]), np.array([2, 2]), np.array([0.5, 0.25])
    for blocks in ([0, 0, 1], [7, 7, 1]):
        _, problem = decompose(3, u, v, costs, repulsion=2, block_of_node=np.array(blocks))
        assert (problem.u.tolist(), problem.v.tolist()) == ([0, 0, 1], [1, 2, 2])
        assert problem.costs.tolist() == [-0.75, 0.5, 0.25]
    root, problem = decompose(3, u, v, costs, repulsion=2, block_of_node=np.arange(3))
    assert (root.tolist(), len(problem)) == ([0, 0, 0], 0)


@pytest.mark.parametrize(
    ("n", "u", "costs", "options", "message"),
    [
        (2, [0], [np.inf], {}, r"edge 0 \(0, 1\) costs inf; costs must be finite"),
        (1, [0], [1.0], {}, r"edge 0 \(0, 1\) leads to an unknown node; there are 1"),
        (2, [-1], [1.0], {}, r"edge 0 \(-1, 1\) leads to an unknown node"),
        (2, [0], [1.0, 2.0], {}, "do not go with 2 costs"),
        (1 << 31, [0], [1.0], {}, "more than one graph holds"),
        (2, [0], [1.0], {"repulsion": np.nan}, "repulsion is nan; it must be a finite number"),
        (2, [0], [1.0], {"repulsion": 1}, "repulsion 1 needs the block of each of 2 nodes"),
    ],
)
def test_what_has_no_answer_is_refused(n, u, costs, options, message) -> None:
    with pytest.raises(BigsegError, match=message) as raised:
        decompose(n, np.array(u), np.ones_like(u), np.array(costs), **options)
    assert isinstance(raised.value, SpecError) == bool(options)
