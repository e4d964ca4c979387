"""Filters do what they say, and to a block what they do to the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.filters import Filters, invert
from bigseg.grid import Grid


def image(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, shape, np.uint16)


@settings(deadline=None, max_examples=25)
@given(
    st.floats(0, 4), st.floats(0, 9), st.integers(1, 120), st.integers(1, 90), st.integers(5, 50)
)
def test_blocks_are_filtered_like_the_whole(
    smooth: float, sharpen: float, height: int, width: int, block: int
) -> None:
    filters = Filters(smooth, sharpen)
    data = image(1, 2, height, width)
    whole = filters.apply(data)
    grid = Grid(data.shape, (1, 2, block, block), (0, 0, filters.reach, filters.reach))
    for one in grid:
        np.testing.assert_array_equal(filters.apply(data[one.read])[one.crop], whole[one.write])


def test_smoothing_keeps_the_mean_and_takes_noise_away() -> None:
    data = image(1, 200, 200)
    smooth = Filters(smooth=3).apply(data)
    assert smooth.mean() == pytest.approx(data.mean(), rel=0.01)
    assert smooth.std() < data.std() / 8


def test_a_gaussian_spreads_a_point_as_it_should() -> None:
    point = np.zeros((1, 81, 81), np.float32)
    point[0, 40, 40] = 1
    found = Filters(smooth=5).apply(point)[0]
    y, x = np.mgrid[-40:41, -40:41]
    expected = np.exp(-(y**2 + x**2) / 50) / (50 * np.pi)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    sharp = Filters(sharpen=5).apply(point)[0]
    np.testing.assert_allclose(sharp, point[0] - expected, atol=1e-5)
    both = Filters(smooth=2, sharpen=5).apply(point)[0]
    fine = np.exp(-(y**2 + x**2) / 8) / (8 * np.pi)
    np.testing.assert_allclose(both, fine - expected, atol=5e-5)


def test_planes_do_not_mix() -> None:
    data = np.zeros((3, 30, 30), np.uint8)
    data[1] = 200
    found = Filters(smooth=3, sharpen=0).apply(data)
    np.testing.assert_allclose(found, data)
    assert not Filters(smooth=1, sharpen=6).apply(data).round(3).any()


def test_without_filters_nothing_changes() -> None:
    np.testing.assert_array_equal(Filters().apply(image(4, 5)), image(4, 5))
    assert Filters().reach == 0


def test_what_is_not_finite_does_not_spread() -> None:
    data = np.full((20, 20), 5, np.float32)
    data[3, 3], data[10, 10] = np.nan, np.inf
    found = Filters(smooth=1).apply(data)
    assert np.isfinite(found).all()
    assert found[18, 18] == pytest.approx(5)


def test_inverting_swaps_dark_and_bright() -> None:
    given = np.array([0, 0.25, 1, 1.5], np.float32)
    np.testing.assert_array_equal(invert(given), [1, 0.75, 0, -0.5])
    assert invert(given).dtype == np.float32
