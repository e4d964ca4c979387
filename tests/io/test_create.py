"""Creating images: what was planned is what is read, and nothing is ever overwritten."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import zarr

from bigseg.errors import OutputExists
from bigseg.io.create import create_arrays, create_image
from bigseg.io.ome import Image, describe
from bigseg.io.plan import plan_image
from bigseg.io.scratch import create_scratch, scratch
from bigseg.io.validate import validate


def plan_at(path: Path, version: str = "0.5") -> Image:
    plan = plan_image(
        str(path),
        ("c", "z", "y", "x"),
        (2, 9, 300, 300),
        "u2",
        (1.0, 2.0, 0.3, 0.3),
        (9, 256, 256),
        version,
    )
    units = {"z": "micrometer", "y": "micrometer", "x": "micrometer"}
    return replace(plan, units=units, channels=("DAPI", "GFP"), name="embryo")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_is_planned_is_described(tmp_path: Path, version: str) -> None:
    plan = plan_at(tmp_path / "a.zarr", version)
    create_image(plan)
    assert describe(plan.url) == plan
    assert validate(plan.url) == []


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_repeating_is_harmless(tmp_path: Path, version: str) -> None:
    plan = plan_at(tmp_path, version)
    create_image(plan)
    array = zarr.open_array(tmp_path / "0", mode="r+")
    array[0, :, :5, :5] = 7
    create_image(plan)
    assert (zarr.open_array(tmp_path / "0", mode="r")[0, :, :5, :5] == 7).all()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_interrupted_creation_goes_on(tmp_path: Path, version: str) -> None:
    plan = plan_at(tmp_path, version)
    create_arrays(replace(plan, levels=plan.levels[:1]))
    create_image(plan)
    assert describe(plan.url) == plan


def test_another_image_is_not_overwritten(tmp_path: Path) -> None:
    plan = plan_at(tmp_path)
    create_image(plan)
    with pytest.raises(OutputExists, match="exists already and differs from what would be written"):
        create_image(replace(plan, name="other"))
    assert describe(plan.url) == plan


def test_foreign_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(OutputExists, match="exists already"):
        create_image(plan_at(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_another_array_is_not_overwritten(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "0", shape=(3, 3), dtype="u1")
    with pytest.raises(OutputExists, match="/0 exists already and differs"):
        create_image(plan_at(tmp_path))


def test_codecs_and_keys(tmp_path: Path) -> None:
    create_image(plan_at(tmp_path / "new"))
    create_image(plan_at(tmp_path / "old", "0.4"))
    new = json.loads((tmp_path / "new/0/zarr.json").read_text())
    (shard,) = new["codecs"]
    assert shard["name"] == "sharding_indexed"
    assert shard["configuration"]["codecs"][1]["configuration"]["cname"] == "zstd"
    assert new["dimension_names"] == ["c", "z", "y", "x"]
    old = json.loads((tmp_path / "old/0/.zarray").read_text())
    assert (old["dimension_separator"], old["compressor"]["id"]) == ("/", "blosc")


def test_tasks_may_create_the_same_arrays_at_the_same_moment(tmp_path: Path) -> None:
    plan = plan_image(str(tmp_path / "a.zarr"), ("y", "x"), (64, 64), "u4", (1.0, 1.0), (1, 32, 32))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: create_arrays(plan, labels=True), range(16)))
        url = str(tmp_path / "scratch")
        list(pool.map(lambda _: create_scratch(url, (8, 8), (4, 4), "u1"), range(16)))
    assert scratch(url).shape == (8, 8)
