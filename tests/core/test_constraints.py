import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.constraints import conflicts, joined, part_graph, part_shape, settle_links
from bigseg.errors import SpecError
from tests.core.small_graphs import energies, partitions

NAMES = [f"point {number}" for number in range(5)]


def graph(*edges):
    u, v, costs = zip(*edges, strict=True)
    return (np.array(u), np.array(v)), np.array(costs, float)


def test_sets_that_share_an_element_are_one():
    assert joined(5, [(3, 1), (1, 4)]).tolist() == [0, 1, 2, 1, 1]


def test_without_sets_all_are_alone():
    assert joined(3, []).tolist() == [0, 1, 2]


def test_a_contradiction_names_both_points_and_all_merges_between():
    with pytest.raises(SpecError, match="Split 1 parts point 0 and point 2, but merge 1 and merge"):
        settle_links(NAMES, [(0, 1), (1, 2), (3, 4)], [(0, 2)], ["merge 1", "merge 2", "merge 3"])


def test_a_merge_that_has_nothing_to_do_with_it_is_not_blamed():
    with pytest.raises(SpecError) as error:
        settle_links(NAMES, [(3, 4), (0, 1)], [(0, 1)], ["merge 1", "merge 2"])
    assert "merge 1" not in str(error.value)


def test_conflicts_are_pairs_of_sets():
    assert conflicts(np.array([0, 0, 2, 3]), [(1, 2), (3, 0)]) == {(0, 2), (0, 3)}


def test_the_weakest_bond_between_two_points_breaks():
    ends, costs = graph((0, 1, 5), (1, 2, 1), (2, 3, 5))
    assert part_graph(ends, costs, np.array([0, -1, -1, 1]), {(0, 1)}).tolist() == [0, 0, 1, 1]


def test_points_of_one_kind_stay_together_though_nothing_binds_them():
    ends, costs = graph((0, 1, 5), (1, 2, 1))
    assert part_graph(ends, costs, np.array([0, 1, 0]), {(0, 1)}).tolist() == [0, 1, 0]


def test_every_piece_has_a_point():
    ends, costs = graph((0, 1, -2), (1, 2, -1))
    assert part_graph(ends, costs, np.array([0, -1, 1]), {(0, 1)}).tolist() == [0, 1, 1]


def test_what_nothing_binds_goes_with_the_first_point():
    ends, costs = graph((0, 1, 1))
    assert part_graph(ends, costs, np.array([0, 1, -1]), {(0, 1)}).tolist() == [0, 1, 0]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.1, 3), min_size=10, max_size=10), st.integers(2, 3))
def test_attraction_is_cut_as_cheaply_as_can_be(weights, kinds):
    ends = np.triu_indices(5, 1)
    costs = np.round(weights, 3)
    terminals = np.array([*range(kinds), *[-1] * (5 - kinds)])
    hostile = {(a, b) for a in range(kinds) for b in range(a + 1, kinds)}
    found = part_graph(ends, costs, terminals, hostile)
    every = partitions(5)
    apart = np.all([every[:, a] != every[:, b] for a, b in hostile], axis=0)
    assert found[:kinds].tolist() == [*range(kinds)]
    best = energies(every[apart], *ends, costs).min()
    assert energies(found[None], *ends, costs)[0] == pytest.approx(best)


def test_kinds_that_no_node_has_get_nothing():
    ends, costs = graph((0, 1, 1))
    assert part_graph(ends, costs, np.array([1, 2, -1]), {(1, 2)}).tolist() == [1, 2, 1]


def dumbbell(wide: int = 9, neck: int = 2):
    y, x = np.mgrid[:wide, : 2 * wide + neck]
    centre = wide // 2
    balls = [(y - centre) ** 2 + (x - c) ** 2 <= centre**2 for c in (centre, wide + neck + centre)]
    return (balls[0] | balls[1] | ((y == centre) & (abs(x - wide) < neck + 3)))[None]


def test_a_dumbbell_is_cut_at_its_neck():
    mask = dumbbell()
    pieces = part_shape(mask, np.array([[0, 4, 1], [0, 4, 18]]), np.array([0, 1]), (1, 1, 1))
    assert (pieces[0, :, :8] == mask[0, :, :8]).all()
    assert (pieces[0, :, 12:] == 2 * mask[0, :, 12:]).all()
    assert ((pieces > 0) == mask).all()


def test_what_a_flood_does_not_reach_goes_to_the_nearest_piece():
    mask = np.array([[[1, 1, 1, 1, 0, 1]]], bool)
    pieces = part_shape(mask, np.array([[0, 0, 0], [0, 0, 3]]), np.array([0, 1]), (1, 1, 1))
    assert pieces[0, 0, [0, 3, 4, 5]].tolist() == [1, 2, 0, 2]


def test_two_points_of_one_kind_make_one_piece():
    mask = np.ones((1, 3, 9), bool)
    points = np.array([[0, 1, 0], [0, 1, 8], [0, 1, 4]])
    pieces = part_shape(mask, points, np.array([0, 0, 1]), (1, 1, 1))
    assert pieces[0, 1, [0, 8, 4]].tolist() == [1, 1, 2]
