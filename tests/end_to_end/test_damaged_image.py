"""A stored piece of the image is damaged: it is named, the rest is done, and the hole is shown."""

import json
from pathlib import Path

import numpy as np
import pytest

from bigseg import files
from bigseg.cli import main
from bigseg.core.tiles import Tiling
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.run.folder import open_run
from bigseg.run.ledger import Ledger
from tests.worlds import read_labels

SIDE = 256
PLACE = (slice(64, 128), slice(192, 256))
"""Voxels (y, x) of the piece that is damaged."""


def discs() -> np.ndarray:
    """64 bright discs on a dark, slightly noisy ground: (y, x) uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.random.default_rng(0).integers(0, 12, (SIDE, SIDE))
    for centre in np.ndindex(8, 8):
        cy, cx = (16 + 32 * c for c in centre)
        image[(y - cy) ** 2 + (x - cx) ** 2 < 9**2] += 180
    return image.astype(np.uint8)


@pytest.fixture
def intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Image of 16 pieces."""
    monkeypatch.setattr("bigseg.plans.lattice.TILINGS", {2: Tiling(96, 16)})
    monkeypatch.setattr("bigseg.plans.lattice.LONGEST_BLOCK", {2: 64})
    monkeypatch.setattr("bigseg.plans.segment.reading_block", lambda volume: (1, 1, 64, 64))
    path = tmp_path / "image.zarr"
    plan = plan_image(str(path), ("y", "x"), (SIDE, SIDE), np.uint8, (1.0, 1.0), (1, 64, 64))
    create_image(plan)
    box = (slice(0, 1), slice(0, 1), slice(0, SIDE), slice(0, SIDE))
    Volume.open(str(path)).write(box, discs()[None, None])
    return str(path)


@pytest.fixture
def damaged(intact: str) -> str:
    """The same, of which one piece was cut off."""
    cut_off(Path(intact, "0"))
    return intact


def cut_off(array: Path) -> None:
    """Damage the piece at `PLACE`, as a transfer does that breaks off."""
    (piece,) = [p for p in array.rglob("*") if p.is_file() and p.parts[-2:] == ("1", "3")]
    piece.write_bytes(piece.read_bytes()[:40])


def bigseg(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def test_a_damaged_piece_is_named_and_left_out_if_wanted(
    damaged: str, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ("segment", damaged, "--model", "nuclei", "--cluster", "serial", "--block", "64,64")
    assert bigseg(*command) == 1
    said = capfd.readouterr().err
    assert "block(s) of stage 'normalize' failed; first is" in said
    assert damaged in said
    run = open_run(f"{damaged}.cells.bigseg")
    counted = Ledger.of(run, run.step("normalize")).tally(len(run.step("normalize").spec.grid))
    assert counted.count == len(counted.done) - len(counted.failed) > 0

    assert bigseg("run", run.url, "--cluster", "serial", "--skip-failed", "--json") == 3
    said = capfd.readouterr()
    result = json.loads(said.out)
    assert {hole["step"] for hole in result["left_out"]} == {"normalize", "predict"}
    voxels = [hole["voxels"] for hole in result["left_out"] if hole["step"] == "normalize"]
    assert voxels == [{"t": [0, 1], "z": [0, 1], "y": [64, 128], "x": [192, 256]}]
    assert "Left out: block 0-0-1-3 of step 'normalize' (t 0:1, z 0:1, y 64:128, x 192:256)" in (
        said.err
    )
    assert "hole(s). Once the cause is mended, the same command with --overwrite" in said.err
    labels = read_labels(result["labels"]).reshape(SIDE, SIDE)
    assert not labels[PLACE].any()
    assert labels[:, :64].any()
    assert labels[192:].any()
    assert result["objects"] == labels.max() == len(np.unique(labels)) - 1
    assert "left out" in files.get(result["report"]).decode()


def test_job_arrays_name_a_damaged_prediction_and_a_run_can_leave_it_out(
    intact: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = ("segment", intact, "--model", "tests.chaos.model:flows", "--block", "64,64")
    assert bigseg(*command, "--prepare") == 0
    run = f"{intact}.cells.bigseg"
    for step in ("normalize", "predict"):
        assert bigseg("block", run, "--stage", step, "--finish") == 0
    cut_off(Path(run, "scratch"))
    capfd.readouterr()

    assert bigseg("block", run, "--stage", "label", "--task", "1", "--tasks", "2") == 1
    assert "block(s) of stage 'label' failed; first is 0-0-0-2: " in capfd.readouterr().err
    bigseg("block", run, "--stage", "label", "--task", "2", "--tasks", "2")
    capfd.readouterr()
    assert bigseg("finish", run, "--stage", "label") == 1
    said = capfd.readouterr().err
    assert "Step 'label' cannot be closed: " in said
    assert "failed; first is " in said
    opened = open_run(run)
    label = Ledger.of(opened, opened.step("label"))
    failed = sorted(label.failed())
    assert 7 in failed  # whose voxels they are
    assert set(failed) <= {2, 3, 6, 7, 10, 11}  # and who reads them as a neighbour
    assert label.tally(16).left.tolist() == failed
    jobs = ("jobs", run, "--scheduler", "slurm", "--write", str(tmp_path / "jobs"))
    assert bigseg(*jobs) == 0
    assert "label" in capfd.readouterr().out

    assert bigseg("run", run, "--cluster", "serial", "--skip-failed", "--json") == 3
    result = json.loads(capfd.readouterr().out)
    holes = result["left_out"]
    assert [hole["block"] for hole in holes] == [
        opened.step("label").spec.grid[n].id for n in failed
    ]
    assert {hole["step"] for hole in holes} == {"label"}
    labels = read_labels(result["labels"]).reshape(SIDE, SIDE)
    assert not labels[PLACE].any()
    for row, column in np.ndindex(4, 4):
        here = labels[64 * row : 64 * row + 64, 64 * column : 64 * column + 64]
        assert here.any() == (4 * row + column not in failed)
