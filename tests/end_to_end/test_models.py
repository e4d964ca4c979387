"""Whatever a model's maps mean, the same objects come out of them however the image is cut."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.io import imread

import bigseg
from bigseg.cli import main
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.io.tables import read_table
from bigseg.jobs.diameter import estimate_diameter
from bigseg.nets import cellpose_dino, cellpose_transformer, weights
from bigseg.nets.cellpose_sam import CellposeSam, Sizes
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.nets.network import TorchNet
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
    parts, table = found_by(image, function, block=(40,) * truth.ndim, name="parts", **settings)
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
    parts, second = found_by(image, function, block=(40, 40), name="parts", **settings)
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


@pytest.mark.parametrize(("shape", "axes"), [((3, 90, 70), "cyx"), ((2, 10, 40, 70), "czyx")])
def test_cellpose_sam_gets_its_channels_in_tiles_of_its_size(
    tmp_path: Path, shape: tuple[int, ...], axes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = Sizes(patch=8, tokens=8, width=16, hidden=16, head=8, neck=8, tables=(15, 15))
    torch.manual_seed(0)
    torch.save(CellposeSam(sizes, 6).state_dict(), tmp_path / "sam.pt")
    data = np.random.default_rng(0).integers(0, 99, shape).astype(np.uint8)
    image = worlds.make_image(f"{tmp_path}/image.zarr", data, axes).image.url
    seen: set[tuple[int, ...]] = set()

    def watch(net: TorchNet, tiles: Array) -> Array:
        seen.add(tiles.shape[1:])
        return original(net, tiles)

    original = TorchNet.__call__
    monkeypatch.setattr(TorchNet, "__call__", watch)
    result = bigseg.segment(image, model=f"{tmp_path}/sam.pt", flips=True, cluster="serial")
    assert seen == {(shape[0], 64, 64)}
    assert "class" in read_table(result.table)


def small_dino(outputs: int) -> torch.nn.Module:
    sizes = cellpose_dino.Sizes(width=16, hidden=16, head=8, depth=1)
    return cellpose_dino.CellposeDino(sizes, outputs)


def small_transformer(outputs: int) -> torch.nn.Module:
    sizes = cellpose_transformer.Sizes(
        widths=(4, 4, 8, 8), hidden=(8, 8, 8, 8), depths=(1,) * 4, decoder=(8, 8, 8, 4, 4)
    )
    return cellpose_transformer.CellposeTransformer(sizes, outputs)


@pytest.mark.parametrize(
    ("small", "outputs", "kind", "shown"),
    [
        (small_dino, 6, "CP-DINO", (3, 384, 384)),
        (small_transformer, 3, "Cellpose transformer", (1, 224, 224)),
    ],
    ids=["dino", "transformer"],
)
def test_transformers_run_in_tiles_of_their_size(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: Callable[[int], torch.nn.Module],
    outputs: int,
    kind: str,
    shown: tuple[int, ...],
) -> None:
    torch.manual_seed(0)
    model = f"{tmp_path}/small.pt"
    state = small(outputs).state_dict()
    *_, weight, bias = state.values()
    weight *= 30  # random flows that lead somewhere
    bias[-len(bias) // outputs :] = 99  # all of the image is cells
    torch.save(state, model)
    assert weights.describe(model).kind == kind
    data = np.random.default_rng(0).integers(0, 99, (3, 200, 260)).astype(np.uint8)
    image = worlds.make_image(f"{tmp_path}/image.zarr", data, "cyx").image.url
    seen: set[tuple[int, ...]] = set()

    def watch(net: TorchNet, tiles: Array) -> Array:
        seen.add(tiles.shape[1:])
        return original(net, tiles)

    original = TorchNet.__call__
    monkeypatch.setattr(TorchNet, "__call__", watch)
    result = bigseg.segment(image, model=model, flow_threshold=0, cluster="serial")
    assert seen == {shown}
    assert ("class" in read_table(result.table)) == (outputs > 3)
    assert result.objects


def test_grey_is_segmented_as_the_mean_is(tmp_path: Path) -> None:
    truth = models.discs(60)
    mean = (truth > 0).astype(np.float32)
    other = np.random.default_rng(0).random(mean.shape).astype(np.float32)
    data = np.stack([mean + other, mean - other])
    image = worlds.make_image(f"{tmp_path}/two.zarr", data, "cyx").image.url
    found, _ = found_by(image, "components", channels=("grey",), intensity=None)
    alone, _ = found_by(models.grey_image(tmp_path, truth), "components", intensity=None)
    np.testing.assert_array_equal(found, alone)


def test_local_ranges_of_a_former_run_are_forgotten(tmp_path: Path) -> None:
    data = np.random.default_rng(0).random((60, 60), np.float32) + 20 * (models.discs(60) > 0)
    image = worlds.make_image(f"{tmp_path}/image.zarr", data, "yx").image.url
    settings = {"intensity": None, "overwrite": True, "window": 24}
    found_by(image, "components", **{**settings, "window": 60})
    again, _ = found_by(image, "components", **settings)
    fresh, _ = found_by(image, "components", **settings, name="fresh")
    np.testing.assert_array_equal(again, fresh)


def nuclei(folder: Path, edge: int) -> str:
    """Cut of the bundled sample."""
    data = imread(Path(bigseg.__file__).parent / "samples" / "nuclei2d.tif")[
        256 : 256 + edge, :edge
    ]
    return worlds.make_image(f"{folder}/image.zarr", data, "yx").image.url


def tiny(folder: Path, channels: int, outputs: int, name: str = "") -> str:
    torch.manual_seed(0)
    url = f"{folder}/{name or f'{channels}-{outputs}'}.pt"
    torch.save(CellposeUNet((channels, 4, 8, 8), outputs).state_dict(), url)
    return url


def test_an_ensemble_of_one_file_twice_finds_what_it_finds_once(tmp_path: Path) -> None:
    image = nuclei(tmp_path, 96)
    one, two = (
        bigseg.segment(image, model=model, name=name, cluster="serial")
        for model, name in (("nuclei", "one"), ("nuclei,nuclei", "two"))
    )
    assert one.objects
    np.testing.assert_array_equal(worlds.read_labels(one.labels), worlds.read_labels(two.labels))


def test_restored_on_its_way_an_image_is_segmented_as_the_restored_one(tmp_path: Path) -> None:
    image = models.grey_image(tmp_path, models.discs(60))
    usual: dict[str, Any] = {"cluster": "serial", "diameter": 14, "values": "network"}
    dark = tiny(tmp_path, 1, 1)
    restored = bigseg.restore(image, f"{tmp_path}/dark.zarr", model=dark, **usual)
    middle = float(np.median(bigseg.open_image(restored.image).compute().to_numpy()))
    state = torch.load(dark)
    torch.save({**state, "output.2.bias": state["output.2.bias"] + 0.5 - middle}, f"{dark}2")
    restored = bigseg.restore(image, f"{tmp_path}/bright.zarr", model=f"{dark}2", **usual)
    slow, _ = found_by(restored.image, "components")
    fast, _ = found_by(image, "components", restore=f"{dark}2", intensity=None)
    assert slow.max() > 1
    np.testing.assert_array_equal(slow, fast)


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with an image of two channels, three small networks and much that is none."""
    folder = tmp_path_factory.mktemp("wrong")
    data = np.random.default_rng(0).integers(0, 99, (2, 60, 60)).astype(np.uint8)
    worlds.make_image(f"{folder}/image.zarr", data, "cyx")
    urls = [tiny(folder, *sizes) for sizes in ((1, 1), (2, 3), (2, 2))]
    small, state = (torch.load(url) for url in urls[:2])
    files = {
        "foreign.pt": {"conv1.weight": torch.zeros(3)},
        "lacking.pt": {k: v for k, v in state.items() if k != "output.2.bias"},
        "lacking1.pt": {k: v for k, v in small.items() if k != "output.2.bias"},
        "shape.pt": {**state, "output.2.bias": torch.zeros(9)},
    }
    for name, content in files.items():
        torch.save(content, folder / name)
    whole = Path(urls[1]).read_bytes()
    (folder / "short.pt").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.pt").write_bytes(b"")
    (folder / "words.pt").write_bytes(b"no weights at all")
    (folder / "folder").mkdir()
    return folder


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command: its exit code, and what it says of its errors in one line."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return int(ended.value.code or 0), " ".join(capsys.readouterr().err.split())

    return run


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("empty.pt", "empty.pt is empty; expected safetensors, or a state dict"),
        ("words.pt", "words.pt is not a file of weights"),
        ("short.pt", "short.pt is"),
        ("foreign.pt", "is no network that bigseg knows: it begins with 'conv1.weight'"),
        ("lacking.pt", "lacking.pt lacks the key 'output.2.bias' of a Cellpose residual U-Net"),
        ("shape.pt", "'output.2.bias' has shape (9,)"),
        ("1-1.pt", "has 1 output(s); flows need 3 or more. If it makes images, it is for"),
        ("2-2.pt --representation flows", "has 2 output(s); flows need 3 or more"),
        ("cyto33", "a name like cyto3"),
        ("cyto33", "'bigseg models' lists all"),
        ("cyto3", "'bigseg models fetch cyto3' downloads it there from https://www.cellpose.org"),
        ("folder", "is a folder; give a file of weights"),
        ("nuclei --restore lacking1.pt", "lacks the key 'output.2.bias'"),
        ("nuclei --restore 2-2.pt", "cannot restore: it makes 2 map(s) of 2 channel(s)"),
        ("tests.models:components --restore lacking1.pt", "lacks the key 'output.2.bias'"),
        ("tests.models:hover --diameter auto --dims 2d", "--diameter auto needs a model of flows"),
        ("nuclei --restore nuclei --diameter auto", "'nuclei' cannot restore: it makes 3 map(s)"),
        ("lacking.pt --dry-run", "lacking.pt lacks the key 'output.2.bias'"),
        ("nuclei --restore lacking1.pt --dry-run", "lacks the key 'output.2.bias'"),
        ("tests.models:flows --channels 0,1,2", "has no channel '2'; it has channels 0 to 1"),
        ("nuclei,2-3.pt", "cannot be averaged: diameter must be the same"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    wrong: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[..., tuple[int, str]],
    model: str,
    sentence: str,
) -> None:
    monkeypatch.chdir(wrong)
    monkeypatch.setenv("BIGSEG_MODELS", str(wrong / "models"))
    before = sorted(str(path) for path in wrong.rglob("*"))
    code, said = call("segment", "image.zarr", "--cluster", "serial", "--model", *model.split())
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said
    assert sorted(str(path) for path in wrong.rglob("*")) == before


def test_the_diameter_is_measured_on_the_way(
    tmp_path: Path, call: Callable[..., tuple[int, str]]
) -> None:
    image = nuclei(tmp_path, 192)
    code, said = call(
        "segment", image, "--model", "nuclei", "--diameter", "auto", "--cluster", "serial"
    )
    assert code == 0, said
    settings = json.loads((tmp_path / "image.zarr.cells.bigseg" / "run.json").read_text())[
        "settings"
    ]
    assert settings["diameter"] == pytest.approx(
        estimate_diameter(image, "nuclei").diameter, abs=0.05
    )
    table = read_table(f"{image}/labels/cells/objects.parquet")
    usual = np.median(2 * np.sqrt(table["voxels"] / np.pi))
    assert settings["diameter"] == pytest.approx(usual, rel=0.25)
