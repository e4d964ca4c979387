import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.layout import Layout

CORNER = st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 8), st.integers(0, 8))
LENGTH = st.tuples(st.just(1), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


def layout(*boxes: tuple) -> Layout:
    low, high = (np.array([box[side] for box in boxes], np.int64) for side in (0, 1))
    return Layout(low, high)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    pairs = draw(st.lists(st.tuples(CORNER, LENGTH), min_size=1, max_size=7))
    return layout(*((low, tuple(np.add(low, length))) for low, length in pairs))


def coverage(tiles: Layout) -> np.ndarray:
    count = np.zeros((2, 6, 20, 20), int)
    for number in range(len(tiles)):
        count[tiles.box(number)] += 1
    return count


@settings(deadline=None, max_examples=80)
@given(layouts())
def test_every_covered_voxel_has_one_owner(tiles: Layout) -> None:
    owners = np.zeros((2, 6, 20, 20), int)
    for number in range(len(tiles)):
        owners[tiles.box(number)] += tiles.owned(number)
    np.testing.assert_array_equal(owners, coverage(tiles) > 0)


@settings(deadline=None, max_examples=40)
@given(layouts(), CORNER, LENGTH)
def test_owners_are_the_same_seen_through_any_box(tiles: Layout, low: tuple, size: tuple) -> None:
    box = tuple(slice(a, a + n) for a, n in zip(low, size, strict=True))
    for number in range(len(tiles)):
        whole = np.zeros((2, 6, 20, 20), bool)
        whole[tiles.box(number)] = tiles.owned(number)
        np.testing.assert_array_equal(tiles.owned(number, box), whole[box])


@settings(deadline=None, max_examples=80)
@given(layouts(), st.sampled_from([64, 1 << 22]))
def test_a_gap_is_found_if_there_is_one(tiles: Layout, cells: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bigseg.core.layout._CELLS", cells)
        gap, covered = tiles.gap(), coverage(tiles)
    if gap is None:
        assert covered[tiles.extent()].all()
    else:
        assert covered[gap].size > 0
        assert not covered[gap].any()


def test_overlaps_are_parted_in_the_middle() -> None:
    tiles = layout(((0, 0, 0, 0), (1, 1, 8, 10)), ((0, 0, 0, 6), (1, 1, 8, 16)))
    assert tiles.owned(0)[0, 0].sum(axis=1).tolist() == [8] * 8
    assert tiles.owned(1)[0, 0].sum(axis=1).tolist() == [8] * 8


def test_the_corner_of_four_tiles_is_parted_into_boxes() -> None:
    places = [(y, x) for y in (0, 8) for x in (0, 8)]
    tiles = layout(*(((0, 0, y, x), (1, 1, y + 12, x + 12)) for y, x in places))
    for number, (y, x) in enumerate(places):
        owned = np.zeros((20, 20), bool)
        owned[tiles.box(number)[2:]] = tiles.owned(number)[0, 0]
        expected = np.zeros((20, 20), bool)
        expected[10 * (y > 0) :, 10 * (x > 0) :][:10, :10] = True
        np.testing.assert_array_equal(owned, expected)


def test_frames_are_not_near_each_other() -> None:
    tiles = layout(((0, 0, 0, 0), (1, 1, 4, 4)), ((1, 0, 0, 0), (2, 1, 4, 4)))
    assert tiles.meeting(tiles.box(0), reach=1).tolist() == [0]


def test_many_tiles_off_any_grid_are_looked_at_in_parts() -> None:
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*[np.arange(12)] * 3, indexing="ij"), -1).reshape(-1, 3) * 100
    low = np.c_[np.zeros(len(place), int), place + rng.integers(0, 9, place.shape)]
    low[:, 1:][place == 0] = 0
    tiles = Layout(low, np.c_[np.ones(len(low), int), np.minimum(low[:, 1:] + 110, 1200)])
    assert tiles.gap() is None
    holed = Layout(np.delete(tiles.low, 777, 0), np.delete(tiles.high, 777, 0))
    assert holed.gap() is not None
