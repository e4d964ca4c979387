"""Percentiles from histograms are those of the whole array."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bigseg.core.intensity import (
    fine_histogram,
    histogram,
    is_exact_in_one_pass,
    percentiles_of,
    rescale,
    sort_keys,
    value_of,
    wanted_bins,
)

PERCENTILES = (1.0, 37.5, 99.0)
ONE_PASS = ["u1", "i1", "u2", "i2", ">u2", ">i2"]
TWO_PASSES = ["u4", "i4", ">u4", ">i4", "f4", ">f4"]


def from_halves(values: np.ndarray, percentiles: tuple[float, ...]) -> list[float]:
    """Percentiles by way of the histograms of two parts."""
    parts = [sort_keys(part) for part in np.array_split(values, 2)]
    counts = sum(histogram(keys) for keys in parts)
    if is_exact_in_one_pass(values.dtype):
        return percentiles_of(counts, percentiles, values.dtype)
    bins = wanted_bins(counts, percentiles)
    fine = sum(fine_histogram(keys, bins) for keys in parts)
    return percentiles_of(counts, percentiles, values.dtype, (bins, fine))


@pytest.mark.parametrize("dtype", ONE_PASS + TWO_PASSES)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_percentiles_are_those_of_numpy(dtype: str, data: st.DataObject) -> None:
    finite: dict[str, Any] = {"allow_nan": False, "allow_infinity": False}
    elements = finite if np.dtype(dtype).kind == "f" else {}
    values = data.draw(arrays(dtype, st.integers(1, 60), elements=elements))
    expected = np.percentile(values.astype(np.float64), PERCENTILES)
    np.testing.assert_array_equal(from_halves(values, PERCENTILES), expected)


def test_what_is_not_finite_is_left_out() -> None:
    values = np.array([np.nan, -1, np.inf, 3, 0, -np.inf, 2], np.float32)
    assert from_halves(values, (0.0, 50.0, 100.0)) == [-1, 1, 3]


def test_nothing_but_nan_has_no_keys() -> None:
    assert sort_keys(np.full((2, 2), np.nan, np.float32)).size == 0


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "i4", "f4"])
def test_keys_lead_back_to_values(dtype: str) -> None:
    limits = np.finfo(dtype) if dtype == "f4" else np.iinfo(dtype)
    values = np.array([limits.min, 0, 1, 100, limits.max], dtype)
    shift = 0
    keys = sort_keys(values)
    assert (np.diff(keys.astype(np.int64)) >= 0).all()
    assert [value_of(int(key) >> shift, dtype) for key in keys] == values.astype(float).tolist()


def test_rescale_maps_the_range_to_0_and_1() -> None:
    scaled = rescale(np.array([10, 20, 30, 40], np.uint8), 20, 30)
    np.testing.assert_allclose(scaled, [-1, 0, 1, 2])
    assert scaled.dtype == np.float32


def test_rescale_takes_any_unit() -> None:
    values = np.array([0, 1e-6, 2e-6], np.float32)
    np.testing.assert_allclose(rescale(values, 0, 2e-6), [0, 0.5, 1])


def test_rescale_sees_small_differences_of_large_integers() -> None:
    values = np.array([4_000_000_000, 4_000_000_010], np.uint32)
    np.testing.assert_array_equal(rescale(values, 4e9, 4e9 + 10), [0, 1])


@pytest.mark.parametrize("value", [0.0, 7.0, -3e30])
def test_rescale_of_a_single_value_is_0(value: float) -> None:
    assert not rescale(np.full(3, value, np.float32), value, value).any()


def test_rescale_makes_0_of_what_is_not_finite() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert rescale(values, 0, 2).tolist() == [0, 0, 0, 0.5]
