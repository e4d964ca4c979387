"""Floods are told apart to the voxel, whatever else there is."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from bigseg.core.flood import flood


def test_a_ridge_is_of_the_flood_that_comes_first() -> None:
    height = np.array([[[0.0, 0.2, 0.9, 0.1, 0.0, 0.3]]], np.float32)
    seeds = np.array([[[4, 0, 0, 0, 7, 0]]], np.uint32)
    assert flood(height, seeds)[0, 0].tolist() == [4, 4, 7, 7, 7, 7]


def test_floods_meet_half_way_where_all_is_level() -> None:
    seeds = np.array([[[1, 0, 0, 0, 0, 2]]], np.uint32)
    assert flood(np.zeros((1, 1, 6), np.float32), seeds)[0, 0].tolist() == [1, 1, 1, 2, 2, 2]


def test_without_a_seed_nothing_floods() -> None:
    assert not flood(np.zeros((2, 3, 4), np.float32), np.zeros((2, 3, 4), np.uint32)).any()


def test_heights_beyond_the_range_are_its_ends() -> None:
    height = np.array([[[-3.0, 5.0, 1.0, 0.5]]], np.float32)
    seeds = np.array([[[1, 0, 0, 2]]], np.uint32)
    assert flood(height, seeds)[0, 0].tolist() == [1, 1, 2, 2]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0, 30.0]))
def test_what_lies_behind_a_dam_changes_nothing(seed: int, lake: float) -> None:
    rng = np.random.default_rng(seed)
    height = gaussian_filter(rng.random((8, 9, 20)), 1).astype(np.float32)
    height[:, :, 12] = 1  # each side has its seeds, and no flood passes before all is full
    seeds = np.zeros(height.shape, np.uint32)
    for number in range(1, 13):
        x = rng.integers(0, 12) if number < 7 else rng.integers(13, 20)
        seeds[rng.integers(0, 8), rng.integers(0, 9), x] = number
    whole = flood(height, seeds)
    height[:, :, 13:] *= lake
    np.testing.assert_array_equal(flood(height, seeds)[:, :, :12], whole[:, :, :12])
    part = flood(height[:, :, :13].copy(), seeds[:, :, :13].copy())
    np.testing.assert_array_equal(part[:, :, :12], whole[:, :, :12])
