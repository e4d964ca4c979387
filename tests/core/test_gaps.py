"""Shapes between planes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.gaps import between, fill_gaps, find_gaps
from tests.worlds import ball


def disc(radius: float, centre: tuple = (10, 10)) -> np.ndarray:
    return ball((21, 21), centre, radius)


def one_gap(before: int, after: int, ids: int = 1) -> dict:
    """The gaps of objects 1 to `ids` between two planes of 21 x 21."""
    size = np.full(ids, 21)
    columns = {"y0": size * 0, "y1": size, "x0": size * 0, "x1": size}
    return {
        "id": np.arange(1, ids + 1, dtype=np.uint64),
        "before": np.full(ids, before),
        "after": np.full(ids, after),
        **columns,
    }


def test_between_two_equal_shapes_is_the_same() -> None:
    np.testing.assert_array_equal(between(disc(5), disc(5), 0.5) > 0, disc(5))


def test_between_two_discs_is_one_of_a_radius_in_between() -> None:
    found = between(disc(9), disc(3), 0.5) > 0
    assert found[disc(5)].all()
    assert disc(7)[found].all()


def test_shapes_that_do_not_meet_have_nothing_between_them() -> None:
    assert not (between(disc(3, (4, 4)), disc(3, (16, 16)), 0.5) > 0).any()


def test_gaps_are_where_planes_are_missing_and_not_too_many() -> None:
    nodes = {
        "frame": np.zeros(6, np.int32),
        "z0": np.array([0, 2, 2, 6, 0, 3]),
        "y0": np.array([3, 2, 5, 0, 0, 0]),
        "y1": np.array([5, 4, 9, 1, 1, 1]),
        "x0": np.array([7, 7, 6, 0, 0, 0]),
        "x1": np.array([8, 9, 8, 1, 1, 1]),
    }
    ids = np.array([1, 1, 1, 1, 0, 0])
    gaps = find_gaps(ids, nodes, most=1)
    rows = [[int(gaps[n][0]) for n in gaps]]
    assert rows == [[1, 0, 0, 2, 2, 9, 6, 9]]
    assert find_gaps(ids, nodes, most=3)["after"].tolist() == [2, 6]
    assert len(find_gaps(np.zeros(6, int), nodes, most=1)["id"]) == 0
    assert len(find_gaps(ids, nodes, most=0)["id"]) == 0


def test_only_background_is_filled_and_the_deeper_shape_wins() -> None:
    left, right = disc(5, (10, 7)), disc(5, (10, 13))
    shown = np.where(left, 1, 0) + np.where(right & ~left, 2, 0)
    labels = np.zeros((1, 21, 21), np.uint32)
    labels[0, 10, 7] = 9
    planes = {0: ((0, 0), shown), 2: ((0, 0), shown)}
    new = fill_gaps(labels, (1, 0, 0), one_gap(0, 2, 2), planes)
    assert labels[0, 10, 7] == 9
    assert not new[0, 10, 7]
    expected = shown.copy()
    expected[10, 7] = 9
    np.testing.assert_array_equal(labels[0], expected)


@settings(deadline=None, max_examples=20)
@given(y=st.integers(1, 20), x=st.integers(1, 20), seed=st.integers(0, 99))
def test_parts_of_a_plane_are_filled_as_the_whole(y: int, x: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shown = [np.zeros((21, 21), np.uint32) for _ in range(2)]
    for number in (1, 2, 3):
        for plane in shown:
            plane[disc(rng.uniform(3, 7), tuple(rng.uniform(5, 16, 2)))] = number
    planes = {0: ((0, 0), shown[0]), 3: ((0, 0), shown[1])}
    whole = np.zeros((4, 21, 21), np.uint32)
    gaps = one_gap(0, 3, 3)
    fill_gaps(whole, (0, 0, 0), gaps, planes)
    backwards = {name: column[::-1] for name, column in gaps.items()}
    parts = np.zeros_like(whole)
    for place in np.s_[:y, :x], np.s_[:y, x:], np.s_[y:, :x], np.s_[y:, x:]:
        corner = tuple(s.start or 0 for s in place)
        for z in (1, 2):
            fill_gaps(parts[z : z + 1, place[0], place[1]], (z, *corner), backwards, planes)
    np.testing.assert_array_equal(whole[1:3], parts[1:3])
    assert not whole[[0, 3]].any()
