"""Labels and their table tell the same, in a form that others read."""

from pathlib import Path

import numpy as np
import pytest
from ome_zarr_models import open_ome_zarr
from skimage.measure import regionprops

from bigseg.stages import publish
from tests.worlds import Cut, balls, segment_world, world_table


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_table_says_what_the_labels_show(tmp_path: Path, ndim: int) -> None:
    shape = (36, 40, 44) if ndim == 3 else (1, 80, 90)
    truth = balls(shape[3 - ndim :], 14, (4, 8), seed=2).reshape(1, *shape)
    cut = Cut((24, 24, 24), (20, 20, 20), ndim)
    found = segment_world(str(tmp_path), truth, cut)[0]
    table = world_table(str(tmp_path))
    props = regionprops(found.astype(np.int64))
    np.testing.assert_array_equal(table["id"], np.arange(1, len(props) + 1))
    np.testing.assert_array_equal(table["voxels"], [p.area for p in props])
    boxes = np.stack([table[name] for name in ("z0", "y0", "x0", "z1", "y1", "x1")], 1)
    np.testing.assert_array_equal(boxes, [p.bbox for p in props])
    centres = np.stack([table[name] for name in "zyx"], 1)
    np.testing.assert_allclose(centres, [p.centroid for p in props])


def test_ids_are_consecutive_and_uint32(tmp_path: Path) -> None:
    truth = balls((90, 90), 20, (4, 8), seed=4).reshape(1, 1, 90, 90)
    found = segment_world(str(tmp_path), truth, Cut((1, 32, 32), (0, 20, 20), ndim=2))
    np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))
    assert found.dtype == np.uint32


@pytest.mark.parametrize("axes", ["tzyx", "zyx", "tyx", "yx"])
def test_labels_are_valid_and_keep_the_axes(tmp_path: Path, axes: str) -> None:
    shape = tuple({"t": 2, "z": 3, "y": 40, "x": 40}[a] if a in axes else 1 for a in "tzyx")
    truth = np.zeros(shape, np.uint32)
    truth[:, :, 5:20, 5:20] = 1
    segment_world(str(tmp_path), truth, Cut((16, 16, 16), (16, 16, 16), 2), axes)
    group = open_ome_zarr(f"{tmp_path}/labels.zarr", version="0.5")
    multiscale = group.attributes.ome.multiscales[0]
    assert "".join(axis.name for axis in multiscale.axes) == axes
    assert group.attributes.ome.image_label is not None
    assert publish.table_url("x.zarr") == "x.zarr/objects.parquet"
