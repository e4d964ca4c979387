"""Shrinking: literal cases, and that blocks shrunk apart fit together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.pyramid import (
    downsample_labels,
    downsample_mean,
    factors_between,
    parent_box,
    pyramid_factors,
    shrunk,
)
from bigseg.grid import Grid


def test_the_most_frequent_id_wins() -> None:
    block = np.array([[[1, 1, 2, 2], [1, 5, 2, 9]]], np.uint32)
    assert downsample_labels(block, (1, 2, 2)).tolist() == [[[1, 2]]]


def test_objects_win_ties_against_background() -> None:
    block = np.array([[[0, 0], [7, 7]]], np.uint64)
    assert downsample_labels(block, (1, 2, 2)).tolist() == [[[7]]]
    assert downsample_labels(block[:, ::-1], (1, 2, 2)).tolist() == [[[7]]]


def test_background_wins_when_it_is_most() -> None:
    block = np.array([[[0, 0], [0, 7]]], np.uint8)
    assert downsample_labels(block, (1, 2, 2)).tolist() == [[[0]]]


def test_odd_sizes_keep_their_last_voxels() -> None:
    block = np.array([[[1, 1, 3]]], np.uint16)
    assert downsample_labels(block, (2, 2, 2)).tolist() == [[[1, 3]]]
    assert downsample_mean(block, (2, 2, 2)).tolist() == [[[1, 3]]]


def test_large_ids_survive() -> None:
    block = np.full((2, 2, 2), 2**53 + 1, np.uint64)
    assert downsample_labels(block, (2, 2, 2)).tolist() == [[[2**53 + 1]]]


def test_without_factors_a_copy() -> None:
    block = np.ones((1, 2, 2), np.uint32)
    out = downsample_labels(block, (1, 1, 1))
    out[:] = 0
    assert block.all()
    np.testing.assert_array_equal(downsample_mean(block, (1, 1, 1)), block)


@pytest.mark.parametrize(
    ("values", "dtype", "mean"),
    [
        ([1, 2, 2, 2], "uint8", 2),
        ([0, 1, 1, 0], "uint8", 1),
        ([255] * 4, "uint8", 255),
        ([65535] * 4, "uint16", 65535),
        ([-3, -3, -2, -2], "int16", -2),
        ([2**32 - 1] * 4, "uint32", 2**32 - 1),
        ([0.5, 1.5, 2.5, 3.5], "float32", 2.0),
        ([1, 1, 0, 0], "bool", True),
        ([1, 0, 0, 0], "bool", False),
    ],
)
def test_means(values: list[float], dtype: str, mean: float) -> None:
    out = downsample_mean(np.array(values, dtype).reshape(1, 2, 2), (1, 2, 2))
    assert out.dtype == dtype
    assert out.tolist() == [[[mean]]]


shapes = st.tuples(*[st.integers(1, 9)] * 3)
factors = st.tuples(*[st.integers(1, 3)] * 3)


@settings(deadline=None, max_examples=60)
@given(shapes, factors, st.integers(0, 2**32 - 1))
def test_modes_are_modes(shape: tuple[int, ...], by: tuple[int, ...], seed: int) -> None:
    block = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint32)
    out = downsample_labels(block, by)
    assert out.shape == shrunk(shape, by)
    for index in np.ndindex(out.shape):
        window = block[tuple(slice(i * f, i * f + f) for i, f in zip(index, by, strict=True))]
        ids, counts = np.unique(window, return_counts=True)
        best = ids[counts == counts.max()]
        assert out[index] in best
        assert out[index] != 0 or best.tolist() == [0]


@settings(deadline=None, max_examples=60)
@given(shapes, factors, st.tuples(*[st.integers(1, 4)] * 3), st.integers(0, 2**32 - 1))
def test_blocks_shrunk_apart_fit_together(
    shape: tuple[int, ...], by: tuple[int, ...], step: tuple[int, ...], seed: int
) -> None:
    labels = np.random.default_rng(seed).integers(0, 5, shape).astype(np.uint32)
    image = labels.astype(np.float32)
    whole, mean = downsample_labels(labels, by), downsample_mean(image, by)
    for block in Grid(whole.shape, step, (0, 0, 0)):
        there = parent_box(block.write, by, shape)
        np.testing.assert_array_equal(downsample_labels(labels[there], by), whole[block.write])
        np.testing.assert_array_equal(downsample_mean(image[there], by), mean[block.write])


def test_pyramids_wait_for_coarse_axes() -> None:
    steps = pyramid_factors((64, 2000, 2000), (4.0, 1.0, 1.0))
    assert steps == [(1, 2, 2), (1, 2, 2), (2, 2, 2)]


def test_pyramids_end_when_small() -> None:
    assert pyramid_factors((1000, 256, 256), (1.0, 1.0, 1.0)) == []
    assert pyramid_factors((1, 1, 1000), (1.0, 1.0, 1.0)) == [(1, 1, 2), (1, 1, 2)]


def test_factors_of_foreign_pyramids() -> None:
    assert factors_between((7, 101, 64), (7, 50, 16)) == (1, 2, 4)
