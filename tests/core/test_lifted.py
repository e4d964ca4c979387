"""Lifted edges push and pull, but join nothing that no edge joins."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.components import united
from bigseg.core.lifted import lifted_components, solve_lifted
from bigseg.core.multicut import canonical_edges, solve
from bigseg.errors import BigsegError
from tests.core.small_graphs import energies, graphs, partitions

CHAIN = np.array([0, 1, 2]), np.array([1, 2, 3])


def lifted(*rows: tuple[int, int, float]):
    return tuple(np.array([row[i] for row in rows]) for i in range(3))


def test_a_repulsive_lifted_edge_cuts_the_weakest_link() -> None:
    edges = (*CHAIN, np.array([2.0, 0.5, 2.0]))
    assert solve_lifted(4, edges, lifted((0, 3, -1.0))).tolist() == [0, 0, 2, 2]
    assert solve_lifted(4, edges, lifted((0, 3, -0.1))).tolist() == [0, 0, 0, 0]


def test_an_attractive_lifted_edge_outweighs_a_repulsive_edge() -> None:
    edges = (*CHAIN, np.array([2.0, -0.5, 2.0]))
    assert solve_lifted(4, edges, lifted((3, 0, 1.0))).tolist() == [0, 0, 0, 0]
    assert solve_lifted(4, edges, lifted((3, 0, 0.1))).tolist() == [0, 0, 2, 2]


def test_a_lifted_edge_does_not_join_what_nothing_connects() -> None:
    edges = np.array([0, 2]), np.array([1, 3]), np.array([2.0, 2.0])
    assert solve_lifted(4, edges, lifted((0, 3, 9.0))).tolist() == [0, 0, 2, 2]


def test_no_detour_is_made_through_what_nothing_attracts() -> None:
    edges = (*CHAIN, np.array([-0.5, -0.5, -3.0]))
    assert solve_lifted(4, edges, lifted((0, 2, 9.0))).tolist() == [0, 1, 2, 3]


def test_components_grow_together_step_by_step() -> None:
    edges = (*CHAIN, np.array([-1.0, -1.0, -1.0]))
    far = lifted((0, 1, 1.0), (0, 2, 1.0), (1, 3, -1.0))
    assert lifted_components(4, edges, far).tolist() == [0, 0, 0, 3]
    assert lifted_components(4, edges, lifted((0, 2, 1.0))).tolist() == [0, 1, 2, 3]


@given(graphs(), st.data())
@settings(deadline=None, max_examples=100)
def test_clusters_are_connected_and_near_the_best(graph, data) -> None:
    n, u, v, costs = graph
    pairs = st.sampled_from(list(combinations(range(n), 2)))
    far = data.draw(st.lists(st.tuples(pairs, st.integers(-4, 4)), max_size=4))
    a, b, strength = lifted(*[(*pair, float(cost)) for pair, cost in far])
    a, b = a.astype(int), b.astype(int)
    label = solve_lifted(n, (u, v, costs), (a, b, strength))
    inside = (label[u] == label[v]).astype(float)
    assert (united(n, u, v, inside) == label).all()
    summed = canonical_edges(n, np.stack([u, v], axis=1), costs)
    part = lifted_components(n, (*summed[0].T, summed[1]), (a, b, strength))
    every = np.array([p for p in partitions(n) if connected(p, u, v) and within(p, part)])
    best = (energies(every, u, v, costs) + energies(every, a, b, strength)).min()
    found = energies(label[None], u, v, costs) + energies(label[None], a, b, strength)
    assert best - 1e-9 <= found[0] <= best + 0.3 * (np.abs(costs).sum() + np.abs(strength).sum())


def within(label: np.ndarray, part: np.ndarray) -> bool:
    """Whether clusters stay inside components."""
    return len(np.unique(np.stack([label, part]), axis=1).T) == len(np.unique(label))


def connected(label: np.ndarray, u: np.ndarray, v: np.ndarray) -> bool:
    pieces = united(len(label), u, v, (label[u] == label[v]).astype(float))
    return len(np.unique(pieces)) == len(np.unique(label))


@given(graphs(), st.randoms())
@settings(deadline=None, max_examples=50)
def test_order_does_not_matter_and_without_lifted_edges_it_is_the_multicut(graph, random) -> None:
    n, u, v, costs = graph
    none = lifted()
    plain = solve(n, np.stack([u, v], axis=1), costs)
    assert (np.unique(solve_lifted(n, graph[1:], none), return_inverse=True)[1] == plain).all()
    far = lifted((0, n - 1, -1.0), (0, 1, 2.0), (0, 1, -0.5))
    order = random.sample(range(len(u)), len(u))
    turned = (v[order], u[order], costs[order])
    same = solve_lifted(n, turned, tuple(x[::-1] for x in far))
    assert (same == solve_lifted(n, (u, v, costs), far)).all()


def test_a_lifted_edge_that_leads_nowhere_is_refused() -> None:
    edges = (*CHAIN, np.ones(3))
    with pytest.raises(BigsegError, match=r"edge 0 \(0, 4\) leads to an unknown node"):
        solve_lifted(4, edges, lifted((0, 4, 1.0)))
