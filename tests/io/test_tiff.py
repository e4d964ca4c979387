"""Voxel sizes as the writers of TIFF files put them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from bigseg.io.tiff import _from_lsm, _from_ome, opened_tiff


@pytest.mark.parametrize(
    ("metadata", "scale", "units"),
    [
        ({"unit": "micron"}, {"y": 0.5, "x": 0.25}, {"y": "micrometer", "x": "micrometer"}),
        ({"spacing": 2.0}, {"z": 2.0, "y": 0.5, "x": 0.25}, {}),
        ({"unit": "pixel"}, {}, {}),
        ({"finterval": 5.0}, {"t": 5.0}, {"t": "second"}),
        ({}, {}, {}),
    ],
)
def test_imagej(
    tmp_path: Path, metadata: dict[str, Any], scale: dict[str, float], units: dict[str, str]
) -> None:
    path = str(tmp_path / "a.tif")
    data = np.zeros((3, 4, 5), "u2")
    tifffile.imwrite(
        path, data, imagej=True, resolution=(4, 2), metadata={"axes": "ZYX", **metadata}
    )
    with opened_tiff(path) as source:
        assert source.axes == "zyx"
        assert source.scale == scale
        assert source.units == units


def test_lsm() -> None:
    scale, units, _ = _from_lsm({"VoxelSizeX": 2e-7, "VoxelSizeZ": 1e-6, "TimeInterval": 3.0})
    assert scale == pytest.approx({"x": 0.2, "z": 1.0, "t": 3.0})
    assert units == {"x": "micrometer", "z": "micrometer", "t": "second"}


def test_damaged_ome_metadata_are_ignored() -> None:
    assert _from_ome("<OME", 0) == _from_ome("<OME/>", 0) == ({}, {}, ())


def test_tiles_and_compression(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tif")
    data = np.arange(100 * 90, dtype="u4").reshape(100, 90)
    tifffile.imwrite(path, data, tile=(32, 32), compression="zlib", byteorder=">")
    with opened_tiff(path) as source:
        box = (slice(30, 70), slice(5, 90))
        np.testing.assert_array_equal(source.read(box), data[box])


def test_several_channels_and_samples_are_not_understood(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tif")
    tifffile.imwrite(path, np.zeros((2, 4, 5, 3), "u1"), imagej=True, metadata={"axes": "CYXS"})
    with opened_tiff(path) as source:
        assert source.axes == "cyxs"
