"""The partition is the best one, whatever the order of edges; and truth comes back from blocks."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.multicut import edge_costs, energy, solve
from bigseg.core.overlap import Edges
from bigseg.errors import BigsegError, SpecError


@st.composite
def graphs(draw, whole: bool = False):
    """Up to 7 nodes, some pairs joined, costs whole (many ties) or not."""
    n = draw(st.integers(2, 7))
    pairs = list(combinations(range(n), 2))
    uv = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
    cost = st.integers(-3, 3) if whole else st.floats(-3, 3).map(lambda c: round(c, 3))
    costs = draw(st.lists(cost, min_size=len(uv), max_size=len(uv)))
    return n, np.array(uv), np.array(costs, float)


def partitions(n: int) -> np.ndarray:
    """All partitions of n nodes, as labels."""
    found = [[0]]
    for _ in range(n - 1):
        found = [[*p, c] for p in found for c in range(max(p) + 2)]
    return np.array(found)


def best_energy(n, uv, costs) -> float:
    every = partitions(n)
    return float(((every[:, uv[:, 0]] != every[:, uv[:, 1]]) * costs).sum(axis=1).min())


def edges(*rows) -> Edges:
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Edges(columns[0].astype(np.uint64), columns[1].astype(np.uint64), *columns[2:])


@given(graphs())
@settings(deadline=None, max_examples=100)
def test_close_to_the_best_of_all_partitions(graph) -> None:
    n, uv, costs = graph
    gap = energy(uv, costs, solve(n, uv, costs)) - best_energy(n, uv, costs)
    assert -1e-9 <= gap <= 0.25 * np.abs(costs).sum()


@given(graphs())
@settings(deadline=None, max_examples=50)
def test_without_conflict_it_is_the_best(graph) -> None:
    n, uv, costs = graph
    component = solve(n, uv, np.abs(costs))
    assert energy(uv, np.abs(costs), component) == 0
    assert (solve(n, uv, -np.abs(costs)) == np.arange(n)).all()


@given(graphs(), graphs(whole=True), st.randoms())
@settings(deadline=None, max_examples=50)
def test_order_direction_and_repetition_of_edges_do_not_matter(one, other, random) -> None:
    for n, uv, costs in (one, other):
        order = random.sample(range(len(uv)), len(uv))
        parts = np.array([random.random() for _ in order])
        twice = np.concatenate([uv[order][:, ::-1], uv])
        shares = np.concatenate([costs[order] * 0.5, costs * 0.5])
        assert (solve(n, twice, shares) == solve(n, uv, costs)).all()
        shuffled = solve(n, np.concatenate([uv, uv])[::-1], np.concatenate([parts, costs])[::-1])
        assert (shuffled == solve(n, np.concatenate([uv, uv]), np.r_[parts, costs])).all()


@given(graphs())
@settings(deadline=None, max_examples=25)
def test_neighbours_in_the_graph_do_not_change_a_component(graph) -> None:
    n, uv, costs = graph
    alone = solve(n, uv, costs)
    both = solve(2 * n, np.concatenate([uv + n, uv]), np.r_[costs, costs])
    assert (both[:n] == alone).all()
    assert (both[n:] - both[n] == alone).all()


def test_a_weak_false_link_is_cut() -> None:
    uv = np.array([[0, 1], [2, 3], [1, 2], [0, 2], [1, 3]])
    assert solve(4, uv, np.array([3, 3, 1, -2, -2.0])).tolist() == [0, 0, 1, 1]


def test_nodes_without_edges_stay_alone() -> None:
    assert solve(3, np.zeros((0, 2), np.uint64), np.zeros(0)).tolist() == [0, 1, 2]
    assert solve(0, np.zeros((0, 2), np.uint64), np.zeros(0)).tolist() == []


def test_repulsion_parts_nodes_of_one_block_that_a_fused_object_joins() -> None:
    uv, costs = np.array([[0, 2], [1, 2]]), np.array([0.5, 0.4])
    blocks = np.array([0, 0, 1])
    assert solve(3, uv, costs).tolist() == [0, 0, 0]
    assert solve(3, uv, costs, repulsion=1, block_of_node=blocks).tolist() == [0, 1, 0]
    assert solve(3, uv, costs, repulsion=0.1, block_of_node=blocks).tolist() == [0, 0, 0]
    assert solve(3, uv, costs, repulsion=1, block_of_node=np.arange(3)).tolist() == [0, 0, 0]


def test_threads_have_no_influence() -> None:
    random = np.random.default_rng(0)
    uv = random.integers(0, 300, (900, 2))
    costs = random.normal(0.3, 1, 900)
    assert (solve(300, uv, costs) == solve(300, uv, costs, threads=2)).all()


def test_costs_are_log_odds_of_the_overlap() -> None:
    table = edges((1, 1, 10, 10, 10), (1, 2, 15, 15, 10), (2, 2, 50, 50, 1))
    costs = edge_costs(table)
    assert costs == pytest.approx([np.log(0.999 / 0.001), 0, np.log(0.0111 / 0.9889)], abs=0.01)
    assert edge_costs(table, beta=0.9) == pytest.approx(costs - np.log(9))


@pytest.mark.parametrize("beta", [0.0, 1.0, np.nan])
def test_a_prior_that_is_no_probability_is_refused(beta) -> None:
    with pytest.raises(SpecError, match=f"beta is {beta}; it must lie between 0 and 1"):
        edge_costs(edges((1, 1, 1, 1, 1)), beta=beta)


def test_counts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BigsegError, match="edge 1 joins objects of 2 and 3 voxels that share 5"):
        edge_costs(edges((1, 1, 1, 1, 1), (1, 1, 2, 3, 5)))


@pytest.mark.parametrize(
    ("uv", "costs", "options", "message"),
    [
        ([[0, 1], [1, 2]], [1, np.nan], {}, r"edge 1 \(1, 2\) costs nan; costs must be finite"),
        ([[0, 1]], [-np.inf], {}, r"edge 0 \(0, 1\) costs -inf"),
        ([[0, 1], [1, 3]], [1, 1], {}, r"edge 1 \(1, 3\) leads to an unknown node; there are 3"),
        ([[-1, 1]], [1], {}, r"edge 0 \(-1, 1\) leads to an unknown node"),
        ([[0, 1]], [1, 1], {}, r"edges of shape \(1, 2\) do not go with 2 costs"),
        ([[0, 1]], [1], {"repulsion": -1}, "repulsion is -1; it must be a finite number"),
        ([[0, 1]], [1], {"repulsion": 1}, "repulsion 1 needs the block of each of 3 nodes"),
    ],
)
def test_what_has_no_answer_is_refused(uv, costs, options, message) -> None:
    with pytest.raises(BigsegError, match=message):
        solve(3, np.array(uv), np.array(costs, float), **options)
