"""Series of label images from wherever they are."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from bigseg.errors import ImageError, NotFound
from bigseg.io.convert import convert
from bigseg.io.series import open_series

FRAMES = np.arange(3 * 8 * 9, dtype=np.uint16).reshape(3, 8, 9) % 7
WHOLE = tuple(slice(0, n) for n in (3, 1, 8, 9))


def frame(number: int) -> tuple[slice, ...]:
    return (slice(number, number + 1), *WHOLE[1:])


def folder(path, frames=FRAMES, first=0):
    path.mkdir()
    for number, labels in enumerate(frames, first):
        tifffile.imwrite(path / f"mask{number:03d}.tif", labels, photometric="minisblack")
    return str(path)


def test_a_folder_holds_a_file_per_frame(tmp_path):
    series = open_series(folder(tmp_path / "01_RES"))
    assert (series.shape, series.ndim) == ((3, 1, 8, 9), 2)
    np.testing.assert_array_equal(series.read(frame(1))[0], FRAMES[1])


def test_frames_are_read_in_the_order_of_their_numbers(tmp_path):
    (tmp_path / "a").mkdir()
    for number, labels in zip((9, 10, 11), FRAMES, strict=True):
        tifffile.imwrite(tmp_path / "a" / f"t{number}.tif", labels)
    series = open_series(str(tmp_path / "a" / "t*.tif"))
    np.testing.assert_array_equal(series.read(frame(0))[0], FRAMES[0])


def test_a_box_of_a_frame(tmp_path):
    series = open_series(folder(tmp_path / "a"))
    box = (slice(2, 3), slice(0, 1), slice(2, 5), slice(3, 9))
    np.testing.assert_array_equal(series.read(box)[0], FRAMES[2, 2:5, 3:])


def test_volumes_in_files(tmp_path):
    series = open_series(folder(tmp_path / "a", np.stack([FRAMES] * 2)))
    assert series.shape == (2, 3, 8, 9)
    assert series.ndim == 3


def test_one_file_and_ngff_hold_the_same(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, FRAMES, imagej=True, metadata={"axes": "TYX"})
    convert([str(file)], str(tmp_path / "a.zarr"))
    for series in (open_series(str(file)), open_series(str(tmp_path / "a.zarr"))):
        assert series.shape == (3, 1, 8, 9)
        np.testing.assert_array_equal(series.read(frame(2))[0], FRAMES[2])


def test_a_missing_frame_is_named(tmp_path):
    url = folder(tmp_path / "a")
    (tmp_path / "a" / "mask001.tif").unlink()
    with pytest.raises(ImageError, match="has no frame 1; a series needs one file for each frame"):
        open_series(url)


def test_a_frame_of_another_shape_is_named(tmp_path):
    url = folder(tmp_path / "a")
    tifffile.imwrite(tmp_path / "a" / "mask002.tif", FRAMES[0, :4])
    with pytest.raises(ImageError, match=r"mask002.tif has \(z, y, x\) = \(1, 4, 9\) voxels, but"):
        open_series(url)


def test_floats_are_no_labels(tmp_path):
    with pytest.raises(ImageError, match="holds float32, but labels are whole numbers"):
        open_series(folder(tmp_path / "a", FRAMES.astype(np.float32)))


def test_an_image_without_time_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", FRAMES[0])
    convert([str(tmp_path / "a.tif")], str(tmp_path / "a.zarr"))
    with pytest.raises(ImageError, match="has the axes y, x and no time"):
        open_series(str(tmp_path / "a.zarr"))


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(NotFound, match="There are no label images at"):
        open_series(str(tmp_path / "a"))
