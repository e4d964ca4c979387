import numpy as np
import pytest

from bigseg.core.contact import contact_edges, continued, displacement
from bigseg.core.evidence import edge_costs, similarity
from tests.tiled import voronoi
from tests.worlds import ball


def line(*runs: tuple[int, int, int]) -> np.ndarray:
    plane = np.zeros((1, 40), np.uint32)
    for label, start, stop in runs:
        plane[0, start:stop] = label
    return plane


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("step", [-2, -1, 0, 1, 2])
def test_an_oblique_rod_goes_on_where_it_leads(width: int, step: int) -> None:
    sections = [line((5, 20 + step * n, 20 + step * n + width)) for n in range(4)]
    edges = contact_edges(np.stack(sections[:2]), np.stack(sections[:1:-1]))
    if abs(step) <= width:  # else it is in pieces
        assert similarity(edges)[0] > 0.5


def test_what_comes_to_an_end_ends() -> None:
    assert not continued(line((1, 19, 21)), line((1, 15, 25))).any()


def test_a_single_section_goes_on_as_it_is() -> None:
    np.testing.assert_array_equal(continued(line((1, 3, 9)), None), line((1, 3, 9)))


def test_the_halves_of_a_ball_are_alike_and_those_of_two_are_not() -> None:
    whole = ball((30, 30, 30), (15, 15, 15), 10).astype(np.uint32)
    edges = contact_edges(whole[10:12], whole[13:11:-1])
    assert edge_costs(edges)[0] > 0
    above, below = (ball((40, 30, 30), (z, 15, 15), 9.6).astype(np.uint32) for z in (9.6, 29.4))
    two = contact_edges(above[18:20], below[21:19:-1])
    assert above[19].any()
    assert below[20].any()
    assert (edge_costs(two) < 0).all()


def test_empty_faces_have_no_edges() -> None:
    none = np.zeros((4, 4), np.uint32)
    assert len(contact_edges(np.stack([none, none]), none[None])) == 0


def cells(seed: int = 0) -> np.ndarray:
    return voronoi((12, 40, 60), 40, seed=seed)


@pytest.mark.parametrize("by", [(0, 0), (1, 0), (-2, 1), (0, 2)])
def test_the_side_to_which_sections_are_displaced_is_found(by: tuple[int, int]) -> None:
    truth = cells()
    there = np.roll(truth, [-n for n in by], (1, 2))
    assert displacement(truth[4:8], there[4:8]) == by


def test_short_faces_and_strangers_are_not_displaced() -> None:
    truth = cells()
    assert displacement(truth[4:6, :15, :15], truth[4:6, 1:16, 1:16]) == (0, 0)
    none = np.zeros_like(truth[:2])
    assert displacement(truth[:2], none) == displacement(none, none) == (0, 0)


@pytest.mark.parametrize("shared", [0, 1, 3])
def test_sections_that_both_know_are_matched(shared: int) -> None:
    truth = cells(1)
    first, second = truth[: 5 + shared], truth[5:][::-1]
    edges = contact_edges(first[-2 - shared :], second[-2 - shared :], shared)
    joined = edge_costs(edges) > 0
    assert (edges.u == edges.v)[joined].mean() > 0.85
    shown = np.intersect1d(first[-1], second[-1])
    assert np.isin(shown, edges.u[joined & (edges.u == edges.v)]).mean() > 0.85
