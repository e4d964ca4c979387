"""Label images: listed without losing any, and found again."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from bigseg.errors import ImageError, NotFound, OutputExists
from bigseg.io.create import create_image
from bigseg.io.labels import (
    create_labels,
    find_labels,
    label_names,
    register_labels,
    unregister_labels,
)
from bigseg.io.ome import Image
from bigseg.io.plan import plan_image, plan_labels, with_version
from bigseg.io.validate import validate


def image_at(path: Path, version: str = "0.5", dtype: str = "u2", axes: str = "yx") -> Image:
    n = len(axes)
    plan = plan_image(str(path), tuple(axes), (300,) * n, dtype, (1.0,) * n, (1, 64, 64), version)
    create_image(plan)
    return plan


def labels_of(image: Image, name: str) -> Image:
    plan = plan_labels(image, f"{image.url}/labels/{name}", "u4", (1, 64, 64))
    create_labels(plan)
    return plan


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_listed_and_valid(tmp_path: Path, version: str) -> None:
    image = image_at(tmp_path, version)
    cells = labels_of(image, "cells")
    labels_of(image, "nuclei")
    assert label_names(image.url) == ["cells", "nuclei"]
    assert validate(image.url) == validate(cells.url) == []
    attributes = zarr.open_group(cells.url, mode="r").attrs.asdict()
    label = attributes.get("ome", attributes)["image-label"]
    assert label["source"] == {"image": "../../"}


def test_repeating_is_harmless(tmp_path: Path) -> None:
    image = image_at(tmp_path)
    create_labels(labels_of(image, "cells"))
    assert label_names(image.url) == ["cells"]


def test_another_label_image_is_not_overwritten(tmp_path: Path) -> None:
    plan = labels_of(image_at(tmp_path), "cells")
    with pytest.raises(OutputExists, match="labels/cells exists already"):
        create_labels(replace(plan, units={"x": "nanometer"}))


def test_codec_of_labels_is_plain_zstd(tmp_path: Path) -> None:
    new, old = image_at(tmp_path / "n"), image_at(tmp_path / "o", "0.4")
    three = json.loads(Path(labels_of(new, "a").url, "0/zarr.json").read_text())
    assert three["codecs"][1] == {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
    two = json.loads(Path(labels_of(old, "a").url, "0/.zarray").read_text())
    assert (two["compressor"]["id"], two["compressor"]["level"]) == ("zstd", 1)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_other_attributes_of_the_list_survive(tmp_path: Path, version: str) -> None:
    image = image_at(tmp_path, version)
    labels_of(image, "cells")
    group = zarr.open_group(tmp_path / "labels", mode="r+")
    group.attrs["lab"] = "ours"
    labels_of(image, "nuclei")
    unregister_labels(f"{image.url}/labels", "cells")
    assert zarr.open_group(tmp_path / "labels", mode="r").attrs["lab"] == "ours"
    assert label_names(image.url) == ["nuclei"]


def test_many_at_once_lose_none(tmp_path: Path) -> None:
    folder, names = str(tmp_path / "labels"), [f"n{i}" for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: register_labels(folder, name, "0.5"), names))
    assert sorted(label_names(str(tmp_path))) == sorted(names)


def test_a_damaged_list_is_not_replaced(tmp_path: Path) -> None:
    image = image_at(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/zarr.json").write_text("{")
    with pytest.raises(ImageError, match=r"labels/zarr\.json is not JSON"):
        labels_of(image, "cells")
    assert (tmp_path / "labels/zarr.json").read_text() == "{"


def test_labels_are_integers_without_channels(tmp_path: Path) -> None:
    image = image_at(tmp_path)
    with pytest.raises(ImageError, match=r"need an integer type and no channels; .* float32"):
        create_labels(replace(image, url=f"{tmp_path}/n", dtype=np.dtype("f4")))


def test_labels_have_the_version_of_their_image(tmp_path: Path) -> None:
    image = image_at(tmp_path, "0.4")
    plan = plan_labels(image, f"{image.url}/labels/n", "u4", (1, 64, 64))
    with pytest.raises(ImageError, match=r"is zarr v2, so labels/n must be NGFF 0\.4, not 0\.5"):
        create_labels(with_version(plan, "0.5", (1, 64, 64)))
    assert not (tmp_path / "labels").exists()


def test_labels_of_their_own_need_no_source(tmp_path: Path) -> None:
    plan = plan_labels(image_at(tmp_path / "a"), str(tmp_path / "b"), "u4", (1, 64, 64))
    create_labels(plan, source=None)
    assert find_labels(plan.url) == plan.url
    assert validate(plan.url) == []
    assert label_names(str(tmp_path / "a")) == []


def test_the_only_labels_are_found(tmp_path: Path) -> None:
    cells = labels_of(image_at(tmp_path), "cells")
    assert find_labels(str(tmp_path)) == cells.url
    assert find_labels(f"{tmp_path}/labels") == cells.url
    assert find_labels(cells.url) == cells.url


def test_which_labels_must_be_said(tmp_path: Path) -> None:
    image = image_at(tmp_path)
    labels_of(image, "cells")
    labels_of(image, "nuclei")
    with pytest.raises(ImageError, match="label images cells, nuclei; name one of them"):
        find_labels(image.url)


def test_a_mask_is_labels_and_an_image_is_not(tmp_path: Path) -> None:
    mask = image_at(tmp_path / "mask")
    assert find_labels(mask.url) == mask.url
    for name, dtype, axes in (("f", "f4", "yx"), ("c", "u2", "cyx")):
        image = image_at(tmp_path / name, dtype=dtype, axes=axes)
        with pytest.raises(ImageError, match="holds no labels: it has no label images"):
            find_labels(image.url)
    with pytest.raises(NotFound, match="There is nothing at"):
        find_labels(str(tmp_path / "gone"))
