"""Any box of a restored image is what restoring all of it would give there."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bigseg.grid import Box
from bigseg.nets import weights
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.stages.restore import Plane, restore, source_box

LENGTH = (120, 140)


@pytest.fixture
def plane(tmp_path: Path) -> Plane:
    torch.manual_seed(0)
    url = str(tmp_path / "net.pt")
    torch.save(CellposeUNet((1, 4, 8, 8, 16), 1).state_dict(), url)
    sizes = {"length": LENGTH, "pixels": (150, 175), "result": LENGTH}
    return Plane(**sizes, model=url, digest=weights.digest(url), tile=64, margin=8)


def box_of(*ranges: tuple[int, int]) -> Box:
    return tuple(slice(*each) for each in ranges)


def read(data: np.ndarray, box: Box) -> np.ndarray:
    """As a volume gives it: (c, z, y, x)."""
    return data[(slice(None), *box[1:])]


@pytest.mark.parametrize("y", [(0, 17), (50, 120), (33, 34)])
@pytest.mark.parametrize("x", [(0, 140), (71, 103)])
def test_a_box_is_restored_as_a_part_of_the_whole(
    plane: Plane, y: tuple[int, int], x: tuple[int, int]
) -> None:
    data = np.random.default_rng(0).random((2, 3, *LENGTH), np.float32)
    everything, box = (
        box_of((0, 1), (0, 3), *((0, n) for n in LENGTH)),
        box_of((0, 1), (1, 3), y, x),
    )
    whole = restore(plane, data, everything)
    found = restore(plane, read(data, source_box(plane, box)), box)
    assert whole.shape == data.shape
    np.testing.assert_allclose(found, read(whole, box), atol=1e-5)


def test_a_box_depends_on_no_more_than_the_tiles_that_reach_into_it(plane: Plane) -> None:
    t, z, y, x = source_box(plane, box_of((1, 2), (4, 9), (0, 10), (60, 70)))
    assert (t, z) == (slice(1, 2), slice(4, 9))
    assert y.start == 0
    assert y.stop <= 64
    assert 0 < x.start < 60
    assert 70 < x.stop <= 60 + 2 * 64
