"""Planes in three orientations average into one field; resampling is linear and centred."""

import numpy as np
import pytest

from bigseg.core.planes import positions, predict_volume, resample


def ones(planes: np.ndarray) -> np.ndarray:
    return np.ones((len(planes), 3, *planes.shape[2:]), np.float32)


def test_ones_average_to_ones() -> None:
    volume = np.zeros((1, 5, 6, 7), np.float32)
    field = predict_volume(ones, volume, ((0, 5), (0, 6), (0, 7)), planes=2)
    np.testing.assert_allclose(field, 1, rtol=1e-6)


def test_only_the_core_is_kept_and_in_its_place() -> None:
    volume = np.random.default_rng(0).random((1, 6, 7, 8)).astype(np.float32)
    field = predict_volume(lambda p: np.repeat(p, 3, axis=1), volume, ((1, 4), (2, 7), (0, 5)))
    assert field.shape == (4, 3, 5, 5)
    np.testing.assert_allclose(field[3], volume[0, 1:4, 2:7, 0:5], rtol=1e-5)


def test_each_flow_comes_from_the_planes_that_contain_its_axis() -> None:
    def first_axis(planes: np.ndarray) -> np.ndarray:
        outputs = np.zeros((len(planes), 3, *planes.shape[2:]), np.float32)
        outputs[:, 0] = 1
        return outputs

    field = predict_volume(first_axis, np.zeros((1, 4, 4, 4), np.float32), ((0, 4),) * 3)
    np.testing.assert_allclose(field[:, 0, 0, 0], [1, 0.5, 0, 0])


def test_resampling_to_the_same_grid_changes_nothing() -> None:
    array = np.random.default_rng(0).random((3, 5)).astype(np.float32)
    np.testing.assert_array_equal(resample(array, 1, positions(0, 5, 1.0)), array)


@pytest.mark.parametrize("count", [7, 10, 20, 33])
def test_a_ramp_stays_a_ramp(count: int) -> None:
    ramp = np.arange(20, dtype=np.float32)[None]
    at = positions(0, count, 20 / count)
    np.testing.assert_allclose(resample(ramp, 1, at)[0], np.clip(at, 0, 19), atol=1e-5)


def test_a_single_voxel_fills_an_axis() -> None:
    assert resample(np.full((1, 1), 3, np.float32), 0, positions(0, 4, 0.25)).tolist() == [[3]] * 4
