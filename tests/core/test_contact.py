import numpy as np
import pytest

from bigseg.core.contact import contact_edges, continued
from bigseg.core.evidence import edge_costs, similarity
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
