"""Data that are damaged between two steps leave holes where the damage is, and nowhere else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bigseg import files
from bigseg.cli import main
from bigseg.core.tiles import Tiling
from bigseg.io.create import create_image
from bigseg.io.ome import describe
from bigseg.io.plan import plan_image
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume

SIDE, BLOCK = 320, 64
"""Of the image and of a block: 5 × 5 blocks, and one coarser level."""
NUMBER = 8
"""Of the block that is damaged; its index is 0-0-1-3."""
HOLE = (slice(64, 128), slice(192, 256))
"""Its voxels (y, x)."""


def discs() -> np.ndarray:
    """Bright discs on dark, noisy ground; many lie at faces and corners of blocks: (y, x) uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.random.default_rng(0).integers(0, 12, (SIDE, SIDE))
    for cy, cx in np.ndindex(11, 11):
        image[(y - 32 * cy) ** 2 + (x - 32 * cx) ** 2 < 9**2] += 180
    return image.astype(np.uint8)


@pytest.fixture(autouse=True, scope="module")
def small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bigseg.plans.lattice.TILINGS", {2: Tiling(96, 16)})
        patch.setattr("bigseg.plans.lattice.LONGEST_BLOCK", {2: 64})
        patch.setattr("bigseg.plans.segment.reading_block", lambda volume: (1, 1, 64, 64))
        yield


def make_image(path: Path) -> str:
    plan = plan_image(str(path), ("y", "x"), (SIDE, SIDE), np.uint8, (1.0, 1.0), (1, 64, 64))
    create_image(plan)
    box = (slice(0, 1), slice(0, 1), slice(0, SIDE), slice(0, SIDE))
    Volume.open(str(path)).write(box, discs()[None, None])
    return str(path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[NDArray[Any]]:
    """Levels of a run that nothing happens to."""
    image = make_image(tmp_path_factory.mktemp("undisturbed") / "image.zarr")
    assert bigseg("segment", image, *SETTINGS, "--cluster", "serial", "--quiet") == 0
    assert not Path(image, "labels", "cells", "holes.parquet").exists()
    return levels(f"{image}/labels/cells")


SETTINGS = ("--model", "tests.chaos.model:flows", "--block", f"{BLOCK},{BLOCK}")


def bigseg(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def levels(labels: str) -> list[NDArray[Any]]:
    """Every level, (y, x)."""
    image = describe(labels)
    found = []
    for number in range(len(image.levels)):
        volume = Volume(image, number)
        t, _, z, y, x = volume.shape
        found.append(volume.read(tuple(slice(0, n) for n in (t, z, y, x))).reshape(y, x))
    return found


def done_until(image: str, last: str) -> str:
    """Run of which all steps are done up to one."""
    assert bigseg("segment", image, *SETTINGS, "--prepare", "--quiet") == 0
    run = f"{image}.cells.bigseg"
    for step in json.loads(Path(run, "run.json").read_text())["steps"]:
        assert bigseg("block", run, "--stage", step["name"], "--finish", "--quiet") == 0
        if step["name"] == last:
            return run
    raise AssertionError(f"There is no step {last}.")


def cut_off(piece: Path) -> None:
    """Damage a file, as a transfer does that breaks off."""
    piece.write_bytes(piece.read_bytes()[: piece.stat().st_size // 2])


def damage_labels(run: str) -> None:
    """Damage the labels that a block has found."""
    (piece,) = (
        p for p in Path(run, "graph", "opinions", "c", str(NUMBER)).rglob("*") if p.is_file()
    )
    cut_off(piece)


def finished(run: str, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a run tells that goes on without what fails."""
    capfd.readouterr()
    assert bigseg("run", run, "--cluster", "serial", "--skip-failed", "--json") == 3
    said = capfd.readouterr()
    found: dict[str, Any] = json.loads(said.out)
    assert "hole(s). Once the cause is mended" in said.err
    assert "left out" in files.get(found["report"]).decode()
    table = read_table(files.join(found["labels"], "holes.parquet"))
    assert table["block"].tolist() == [hole["block"] for hole in found["left_out"]]
    assert table["y0"].tolist() == [hole["voxels"]["y"][0] for hole in found["left_out"]]
    assert bigseg("run", run, "--cluster", "serial", "--quiet") == 3  # it stays so
    return found


def outside(labels: NDArray[Any]) -> NDArray[Any]:
    kept = labels.copy()
    kept[HOLE] = 0
    return kept


def same_objects(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Whether two label images differ in ids only."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    return all(len(np.unique(side)) == len(side) for side in pairs)


def test_neighbours_that_can_be_read_are_merged_without_one_that_cannot(
    tmp_path: Path, undisturbed: list[NDArray[Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    run = done_until(make_image(tmp_path / "image.zarr"), "label")
    damage_labels(run)
    found = finished(run, capfd)
    holes = {(hole["step"], hole["block"]) for hole in found["left_out"]}
    compared = {("merge", f"0-0-{y}-{x}") for y, x in [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3)]}
    assert holes == compared | {("write", "0-0-1-3")}
    labels = levels(found["labels"])
    whole = undisturbed[0]
    assert not labels[0][HOLE].any()
    assert same_objects(outside(whole), labels[0])
    assert len(labels) == 2
    table = read_table(found["table"])
    assert found["objects"] == len(table["id"]) >= labels[0].max()


def test_a_block_that_cannot_be_written_is_empty_and_all_others_are_as_ever(
    tmp_path: Path, undisturbed: list[NDArray[Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    run = done_until(make_image(tmp_path / "image.zarr"), "objects")
    damage_labels(run)
    found = finished(run, capfd)
    assert [(hole["step"], hole["voxels"]) for hole in found["left_out"]] == [
        ("write", {"t": [0, 1], "z": [0, 1], "y": [64, 128], "x": [192, 256]})
    ]
    labels, whole = levels(found["labels"]), undisturbed
    assert (labels[0] == outside(whole[0])).all()
    hole = np.zeros(whole[1].shape, bool)
    hole[32:64, 96:128] = True
    assert (labels[1][~hole] == whole[1][~hole]).all()
    assert not labels[1][hole].any()


def test_a_written_block_that_is_damaged_is_emptied_and_coarser_levels_are_made_of_the_rest(
    tmp_path: Path, undisturbed: list[NDArray[Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    image = make_image(tmp_path / "image.zarr")
    run = done_until(image, "write")
    written = Path(image, "labels", "cells", "0")
    (piece,) = (p for p in written.rglob("*") if p.is_file() and p.parts[-2:] == ("1", "3"))
    cut_off(piece)
    found = finished(run, capfd)
    (hole,) = found["left_out"]
    assert hole["step"] == "pyramid-1"
    (y0, y1), (x0, x1) = (hole["voxels"][axis] for axis in "yx")
    assert y0 <= 64 < 128 <= y1
    assert x0 <= 192 < 256 <= x1
    labels, whole = levels(found["labels"]), undisturbed
    assert (labels[0] == outside(whole[0])).all()
    inside = np.zeros(whole[1].shape, bool)
    inside[32:64, 96:128] = True
    assert (labels[1][~inside] == whole[1][~inside]).all()
    assert not labels[1][inside].any()


def test_what_cannot_be_left_out_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = done_until(make_image(tmp_path / "image.zarr"), "label")
    table = Path(run, "graph", "nodes", "0-0-1-3.parquet")
    whole = table.read_bytes()
    cut_off(table)
    capfd.readouterr()
    assert bigseg("run", run, "--cluster", "serial", "--skip-failed", "--quiet") == 1
    said = capfd.readouterr().err
    assert "1 block(s) of stage 'merge' failed; first is 0-0-1-3: " in said
    assert "It cannot be left out either: " in said
    table.write_bytes(whole)
    assert bigseg("run", run, "--cluster", "serial", "--quiet") == 0
