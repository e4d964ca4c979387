"""Local ranges follow the image, not the blocks, and show no seam."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.local_range import (
    range_at,
    rescale_locally,
    smooth_ranges,
    window_counts,
    window_ranges,
)
from bigseg.grid import Grid, Index

PERCENTILES = (1.0, 99.0)


def image(*shape: int) -> np.ndarray:
    """Noise, ten times as bright on the right."""
    noise = np.random.default_rng(0).gamma(3.0, 50.0, shape)
    return (noise * np.linspace(1, 10, shape[-1])).astype(np.uint16)


def local(data: np.ndarray, window: Index) -> np.ndarray:
    """All of an image at once."""
    smooth = smooth_ranges(window_ranges(data, window, PERCENTILES))
    box = tuple(slice(0, n) for n in data.shape)
    return rescale_locally(data, *range_at(smooth, data.shape, window, box))


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(1, 4), st.integers(8, 30), st.integers(8, 30)),
    st.integers(1, 3),
    st.integers(5, 50),
)
def test_blocks_are_normalised_like_the_whole(
    shape: Index, window: Index, many: int, block: int
) -> None:
    data = image(*shape)
    table = np.zeros((3, *window_counts(shape, window)))
    counting = Grid(shape, tuple(many * w for w in window), (0, 0, 0))
    for one in counting:
        found = window_ranges(data[one.write], window, PERCENTILES)
        places = (
            slice(i * many, i * many + n) for i, n in zip(one.index, found.shape[1:], strict=True)
        )
        table[(slice(None), *places)] = found
    smooth, whole = smooth_ranges(table), local(data, window)
    for one in Grid(shape, (2, block, block), (0, 0, 0)):
        limits = range_at(smooth, shape, window, one.write)
        found = rescale_locally(data[one.write], *limits)
        np.testing.assert_allclose(found, whole[one.write], rtol=1e-5, atol=1e-6)


def test_bright_and_dark_regions_become_alike() -> None:
    found = local(image(1, 200, 600), (1, 40, 40))[0]
    spread = [np.percentile(found[:, x : x + 100], 90) for x in range(0, 600, 100)]
    assert max(spread) / min(spread) < 1.15


def test_ranges_change_gradually() -> None:
    data = image(1, 100, 300)
    smooth = smooth_ranges(window_ranges(data, (1, 25, 25), PERCENTILES))
    box = (slice(0, 1), slice(0, 100), slice(0, 300))
    for bound in range_at(smooth, data.shape, (1, 25, 25), box):
        assert np.abs(np.diff(bound, axis=2)).max() < 0.02 * bound.max()


def test_one_window_is_one_range() -> None:
    data = image(2, 30, 40)
    low, high = np.percentile(data, PERCENTILES)
    np.testing.assert_allclose(
        local(data, (2, 30, 40)), (data - low) / (high - low), rtol=1e-4, atol=1e-5
    )


def test_flat_windows_take_the_range_of_the_nearest_that_has_one() -> None:
    data = np.full((1, 20, 400), 7.0, np.float32)
    data[:, :, :20] = np.random.default_rng(0).normal(50, 10, (1, 20, 20))
    data[:, :, 21:] = np.nan
    smooth = smooth_ranges(window_ranges(data, (1, 20, 20), PERCENTILES))
    first = window_ranges(data[:, :, :20], (1, 20, 20), PERCENTILES)[:2, :, :, 0]
    np.testing.assert_allclose(smooth, np.broadcast_to(first[..., None], smooth.shape), rtol=1e-5)


def test_a_narrow_rest_of_the_image_does_not_make_a_range_of_its_own() -> None:
    data = image(1, 40, 42)
    data[:, :, 40:] = np.array([0, 60_000])
    smooth = smooth_ranges(window_ranges(data, (1, 20, 20), PERCENTILES))
    assert smooth[1, 0, 0, 2] < 10_000


@pytest.mark.parametrize("value", [0, 9])
def test_an_image_without_a_range_is_zero(value: int) -> None:
    assert not local(np.full((1, 30, 30), value, np.uint8), (1, 10, 10)).any()


def test_what_is_not_finite_becomes_zero() -> None:
    data = image(1, 40, 40).astype(np.float32)
    data[0, 3, 3], data[0, 30, 5] = np.nan, -np.inf
    found = local(data, (1, 20, 20))
    assert found[0, 3, 3] == found[0, 30, 5] == 0
    assert np.isfinite(found).all()
