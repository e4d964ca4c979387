"""Whatever a model's maps mean, the same objects come out of them however the image is cut."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import bigseg
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.io.tables import read_table
from tests import models, worlds
from tests.models import WHERE, Array

IDEAL: dict[str, Any] = {"intensity": (0, 1), "cluster": "serial", "diameter": 14}


def found_by(image: str, function: str, **settings: Any) -> tuple[Array, dict[str, Any]]:
    """Labels without their axes of length 1, and the table, of a function of `tests.models`."""
    name = settings.pop("name", "cells")
    result = bigseg.segment(image, model=f"{WHERE}:{function}", name=name, **{**IDEAL, **settings})
    return worlds.read_labels(result.labels).squeeze(), read_table(result.table)


def precision(truth: Array, found: Array, iou: float = 0.75) -> float:
    return average_precision(match(*contingency(truth, found.astype(np.uint32))), iou)


def assert_ideal(image: str, function: str, truth: Array, **settings: Any) -> None:
    """Whole and in blocks: the truth, and the same."""
    whole, _ = found_by(image, function, block=(128,) * truth.ndim, **settings)
    parts, table = found_by(image, function, block=(32,) * truth.ndim, name="parts", **settings)
    assert precision(truth, whole) >= 0.95
    assert worlds.same_partition(whole, parts)
    assert (table["parts"] > 1).any()


def test_flows_are_the_same_whatever_the_blocks(tmp_path: Path) -> None:
    truth = models.discs(touching=True)
    image = models.image_of(tmp_path, models.flow_maps(truth))
    assert_ideal(image, "flows", truth, channels=(0, 1, 2))


def test_hover_maps_are_the_same_whatever_the_blocks(tmp_path: Path) -> None:
    truth = models.discs(touching=True)
    image = models.image_of(tmp_path, models.hover_maps(truth))
    assert_ideal(image, "hover", truth, channels=(0, 1, 2))


@pytest.mark.parametrize(("classes", "function"), [(2, "two"), (3, "three")])
@pytest.mark.parametrize(("ndim", "edge"), [(2, 120), (3, 48)])
def test_borders_are_the_same_whatever_the_blocks(
    tmp_path: Path, classes: int, function: str, ndim: int, edge: int
) -> None:
    truth = models.discs(edge, ndim, touching=classes == 3 and ndim == 2)
    image = models.image_of(tmp_path, models.border_maps(truth, classes))
    assert_ideal(image, function, truth, channels=tuple(range(classes)))


@pytest.mark.parametrize(("ndim", "edge"), [(2, 120), (3, 48)])
def test_labels_are_the_same_whatever_the_blocks(tmp_path: Path, ndim: int, edge: int) -> None:
    truth = models.discs(edge, ndim)
    assert_ideal(models.grey_image(tmp_path, truth), "components", truth)


def test_hover_maps_of_a_volume_are_plane_by_plane(tmp_path: Path) -> None:
    truth = models.discs(touching=True)
    maps = np.stack([models.hover_maps(truth), models.hover_maps(truth.T)], 1)
    image = models.image_of(tmp_path, maps)
    found, table = found_by(image, "hover", channels=(0, 1, 2), dims="2d")
    assert precision(truth, found[0]) >= 0.95
    assert precision(truth.T, found[1]) >= 0.95
    assert set(table["z0"]) == {0, 1}
    with pytest.raises(bigseg.errors.SpecError, match="hover maps, which exist in planes only"):
        found_by(image, "hover", channels=(0, 1, 2), name="deep")


def class_maps(truth: Array, chosen: Array) -> Array:
    """Maps of objects whose voxels have the classes `chosen` (y, x)."""
    logits = [models.sure(chosen == number) for number in range(int(chosen.max()) + 1)]
    return np.concatenate([models.flow_maps(truth), logits])


@pytest.mark.parametrize("classes", [2, 3])
def test_an_object_has_the_class_of_most_of_its_voxels(tmp_path: Path, classes: int) -> None:
    truth = models.discs(touching=True)
    kind = np.where(truth > 0, 1 + truth % (classes - 1), 0)
    left = np.indices(truth.shape)[1] % 14 < 5  # a strip of each object is of another class
    kind[(truth > 0) & left & (kind == classes - 1)] = 1
    image = models.image_of(tmp_path, class_maps(truth, kind))
    function = {2: "flows_two_classes", 3: "flows_three_classes"}[classes]
    settings = {"channels": tuple(range(3 + classes))}
    whole, first = found_by(image, function, block=(128, 128), **settings)
    parts, second = found_by(image, function, block=(32, 32), name="parts", **settings)
    assert precision(truth, parts) >= 0.95
    expected = [np.bincount(kind[parts == i]).argmax() for i in second["id"]]
    assert second["class"].tolist() == expected
    ids = [parts[whole == i].max() for i in first["id"]]
    assert second["class"][np.array(ids) - 1].tolist() == first["class"].tolist()
    assert len(set(expected)) == classes - 1


def test_a_cut_object_has_one_class_and_background_objects_go(tmp_path: Path) -> None:
    truth = np.zeros((96, 96), np.uint32)
    truth[40:56, 20:44], truth[70:90, 20:44] = 1, 2
    kind = np.zeros_like(truth)
    kind[:, :35], kind[:, 35:] = 1, 2  # a block that begins at 32 sees more of class 2
    kind[(truth == 2) & (np.indices(truth.shape)[1] < 36)] = 0
    image = models.image_of(tmp_path, class_maps(truth, kind))
    for block in (128, 32):
        labels, table = found_by(
            image,
            "flows_three_classes",
            channels=tuple(range(6)),
            block=(block, block),
            name=f"by{block}",
            halo=32,
        )
        assert table["class"].tolist() == [1]
        assert (labels[40:56, 20:44] == 1).mean() > 0.95
        assert not labels[70:90].any()


def test_a_single_class_says_nothing_and_drops_nothing(tmp_path: Path) -> None:
    truth = models.discs(60)
    maps = class_maps(truth, np.zeros_like(truth))
    image = models.image_of(tmp_path, maps)
    found, table = found_by(image, "flows_one_class", channels=(0, 1, 2, 3))
    assert precision(truth, found) >= 0.95
    assert "class" not in table


def test_flips_leave_what_turns_with_the_image_as_it_is(tmp_path: Path) -> None:
    hills = ndimage.gaussian_filter(models.discs(60).astype(bool).astype(np.float32), 2)
    image = worlds.make_image(f"{tmp_path}/image.zarr", hills, "yx").image.url
    plain, _ = found_by(image, "slopes", flow_threshold=0)
    turned, _ = found_by(image, "slopes", flow_threshold=0, flips=True, name="flips")
    assert plain.max() >= 9
    np.testing.assert_array_equal(plain, turned)


def test_a_python_callable_is_a_model(tmp_path: Path) -> None:
    truth = models.discs(60)
    image = models.grey_image(tmp_path, truth)
    result = bigseg.segment(image, model=models.components, **IDEAL)
    assert precision(truth, worlds.read_labels(result.labels).squeeze()) == 1


@pytest.mark.parametrize("function", [lambda tiles: tiles, len.__call__, partial(max)])
def test_a_callable_that_workers_cannot_import_is_refused(tmp_path: Path, function: Any) -> None:
    with pytest.raises(bigseg.errors.SpecError, match="cannot be found by workers"):
        bigseg.segment(str(tmp_path / "image.zarr"), model=function)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("part", r"made int64 labels of shape \(5, 5\); expected integers of shape \(60, 60\)"),
        ("fractions", r"made float32 labels of shape \(60, 60\); expected integers"),
        ("negative", r"made int64 labels .* that are not negative"),
        ("one_map", r"made maps of shape \(1, 1, .*expected \(1, 3, "),
        ("unknown", "made values that are no numbers"),
    ],
)
def test_what_a_function_must_not_make_is_refused(
    tmp_path: Path, function: str, message: str
) -> None:
    image = models.grey_image(tmp_path, models.discs(60))
    with pytest.raises(bigseg.errors.BlocksFailed, match=f"Model '{WHERE}:{function}' {message}"):
        found_by(image, function)


def test_a_function_gets_only_tiles_of_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = models.discs(touching=True)
    image = models.image_of(tmp_path, models.flow_maps(truth))
    monkeypatch.setattr(models, "shapes", [])
    found, _ = found_by(image, "square", channels=(0, 1, 2))
    assert precision(truth, found) >= 0.95
    assert {shape[1:] for shape in models.shapes} == {(3, 64, 64)}
