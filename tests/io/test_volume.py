"""Blocks go in and come out whatever axes, dtype and version an image has."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_zarr_models import open_ome_zarr

from bigseg.errors import ImageError, NotFound
from bigseg.io.create import create_image
from bigseg.io.labels import create_labels
from bigseg.io.ome import describe
from bigseg.io.plan import plan_image, plan_labels
from bigseg.io.volume import Volume

AXES = ["yx", "cyx", "zyx", "czyx", "tyx", "tzyx", "tcyx", "tczyx"]
LENGTH = {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}


def image_of(url: str, axes: str, dtype: str = "uint8", version: str = "0.5") -> Volume:
    shape = tuple(LENGTH[a] for a in axes)
    plan = plan_image(url, tuple(axes), shape, dtype, (1.0,) * len(axes), (2, 4, 4), version)
    create_image(plan)
    return Volume.open(url)


def whole(volume: Volume) -> tuple[slice, ...]:
    t, _, z, y, x = volume.shape
    return tuple(slice(0, n) for n in (t, z, y, x))


def numbers(volume: Volume) -> np.ndarray:
    return np.arange(np.prod(volume.shape)).reshape(volume.shape) % 120


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", AXES)
def test_round_trip_is_canonical_and_valid(tmp_path: Path, axes: str, version: str) -> None:
    volume = image_of(str(tmp_path), axes, version=version)
    expected = numbers(volume).astype("u1")
    for channel in range(volume.shape[1]):
        volume.write(whole(volume), expected[:, channel], channel)
    every = tuple(range(volume.shape[1]))
    np.testing.assert_array_equal(volume.read(whole(volume), every), expected)
    stored = np.asarray(zarr.open_array(tmp_path / "0", mode="r")[:])
    np.testing.assert_array_equal(stored, expected.reshape(stored.shape))
    open_ome_zarr(str(tmp_path), version=version)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", AXES)
def test_labels_of_any_image_are_valid(tmp_path: Path, axes: str, version: str) -> None:
    volume = image_of(str(tmp_path), axes, version=version)
    plan = plan_labels(volume.image, f"{tmp_path}/labels/cells", "uint32", (2, 4, 4))
    create_labels(plan)
    labels = Volume.open(plan.url)
    assert labels.axes == tuple(a for a in axes if a != "c")
    ids = np.full(tuple(s.stop for s in whole(labels)), 70_000, "u4")
    labels.write(whole(labels), ids)
    np.testing.assert_array_equal(labels.read(whole(labels))[:, 0], ids)
    open_ome_zarr(str(tmp_path), version=version)
    assert type(open_ome_zarr(plan.url, version=version)).__name__ == "ImageLabel"


@pytest.mark.parametrize(
    "dtype", ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "f2", "f4", "f8"]
)
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_every_dtype(tmp_path: Path, dtype: str, version: str) -> None:
    volume = image_of(str(tmp_path), "zyx", dtype, version)
    expected = (numbers(volume) - (0 if dtype[0] in "bu" else 60)).astype(dtype)
    volume.write(whole(volume), expected[:, 0])
    found = volume.read(whole(volume))
    assert found.dtype == volume.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("format", [2, 3])
def test_big_endian_is_read_native(tmp_path: Path, format: int) -> None:
    volume = image_of(str(tmp_path), "yx", version="0.4" if format == 2 else "0.5")
    serializer = {} if format == 2 else {"serializer": zarr.codecs.BytesCodec(endian="big")}
    dtype = ">u2" if format == 2 else "u2"
    path = tmp_path / "0"
    array = zarr.create_array(
        path, shape=(5, 6), dtype=dtype, zarr_format=format, overwrite=True, **serializer
    )
    array[:] = np.arange(30).reshape(5, 6) * 256 + 1
    volume = Volume.open(str(tmp_path))
    found = volume.read(whole(volume))
    assert found.dtype == volume.dtype == np.dtype("u2")
    assert found.dtype.isnative
    np.testing.assert_array_equal(found[0, 0, 0], np.arange(30).reshape(5, 6) * 256 + 1)
    assert path.exists()


def test_axes_in_another_order(tmp_path: Path) -> None:
    plan = plan_image(
        str(tmp_path), ("c", "x", "y", "z"), (2, 6, 5, 4), "u1", (1.0, 3.0, 2.0, 9.0), (4, 5, 6)
    )
    create_image(plan)
    volume = Volume.open(str(tmp_path))
    assert volume.shape == (1, 2, 4, 5, 6)
    assert volume.spacing == (9.0, 2.0, 3.0)
    expected = numbers(volume).astype("u1")
    for channel in (0, 1):
        volume.write(whole(volume), expected[:, channel], channel)
    stored = np.asarray(zarr.open_array(tmp_path / "0", mode="r")[:])
    np.testing.assert_array_equal(stored, expected[0].transpose(0, 3, 2, 1))
    np.testing.assert_array_equal(volume.read(whole(volume), (1, 0)), expected[:, ::-1])


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_box_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    axes = data.draw(st.sampled_from(AXES))
    volume = image_of(str(tmp_path_factory.mktemp("v")), axes)
    expected = numbers(volume).astype("u1")
    for channel in range(volume.shape[1]):
        volume.write(whole(volume), expected[:, channel], channel)
    t, c, z, y, x = volume.shape
    box = []
    for n in (t, z, y, x):
        start = data.draw(st.integers(0, n - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, n))))
    channels = tuple(data.draw(st.lists(st.integers(0, c - 1), min_size=1, max_size=4)))
    found = volume.read(tuple(box), channels)
    bt, bz, by, bx = box
    np.testing.assert_array_equal(found, expected[bt][:, list(channels)][:, :, bz, by, bx])


def test_one_pixel(tmp_path: Path) -> None:
    plan = plan_image(str(tmp_path), ("y", "x"), (1, 1), "u2", (0.5, 0.5), (1, 256, 256))
    create_image(plan)
    volume = Volume.open(str(tmp_path))
    volume.write(whole(volume), np.array([[[[7]]]], "u2"))
    assert volume.read(whole(volume)).tolist() == [[[[[7]]]]]
    assert volume.spacing == (1.0, 0.5, 0.5)


def test_spacing_is_in_the_unit_of_x(tmp_path: Path) -> None:
    plan = plan_image(str(tmp_path), ("z", "y", "x"), (2, 2, 2), "u1", (900, 300, 0.3), (2, 2, 2))
    create_image(replace(plan, units={"z": "nanometer", "y": "nanometer", "x": "micrometer"}))
    assert Volume.open(str(tmp_path)).spacing == pytest.approx((0.9, 0.3, 0.3))


def test_a_volume_travels_unopened(tmp_path: Path) -> None:
    volume = image_of(str(tmp_path), "zyx")
    volume.write(whole(volume), np.ones((1, 4, 5, 6), "u1"))
    assert volume.read(whole(volume)).all()
    data = pickle.dumps(volume)
    assert b"LocalStore" not in data
    assert pickle.loads(data) == volume
    assert pickle.loads(data).read(whole(volume)).all()


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    volume = image_of(str(tmp_path), "yx", "u1")
    volume.write(whole(volume), np.full((1, 1, 5, 6), 255, "i8"))
    with pytest.raises(ImageError, match=r"Values up to 256 cannot be written to .* uint8"):
        volume.write(whole(volume), np.full((1, 1, 5, 6), 256, "i8"))
    with pytest.raises(ImageError, match=r"An array \(5, 6\) cannot be written to"):
        volume.write(whole(volume), np.zeros((5, 6), "u1"))


def test_boxes_and_channels_outside_are_refused(tmp_path: Path) -> None:
    volume = image_of(str(tmp_path), "cyx")
    t, z, y, _ = whole(volume)
    with pytest.raises(
        ImageError, match=r"is empty or reaches beyond \(t, z, y, x\) = \(1, 1, 5, 6\)"
    ):
        volume.read((t, z, y, slice(0, 7)))
    with pytest.raises(NotFound, match=r"no channel 3; it has channels 0 to 2\."):
        volume.read(whole(volume), (0, 3))


@pytest.mark.parametrize("size", [0.0, -1.0, float("inf")])
def test_voxels_without_size_are_refused(tmp_path: Path, size: float) -> None:
    plan = plan_image(str(tmp_path), ("y", "x"), (4, 4), "u1", (1.0, 1.0), (1, 4, 4))
    create_image(plan)
    attributes = zarr.open_group(tmp_path, mode="r").attrs.asdict()
    step = attributes["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]
    step["scale"] = [size if size < 1 else 1e999, 1.0]
    zarr.open_group(tmp_path, mode="r+").attrs.update(attributes)
    with pytest.raises(ImageError, match=f"give the voxels a size of {size} along y"):
        Volume.open(str(tmp_path))


def test_empty_blocks_leave_no_file(tmp_path: Path) -> None:
    volume = image_of(str(tmp_path), "yx")
    volume.write(whole(volume), np.zeros((1, 1, 5, 6), "u1"))
    assert [p.name for p in (tmp_path / "0").rglob("*")] == ["zarr.json"]
    assert not volume.read(whole(volume)).any()


def test_damaged_chunks_are_named(tmp_path: Path) -> None:
    volume = image_of(str(tmp_path), "yx")
    volume.write(whole(volume), np.ones((1, 1, 5, 6), "u1"))
    for chunk in (tmp_path / "0" / "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"x" * 100)
    with pytest.raises(ImageError, match=r"/0 cannot be read at .* the stored chunk is damaged"):
        Volume.open(str(tmp_path)).read(whole(volume))


def test_memory_urls(tmp_path: Path) -> None:
    volume = image_of(f"memory://{tmp_path.name}/a.zarr", "zyx")
    volume.write(whole(volume), np.full((1, 4, 5, 6), 3, "u1"))
    assert (Volume.open(volume.image.url).read(whole(volume)) == 3).all()
    assert replace(describe(volume.image.url), name="") == replace(volume.image, name="")
