"""Coarser levels, block by block, equal those of the whole array."""

from pathlib import Path

import numpy as np
import pytest

from bigseg.core.pyramid import downsample_labels, downsample_mean
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.pyramid import level_grid, shrink_block
from bigseg.io.volume import Volume


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize(
    ("axes", "shape"), [("tzyx", (2, 70, 40, 530)), ("cyx", (2, 600, 300)), ("yx", (1, 513))]
)
def test_blocks_equal_the_whole(
    tmp_path: Path, axes: str, shape: tuple[int, ...], labels: bool
) -> None:
    plan = plan_image(str(tmp_path), tuple(axes), shape, "u4", (1,) * len(axes), (32, 128, 128))
    create_image(plan)
    fine, coarse = Volume.open(plan.url), Volume.open(plan.url, 1)
    t, channels, z, y, x = fine.shape
    whole = tuple(slice(0, n) for n in (t, z, y, x))
    rng = np.random.default_rng(1)
    for channel in range(channels):
        data = rng.integers(0, 5, (t, z, y, x)).astype("u4")
        fine.write(whole, data, channel)
    for block in level_grid(coarse):
        shrink_block(fine, coarse, block.write, labels=labels)
    factors = (1, 2 if z > 1 else 1, 2 if y > 1 else 1, 2)
    small = tuple(slice(0, n) for n in (coarse.shape[0], *coarse.shape[2:]))
    found = coarse.read(small, (channels - 1,))[:, 0]
    if labels:
        expected = np.stack([downsample_labels(frame, factors[1:]) for frame in data])
    else:
        expected = downsample_mean(data, factors)
    np.testing.assert_array_equal(found, expected)


def test_blocks_are_stored_objects(tmp_path: Path) -> None:
    plan = plan_image(str(tmp_path), ("y", "x"), (1000, 700), "u1", (1, 1), (1, 256, 256))
    create_image(plan)
    grid = level_grid(Volume.open(plan.url, 1))
    assert (grid.shape, grid.block, grid.counts) == (
        (1, 1, 500, 350),
        (1, 1, 256, 256),
        (1, 1, 2, 2),
    )
