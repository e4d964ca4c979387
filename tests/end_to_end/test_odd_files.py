"""Whatever an image looks like, it runs through, and what comes out is a valid label image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr_models import open_ome_zarr
from skimage.measure import regionprops

from bigseg.io.ome import describe
from bigseg.io.store import write_group
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.jobs import segment as pipeline
from tests.worlds import ball, make_image, read_labels

UNITS = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
KINDS = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
SCALE = {"t": 3.0, "c": 1.0, "z": 0.5, "y": 0.5, "x": 0.5}
LENGTH = {"t": 2, "c": 2, "z": 12, "y": 40, "x": 40}


def picture(axes: str, **length: int) -> np.ndarray:
    """Bright balls on a dim ground, 0 to 1, in the same places along t and c."""
    size = {**LENGTH, **length}
    space = [a for a in "zyx" if a in axes]
    shape = tuple(size[a] for a in space)
    view = np.full(shape, 0.1)
    centres = {"z": (6, 5, 6), "y": (10, 30, 31), "x": (10, 10, 30)}
    for number in range(3):
        centre = tuple(centres[a][number] for a in space)
        view[ball(shape, centre, 7)] = 0.8
    view += np.random.default_rng(0).normal(0, 0.02, shape)
    whole = tuple(size[a] for a in axes)
    lead = len(axes) - len(space)
    return np.broadcast_to(view.reshape((1,) * lead + shape), whole).clip(0, 1)


def as_dtype(view: np.ndarray, dtype: str) -> np.ndarray:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (view * 3e-4).astype(kind)
    top = {1: 250, 2: 3000, 4: 100_000}[kind.itemsize]
    return (view * top - (top // 2 if kind.kind == "i" else 0)).astype(kind)


def store(url: str, data: np.ndarray, axes: str, version: str, **storage: Any) -> None:
    """Write an image in an ordinary way, by zarr alone."""
    three = version == "0.5"
    array = zarr.create_array(
        f"{url}/0",
        shape=data.shape,
        dtype=data.dtype,
        zarr_format=3 if three else 2,
        **{"chunks": tuple(min(n, 32) for n in data.shape), **storage},
    )
    array[...] = data
    about = [{"name": a, "type": KINDS[a]} | ({"unit": UNITS[a]} if a != "c" else {}) for a in axes]
    scale = [{"type": "scale", "scale": [SCALE[a] for a in axes]}]
    multiscale = {"axes": about, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    if three:
        write_group(url, 3, {"ome": {"version": version, "multiscales": [multiscale]}})
    else:
        write_group(url, 2, {"multiscales": [{"version": version, **multiscale}]})


def segment(url: str, **settings: Any) -> np.ndarray:
    """Segment an image and hold the result to all that is promised of any."""
    usual = {"block": (24, 24), "halo": 24, "cluster": "serial", "model": "nuclei"}
    result = pipeline.segment(url, **{**usual, **settings})
    labels = read_labels(result.labels)
    image, made = describe(url), describe(result.labels)
    kept = [i for i, axis in enumerate(image.axes) if axis != "c"]
    assert made.axes == tuple(image.axes[i] for i in kept)
    assert made.levels[0].scale == tuple(image.levels[0].scale[i] for i in kept)
    assert made.units == {a: u for a, u in image.units.items() if a != "c"}
    group = open_ome_zarr(result.labels, version=made.version)
    about = group.attributes.ome if made.version == "0.5" else group.attributes
    assert about.image_label is not None
    np.testing.assert_array_equal(np.setdiff1d(labels, [0]), np.arange(1, result.objects + 1))
    hold_table_to(labels, dict(read_table(result.table)), Volume.open(url).spacing)
    return labels


def hold_table_to(labels: np.ndarray, table: dict[str, Any], spacing: tuple[float, ...]) -> None:
    """Compare every row with what is measured in the labels."""
    props = [(t, p) for t, frame in enumerate(labels) for p in regionprops(frame.astype(int))]
    props.sort(key=lambda one: one[1].label)
    assert table["id"].tolist() == [p.label for _, p in props]
    assert table["frame"].tolist() == [t for t, _ in props]
    assert table["voxels"].tolist() == [p.area for _, p in props]
    boxes = np.stack([table[name] for name in ("z0", "y0", "x0", "z1", "y1", "x1")], 1)
    centres = np.stack([table[name] for name in "zyx"], 1)
    assert boxes.tolist() == [list(p.bbox) for _, p in props]
    for row, (_, p) in enumerate(props):
        np.testing.assert_allclose(centres[row], p.centroid)
        assert table["centroid_x"][row] == pytest.approx(p.centroid[2] * spacing[2])


@pytest.mark.parametrize("axes", ["yx", "cyx", "tyx", "zyx", "czyx", "tczyx"])
def test_axes(tmp_path: Path, axes: str) -> None:
    url = f"{tmp_path}/image.zarr"
    store(url, as_dtype(picture(axes), "uint8"), axes, "0.5")
    labels = segment(url, dims="2d" if axes == "czyx" else None)
    assert all(frame.any() for frame in labels)


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "uint16", "uint32", "int16", "int32", "float32", "float64", ">u2", ">i2", ">f4"],
)
def test_dtypes(tmp_path: Path, dtype: str) -> None:
    url = f"{tmp_path}/image.zarr"
    store(url, as_dtype(picture("yx"), dtype), "yx", "0.4")
    assert len(np.unique(segment(url))) == 4


@pytest.mark.parametrize(
    ("version", "storage"),
    [
        ("0.4", {"chunk_key_encoding": {"name": "v2", "separator": "/"}}),
        ("0.5", {"chunks": (8, 14), "shards": (24, 28)}),
        ("0.5", {"chunks": (48, 56)}),
    ],
)
def test_storage(tmp_path: Path, version: str, storage: dict[str, Any]) -> None:
    url = f"{tmp_path}/image.zarr"
    store(url, as_dtype(picture("yx"), "uint16"), "yx", version, **storage)
    assert len(np.unique(segment(url, block=(17, 31)))) == 4


def test_the_second_channel_by_number(tmp_path: Path) -> None:
    url = f"{tmp_path}/image.zarr"
    data = as_dtype(picture("cyx"), "uint8")
    data[0] = 7
    store(url, data, "cyx", "0.5")
    assert not segment(url).any()
    assert len(np.unique(segment(url, channels=(1,), name="second"))) == 4


def test_flat_voxels(tmp_path: Path) -> None:
    url = f"{tmp_path}/image.zarr"
    data = as_dtype(picture("zyx")[::3], "uint8")
    make_image(url, data, "zyx", (1.5, 0.5, 0.5))
    labels = segment(url, block=(16, 24, 24))
    assert labels.any()


@pytest.mark.parametrize("dims", ["2d", "3d"])
def test_half_a_volume_is_empty(tmp_path: Path, dims: str) -> None:
    url = f"{tmp_path}/image.zarr"
    data = np.concatenate([as_dtype(picture("zyx"), "uint8"), np.zeros((12, 40, 40), "u1")])
    make_image(url, data, "zyx")
    labels = segment(url, dims=dims, block=(16, 24, 24))
    assert labels[:, :12].any()
    assert not labels[:, 14:].any()


@pytest.mark.parametrize(
    "shape", [(1, 40), (40, 1), (1, 1), (3, 5), (17, 16), (2, 1, 30), (30, 1, 1), (2, 2, 2)]
)
def test_hardly_any_voxels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    url = f"{tmp_path}/image.zarr"
    data = np.random.default_rng(1).integers(0, 200, shape).astype("u1")
    store(url, data, "zyx"[3 - len(shape) :], "0.5")
    segment(url, block=(16,) * max(2, min(len(shape), 3)))


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_holds_nothing(tmp_path: Path, value: int) -> None:
    url = f"{tmp_path}/image.zarr"
    store(url, np.full((40, 50), value, "u1"), "yx", "0.5")
    assert not segment(url).any()


def test_values_that_are_no_numbers_are_background(tmp_path: Path) -> None:
    url = f"{tmp_path}/image.zarr"
    data = as_dtype(picture("yx"), "float32")
    data[:3], data[3:5, :9] = np.nan, np.inf
    store(url, data, "yx", "0.5")
    labels = segment(url)
    assert len(np.unique(labels)) == 4
    assert not labels[0, 0, :3].any()


def test_an_object_larger_than_blocks_is_one(tmp_path: Path) -> None:
    url = f"{tmp_path}/image.zarr"
    data = np.where(ball((64, 64), (32, 32), 22), 200, 20).astype("u1")
    store(url, data, "yx", "0.5")
    labels = segment(url, block=(16, 16), halo=48, diameter=44)
    whole = segment(url, block=(64, 64), halo=48, diameter=44, name="whole")
    np.testing.assert_array_equal(labels > 0, whole > 0)
    assert len(np.unique(labels)) == len(np.unique(whole))


def test_another_diameter_another_level(tmp_path: Path) -> None:
    url = f"{tmp_path}/image.zarr"
    make_image(url, as_dtype(picture("yx"), "uint8"), "yx")
    assert len(np.unique(segment(url, diameter=16))) == 4
    assert len(np.unique(segment(url, diameter=20, name="other"))) == 4
