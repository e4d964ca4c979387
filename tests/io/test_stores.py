"""What keeps stores safe: whole objects, at once, by zarr's own hands, and on the disk."""

import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline

from bigseg import files
from bigseg.errors import ImageError
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.store import open_array, open_store, own_pipeline
from bigseg.io.volume import Volume

ALL = (slice(0, 1), slice(0, 1), slice(0, 96), slice(0, 96))


class InPlace(BatchedCodecPipeline):
    """Stands for that of zarrs."""


@pytest.fixture
def image(tmp_path: Path) -> Volume:
    plan = plan_image(str(tmp_path / "a.zarr"), ("y", "x"), (96, 96), "u1", (1, 1), (1, 64, 64))
    create_image(plan)
    return Volume.open(plan.url)


@pytest.mark.parametrize("y", [(0, 32), (32, 96), (1, 64), (0, 65)])
def test_tasks_write_whole_objects_only(image: Volume, y: tuple[int, int]) -> None:
    box = (slice(0, 1), slice(0, 1), slice(*y), slice(64, 96))
    with pytest.raises(ImageError, match=r"cuts stored objects of .*a.zarr/0, .*whole ones only"):
        image.write(box, np.ones((1, 1, y[1] - y[0], 32), "u1"))
    assert not image.read(ALL).any()


def test_objects_at_the_edge_are_whole_although_they_are_small(image: Volume) -> None:
    image.write((*ALL[:2], slice(64, 96), slice(64, 96)), np.ones((1, 1, 32, 32), "u1"))
    assert image.read(ALL).sum() == 32 * 32


def test_objects_of_several_channels_are_nobodys(tmp_path: Path) -> None:
    url = str(tmp_path / "a.zarr")
    create_image(plan_image(url, ("c", "y", "x"), (2, 8, 8), "u1", (1, 1, 1), (1, 8, 8)))
    array = zarr.create_array(f"{url}/0", shape=(2, 8, 8), chunks=(2, 8, 8), dtype="u1",
                              overwrite=True)  # fmt: skip
    assert array.chunks == (2, 8, 8)
    with pytest.raises(ImageError, match=r"of 2 channel\(s\); tasks write whole ones only"):
        Volume.open(url).write((*ALL[:2], slice(0, 8), slice(0, 8)), np.ones((1, 1, 8, 8), "u1"))


def test_zarrs_own_pipeline_writes_whatever_the_user_has_chosen(image: Volume) -> None:
    register_pipeline(InPlace)
    url = files.join(image.image.url, "0")
    chosen = {"codec_pipeline.path": f"{InPlace.__module__}.{InPlace.__name__}"}
    with zarr.config.set(chosen):
        read, write = open_array(url), open_array(url, write=True)
        assert zarr.config.get("codec_pipeline.path") == chosen["codec_pipeline.path"]
    assert isinstance(read._async_array.codec_pipeline, InPlace)
    assert not isinstance(write._async_array.codec_pipeline, InPlace)
    assert type(write._async_array.codec_pipeline).__name__ == own_pipeline().rpartition(".")[2]


def test_a_failed_write_leaves_the_old_chunk(
    image: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = (*ALL[:2], slice(0, 64), slice(0, 64))
    image.write(ALL, np.ones((1, 1, 96, 96), "u1"))
    names = sorted(path.name for path in Path(image.image.url).rglob("*"))

    def fail(_: int) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="disk full"):
            image.write(box, np.full((1, 1, 64, 64), 2, "u1"))
    assert (Volume.open(image.image.url).read(ALL) == 1).all()
    assert sorted(path.name for path in Path(image.image.url).rglob("*")) == names


def test_stores_of_other_protocols_are_read_and_written() -> None:
    url = "memory://stores/a.zarr"
    create_image(plan_image(url, ("y", "x"), (96, 96), "u1", (1, 1), (1, 64, 64)))
    Volume.open(url).write(ALL, np.ones((1, 1, 96, 96), "u1"))
    assert (Volume.open(url).read(ALL) == 1).all()
    assert open_store(url).read_only
