"""The same images in a bucket, over HTTP, as on disk."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from bigseg import files
from bigseg.errors import ImageError, NotFound, OutputExists
from bigseg.io.arrays import open_labels
from bigseg.io.convert import convert
from bigseg.io.create import create_image
from bigseg.io.labels import create_labels, label_names
from bigseg.io.ome import describe
from bigseg.io.plan import plan_image, plan_labels
from bigseg.io.store import open_array, read_node, write_group
from bigseg.io.tables import read_table, write_table
from bigseg.io.validate import validate
from bigseg.io.volume import Volume


@pytest.fixture(scope="module")
def bucket(new_bucket: Callable[[str], str]) -> str:
    """A bucket of an S3 server on this machine."""
    return new_bucket("microscopy")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_and_labels_in_a_bucket(bucket: str, version: str) -> None:
    url = f"{bucket}/{version}/a.zarr"
    plan = plan_image(url, ("c", "y", "x"), (2, 300, 300), "u2", (1, 1, 1), (1, 256, 256), version)
    create_image(plan)
    create_image(plan)
    volume = Volume.open(url)
    box = (slice(0, 1), slice(0, 1), slice(0, 256), slice(0, 256))
    volume.write(box, np.full((1, 1, 256, 256), 7, "u2"), channel=1)
    assert volume.read(box, (0, 1)).max((0, 2, 3, 4)).tolist() == [0, 7]
    labels = plan_labels(plan, f"{url}/labels/cells", "u4", (1, 256, 256))
    create_labels(labels)
    Volume.open(labels.url).write(box, np.full((1, 1, 256, 256), 70_000, "u4"))
    assert label_names(url) == ["cells"]
    assert open_labels(url).values.max() == 70_000
    assert describe(url) == plan
    assert validate(url) == []


def test_conversion_into_a_bucket(bucket: str, tmp_path: Path) -> None:
    data = np.arange(30.0).reshape(5, 6)
    np.save(tmp_path / "a.npy", data)
    image = convert([str(tmp_path / "a.npy")], f"{bucket}/b.zarr")
    np.testing.assert_array_equal(zarr.open_array(f"{image.url}/0", mode="r")[:], data)
    with pytest.raises(OutputExists, match=r"s3://microscopy/b\.zarr exists already"):
        convert([str(tmp_path / "a.npy")], f"{bucket}/b.zarr")


def test_small_objects_in_a_bucket(bucket: str) -> None:
    url = f"{bucket}/run/ledger/a.json"
    assert files.names(f"{bucket}/run/ledger") == []
    assert not files.exists(url)
    files.put(url, b"{}")
    assert files.get(url) == b"{}"
    assert files.names(f"{bucket}/run/ledger") == ["a.json"]
    write_table(f"{bucket}/run/t.parquet", {"id": np.arange(3)})
    assert read_table(f"{bucket}/run/t.parquet")["id"].tolist() == [0, 1, 2]
    files.remove(f"{bucket}/run")
    assert not files.exists(url)


def test_what_a_bucket_lacks(bucket: str) -> None:
    with pytest.raises(ImageError, match=r"s3://microscopy/none\.zarr is not a zarr"):
        describe(f"{bucket}/none.zarr")
    with pytest.raises(ImageError, match=r"bucket of s3://no-such-bucket/a/zarr\.json does not"):
        describe("s3://no-such-bucket/a")


def test_an_unreachable_server_is_named() -> None:
    with pytest.raises(ImageError, match=r"http://127\.0\.0\.1:9/a/zarr\.json cannot be reached"):
        describe("http://127.0.0.1:9/a")


@pytest.mark.parametrize("format", [2, 3])
def test_groups_are_read_as_written(tmp_path: Path, format: int) -> None:
    url = str(tmp_path / "g")
    assert read_node(url) is None
    write_group(url, format, {"a": 1})
    write_group(url, format, {"b": [2.5]})
    node = read_node(url)
    assert node is not None
    assert (node.kind, node.format, node.attributes) == ("group", format, {"b": [2.5]})
    assert zarr.open_group(url, mode="r").attrs.asdict() == {"b": [2.5]}


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"There is no zarr array at .*/a\."):
        open_array(str(tmp_path / "a"))
