"""Lazy arrays for people: axes, positions, units."""

from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr

from bigseg.errors import NotFound
from bigseg.io.arrays import open_image, open_labels
from bigseg.io.create import create_image
from bigseg.io.labels import create_labels
from bigseg.io.ome import Image
from bigseg.io.plan import plan_image, plan_labels


def image_at(path: Path) -> Image:
    plan = plan_image(
        str(path), ("c", "y", "x"), (2, 4, 600), "u2", (1.0, 0.5, 0.25), (1, 4, 512), "0.4"
    )
    plan = replace(plan, units={"y": "micrometer", "x": "micrometer"}, channels=("DAPI", "GFP"))
    create_image(plan)
    array = zarr.open_array(path / "0", mode="r+")
    array[1] = np.arange(2400).reshape(4, 600)
    return plan


def test_axes_positions_and_units(tmp_path: Path) -> None:
    image_at(tmp_path)
    array = open_image(str(tmp_path))
    assert array.dims == ("c", "y", "x")
    assert array.c.values.tolist() == ["DAPI", "GFP"]
    assert array.y.values.tolist() == [0, 0.5, 1.0, 1.5]
    assert array.x.attrs == {"units": "micrometer"}
    assert isinstance(array.data, da.Array)
    assert array.sel(c="GFP", y=1.0).values.tolist() == list(range(1200, 1800))


def test_coarser_levels_know_where_they_are(tmp_path: Path) -> None:
    image_at(tmp_path)
    array = open_image(str(tmp_path), level=1)
    assert array.shape == (2, 4, 300)  # x catches up with y first
    assert array.x.values[:3].tolist() == [0.125, 0.625, 1.125]
    with pytest.raises(NotFound, match="has no level 5"):
        open_image(str(tmp_path), level=5)


def test_big_endian_becomes_native(tmp_path: Path) -> None:
    image_at(tmp_path)
    stored = zarr.open_array(tmp_path / "0", mode="r")[:]
    array = zarr.create_array(
        tmp_path / "0", shape=stored.shape, dtype=">u2", zarr_format=2, overwrite=True
    )
    array[:] = stored
    found = open_image(str(tmp_path))
    assert found.dtype.isnative
    np.testing.assert_array_equal(found.values, stored)


def test_the_only_labels_open(tmp_path: Path) -> None:
    plan = plan_labels(image_at(tmp_path), f"{tmp_path}/labels/cells", "u4", (1, 4, 512))
    create_labels(plan)
    zarr.open_array(f"{plan.url}/0", mode="r+")[:] = 9
    for url in (str(tmp_path), plan.url):
        labels = open_labels(url)
        assert (labels.dims, labels.name) == (("y", "x"), "cells")
        assert (labels.values == 9).all()
