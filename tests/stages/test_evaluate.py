"""Scores made block by block are those of the whole image in memory."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from bigseg.core.metrics import Scores, score
from bigseg.core.overlap import contingency
from bigseg.errors import ImageError, NotFound
from bigseg.io.create import create_image
from bigseg.io.labels import create_labels
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.stages.evaluate import evaluate, evaluation_url, remember

BLOCK = (1, 4, 7, 9)


def blobs(seed: int, shape: tuple[int, ...]) -> Any:
    """Labels in boxes of 6, shifted and dropped at random."""
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for number in range(1, 40):
        at = [int(random.integers(0, n)) for n in shape]
        labels[tuple(slice(a, a + 6) for a in at)] = number
    return labels


def label_image(url: Path, array: Any, axes: str, version: Any = "0.5") -> str:
    plan = plan_image(
        str(url), tuple(axes), array.shape, array.dtype, (1.0,) * array.ndim, (4, 8, 8), version
    )
    create_labels(plan, None)
    volume = Volume(plan, 0)
    t, _, z, y, x = volume.shape
    whole = tuple(slice(0, n) for n in (t, z, y, x))
    volume.write(whole, array.reshape(t, z, y, x))
    return str(url)


def expected(prediction: Any, truth: Any) -> Any:
    return pytest.approx(scores(score(*contingency(prediction, truth))), nan_ok=True)


def scores(found: Scores) -> dict[str, Any]:
    """Flat numbers, which pytest compares with tolerance."""
    names = [field.name for field in dataclasses.fields(Scores)]
    return {f"{n} {i}": v for n in names for i, v in enumerate(np.atleast_1d(getattr(found, n)))}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_give_the_scores_of_the_whole(tmp_path: Path, version: str, workers: int) -> None:
    ours, theirs = blobs(1, (9, 20, 30)), blobs(2, (9, 20, 30))
    theirs[:, :10] = ours[:, :10]
    a = label_image(tmp_path / "a.zarr", ours, "zyx", version)
    b = label_image(tmp_path / "b.zarr", theirs, "zyx")
    found = evaluate(a, b, workers=workers, block=BLOCK)
    assert scores(found) == expected(ours, theirs)
    assert scores(evaluate(a, b)) == expected(ours, theirs)
    assert 0 < found.average_precision[0] < 1


def test_truth_may_be_a_tiff_or_a_plain_array_without_axes(tmp_path: Path) -> None:
    ours, theirs = blobs(1, (9, 20, 30)), blobs(2, (9, 20, 30)).astype(np.uint16)
    a = label_image(tmp_path / "a.zarr", ours, "zyx")
    tifffile.imwrite(tmp_path / "mask.tif", theirs)
    tifffile.imwrite(tmp_path / "frames.tif", theirs, imagej=True, metadata={"axes": "TYX"})
    zarr.create_array(str(tmp_path / "plain"), data=theirs, zarr_format=2)
    np.save(tmp_path / "mask.npy", theirs)
    for name in ("mask.tif", "frames.tif", "plain", "mask.npy"):
        found = evaluate(a, str(tmp_path / name), block=BLOCK, workers=2)
        assert scores(found) == expected(ours, theirs), name
    found = evaluate(str(tmp_path / "mask.npy"), a, workers=1)
    assert scores(found) == expected(theirs, ours)


def test_frames_are_scored_one_by_one_unless_ids_are_tracked(tmp_path: Path) -> None:
    theirs = np.zeros((3, 8, 8), np.uint32)
    theirs[:, 2:6, 2:6] = 7
    ours = theirs.copy()
    ours[1], ours[2] = np.where(theirs[1], 9, 0), np.where(theirs[2], 12, 0)
    a = label_image(tmp_path / "a.zarr", ours, "tyx")
    b = label_image(tmp_path / "b.zarr", theirs, "tyx")
    each = evaluate(a, b)
    assert (each.predicted, each.true, each.true_positives) == (3, 3, (3, 3, 3))
    whole = evaluate(a, b, across_frames=True)
    assert (whole.predicted, whole.true, whole.true_positives) == (3, 1, (0, 0, 0))
    assert scores(whole) == expected(ours, theirs)


def test_a_perfect_copy_and_nothing_at_all(tmp_path: Path) -> None:
    labels = blobs(3, (16, 16)).astype(np.uint8)
    a = label_image(tmp_path / "a.zarr", labels, "yx")
    empty = label_image(tmp_path / "empty.zarr", np.zeros_like(labels), "yx")
    assert evaluate(a, a).mean_average_precision == 1
    assert evaluate(empty, a).average_precision == (0, 0, 0)
    assert evaluate(empty, empty).as_dict()["aji"] is None


def test_large_ids_and_signed_types_are_the_same_labels(tmp_path: Path) -> None:
    labels = blobs(4, (16, 16))
    large = labels.astype(np.uint64)
    large[large > 0] += np.uint64(2**60)
    a = label_image(tmp_path / "a.zarr", large, "yx")
    tifffile.imwrite(tmp_path / "b.tif", labels.astype(np.int32))
    assert evaluate(a, str(tmp_path / "b.tif")).average_precision == (1, 1, 1)


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    a = label_image(tmp_path / "a.zarr", blobs(1, (16, 16)), "yx")
    b = label_image(tmp_path / "b.zarr", blobs(1, (16, 15)), "yx")
    message = r"a.zarr has \(t, z, y, x\) = \(1, 1, 16, 16\) voxels, but .*b.zarr has .*15\)"
    with pytest.raises(ImageError, match=message):
        evaluate(a, b)


def test_what_is_no_labels_is_refused(tmp_path: Path) -> None:
    a = label_image(tmp_path / "a.zarr", blobs(1, (16, 16)), "yx")
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((16, 16), np.float32))
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((16, 16, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "minus.tif", np.full((16, 16), -1, np.int16))
    image = plan_image(
        str(tmp_path / "f.zarr"), ("y", "x"), (16, 16), "float32", (1.0, 1.0), (1, 8, 8)
    )
    create_image(image)
    for name, message in {
        "float.tif": "float.tif holds float32, but labels are whole numbers",
        "f.zarr": "f.zarr holds no labels: .* float32",
        "rgb.tif": "rgb.tif has 3 channels, but labels have none",
        "minus.tif": "minus.tif has the label -1; labels are whole numbers from 0",
    }.items():
        with pytest.raises(ImageError, match=message):
            evaluate(a, str(tmp_path / name))
    with pytest.raises(NotFound, match=r"nothing at .*nowhere\.zarr"):
        evaluate(a, str(tmp_path / "nowhere.zarr"))


def test_a_run_remembers_its_scores_as_json(tmp_path: Path) -> None:
    a = label_image(tmp_path / "a.zarr", blobs(1, (16, 16)), "yx")
    found = evaluate(a, a)
    remember(str(tmp_path / "run"), found)
    kept = json.loads(Path(evaluation_url(str(tmp_path / "run"))).read_text())
    assert kept["truth"] == a
    assert kept["average_precision"] == [1, 1, 1]
    assert "mean AP, IoU 0.5 to 0.95     1.000" in found.text()
