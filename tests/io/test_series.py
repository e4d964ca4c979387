"""Series of label images from wherever they are."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from bigseg.errors import ImageError, NotFound
from bigseg.io.convert import convert
from bigseg.io.series import check_series, open_series

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


def test_a_folder_with_one_file_is_no_series(tmp_path):
    url = folder(tmp_path / "a", FRAMES[:1])
    said = f"{url} has a single frame, .*mask000.tif, so there is nothing to track; if that file"
    with pytest.raises(ImageError, match=said):
        check_series(open_series(url), url)


@pytest.mark.parametrize("kind", ["folder", "file", "ngff"])
def test_a_background_of_minus_one_is_seen_before_any_work(tmp_path, kind):
    labels = FRAMES.astype(np.int16) - 1
    url = str(tmp_path / "a.npy")
    if kind == "folder":
        url = folder(tmp_path / "a", labels)
    elif kind == "file":
        url = str(tmp_path / "a.tif")
        tifffile.imwrite(url, labels, imagej=True, metadata={"axes": "TYX"})
    else:
        np.save(url, labels)
        convert([url], str(tmp_path / "a.zarr"), axes="tyx")
        url = str(tmp_path / "a.zarr")
    series = open_series(url)
    with pytest.raises(ImageError, match=r"Labels of .*0.* go down to -1; labels are"):
        check_series(series, url)


def test_labels_from_zero_are_fine(tmp_path):
    url = folder(tmp_path / "a", FRAMES.astype(np.int32))
    check_series(open_series(url), url)


def test_negative_labels_of_later_frames_are_named(tmp_path):
    labels = FRAMES.astype(np.int16)
    labels[2, 4, 4] = -5
    url = folder(tmp_path / "a", labels)
    check_series(open_series(url), url)
    with pytest.raises(ImageError, match=r"Labels of .*mask002.tif go down to -5"):
        open_series(url).read(frame(2))
