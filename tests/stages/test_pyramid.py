"""Levels of labels made block by block are those of the whole."""

from pathlib import Path

import numpy as np

from bigseg.core.pyramid import downsample_labels
from tests.worlds import Cut, balls, make_image, read_labels, segment_world


def test_levels_come_from_the_next_finer_one(tmp_path: Path) -> None:
    truth = balls((300, 330), 60, (5, 12), seed=7).reshape(1, 1, 300, 330)
    fine = segment_world(str(tmp_path), truth, Cut((1, 64, 64), (0, 30, 30), ndim=2))
    coarse = read_labels(f"{tmp_path}/labels.zarr", 1)
    factors = tuple(round(a / b) for a, b in zip(fine.shape, coarse.shape, strict=True))
    assert factors == (1, 1, 2, 2)
    np.testing.assert_array_equal(coarse[0], downsample_labels(fine[0], factors[1:]))


def test_labels_have_as_many_levels_as_the_image(tmp_path: Path) -> None:
    truth = balls((300, 330), 6, (8, 9), seed=7).reshape(1, 1, 300, 330)
    segment_world(str(tmp_path), truth, Cut((1, 128, 128), (0, 30, 30), ndim=2))
    levels = len(make_image(f"{tmp_path}/other.zarr", truth[0, 0], "yx").image.levels)
    assert read_labels(f"{tmp_path}/labels.zarr", levels - 1).any()
