"""What is wrong with an image, each in a sentence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from bigseg.io.create import create_arrays, create_image, publish
from bigseg.io.labels import create_labels, register_labels
from bigseg.io.ome import Image
from bigseg.io.plan import plan_image, plan_labels
from bigseg.io.validate import validate

BLOCK = (1, 64, 64)


def image_at(path: Path, version: str = "0.5") -> Image:
    plan = plan_image(str(path), ("y", "x"), (600, 300), "u2", (1.0, 1.0), BLOCK, version)
    create_image(plan)
    return plan


def change(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Edit the attributes of a group in place."""
    file = path / "zarr.json" if (path / "zarr.json").exists() else path / ".zattrs"
    content = json.loads(file.read_text())
    edit(content["attributes"]["ome"] if file.name == "zarr.json" else content)
    file.write_text(json.dumps(content))


def scale_of(attributes: dict[str, Any], level: int) -> list[float]:
    steps = attributes["multiscales"][0]["datasets"][level]["coordinateTransformations"]
    scale: list[float] = steps[0]["scale"]
    return scale


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_we_write_is_valid(tmp_path: Path, version: str) -> None:
    image = image_at(tmp_path, version)
    create_labels(plan_labels(image, f"{tmp_path}/labels/cells", "u4", BLOCK))
    assert validate(str(tmp_path)) == validate(f"{tmp_path}/labels/cells") == []


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("size", [0.0, -2.0])
def test_sizes_must_be_positive(tmp_path: Path, version: str, size: float) -> None:
    image_at(tmp_path, version)
    change(tmp_path, lambda a: scale_of(a, 0).__setitem__(1, size))
    assert f"Level '0' has a scale of {size} along x; it must be above 0." in validate(
        str(tmp_path)
    )


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_units_have_names(tmp_path: Path, version: str) -> None:
    image_at(tmp_path, version)

    def edit(attributes: dict[str, Any]) -> None:
        y, x = attributes["multiscales"][0]["axes"]
        y["unit"], x["unit"] = "um", "second"

    change(tmp_path, edit)
    assert validate(str(tmp_path)) == [
        "Axis y has the non-standard unit 'um'; NGFF calls it 'micrometer'.",
        "Axis x has the non-standard unit 'second'.",
    ]


def test_dots_between_chunk_numbers(tmp_path: Path) -> None:
    image = replace(image_at(tmp_path / "a", "0.4"), url=str(tmp_path / "b"))
    for level in image.levels:
        zarr.create_array(
            tmp_path / "b" / level.path, shape=level.shape, dtype="u2", zarr_format=2,
            chunk_key_encoding={"name": "v2", "separator": "."},
        )  # fmt: skip
    publish(image)
    first, *_ = validate(image.url)
    assert first == ("Level '0' separates the numbers of its chunks by '.'; NGFF 0.4 wants '/'.")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_must_fit_their_image(tmp_path: Path, version: str) -> None:
    image = image_at(tmp_path, version)
    plan = plan_labels(image, f"{tmp_path}/labels/cells", "u4", BLOCK)
    small = replace(plan.levels[0], shape=(600, 299))
    create_labels(replace(plan, levels=(small, plan.levels[1])))
    assert validate(str(tmp_path)) == [
        "Labels 'cells' have 2 levels, the image has 3.",
        "Labels 'cells' are 299 voxels long along x, the image 300.",
    ]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_must_be_integers(tmp_path: Path, version: str) -> None:
    plan = plan_labels(image_at(tmp_path, version), f"{tmp_path}/labels/cells", "u4", BLOCK)
    floats = replace(plan, dtype=np.dtype("f4"))
    create_arrays(floats)
    publish(floats, {"image-label": {}})
    register_labels(f"{tmp_path}/labels", "cells", plan.version)
    sentence = f"Labels must be integers; {plan.url} holds float32."
    assert validate(str(tmp_path)) == validate(plan.url) == [sentence]


def test_listed_labels_must_exist(tmp_path: Path) -> None:
    image_at(tmp_path)
    register_labels(f"{tmp_path}/labels", "ghost", "0.5")
    assert validate(str(tmp_path)) == [f"There is nothing at {tmp_path}/labels/ghost."]


def test_a_damaged_list_of_labels_is_named(tmp_path: Path) -> None:
    image_at(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/zarr.json").write_text("{")
    (problem,) = validate(str(tmp_path))
    assert problem.startswith(f"{tmp_path}/labels/zarr.json is not JSON")


def test_channel_names_must_match(tmp_path: Path) -> None:
    image_at(tmp_path)
    channels = [{"label": str(i), "color": "FFFFFF", "window": {}} for i in range(2)]
    change(tmp_path, lambda a: a.update(omero={"channels": channels}))
    assert "The omero metadata name 2 channels, the image has 1." in validate(str(tmp_path))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_library_is_asked_too(tmp_path: Path, version: str) -> None:
    image_at(tmp_path, version)
    change(tmp_path, lambda a: scale_of(a, 0).__setitem__(1, 100.0))
    (problem,) = validate(str(tmp_path))
    assert "Dataset 0 has a lower resolution" in problem


def test_what_is_no_image_has_one_problem(tmp_path: Path) -> None:
    assert validate(str(tmp_path / "gone")) == [f"There is nothing at {tmp_path}/gone."]
