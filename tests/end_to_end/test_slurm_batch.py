"""Many series on a real SLURM: side by side on its jobs, and each as job arrays of its own."""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import bigseg
from bigseg.cli import main
from bigseg.io.tables import read_table
from tests.cells import moving_cells, write_frames

ROOT = Path(__file__).parents[2]
WELLS = (0, 1)

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600), pytest.mark.usefixtures("on_slurm")]


@pytest.fixture
def on_slurm(slurm_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (slurm_environment | {"PYTHONPATH": str(ROOT)}).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folders of frames, and one that lacks a frame."""
    folder = tmp_path_factory.mktemp("plate")
    for well in (*WELLS, 2):
        write_frames(folder / f"well{well}", moving_cells(well)[0][:6])
    (folder / "well2" / "mask003.tif").unlink()
    return str(folder)


@pytest.fixture(scope="module")
def alone(plate: str, tmp_path_factory: pytest.TempPathFactory) -> list[bigseg.Tracked]:
    """Each series tracked in this process."""
    out = tmp_path_factory.mktemp("alone")
    return [
        bigseg.track(f"{plate}/well{n}", f"{out}/well{n}.zarr", cluster="serial") for n in WELLS
    ]


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def check_same(out: Path, alone: list[bigseg.Tracked]) -> None:
    for number, one in zip(WELLS, alone, strict=True):
        url = f"{out}/well{number}.zarr"
        found = bigseg.open_labels(url).data
        np.testing.assert_array_equal(found, bigseg.open_labels(one.labels).data)
        tables = url + one.table.removeprefix(one.labels), one.table
        here, there = map(read_table, tables)
        assert set(here) == set(there)
        for name in there:
            np.testing.assert_array_equal(here[name], there[name], err_msg=name)


def test_series_side_by_side_on_jobs(
    plate: str, alone: list[bigseg.Tracked], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = tmp_path / "slurm.toml"
    cluster.write_text(
        '[workers]\nkind = "slurm"\njobs = 1\ncores = 1\nmemory = "1 GB"\nwalltime = "00:20:00"\n'
        f'interface = "lo"\nlogs = "{tmp_path}/logs"\n'
    )
    out = tmp_path / "out"
    assert command("track", f"{plate}/well*", str(out), "--cluster", str(cluster), "--json") == 1
    told = json.loads(capsys.readouterr().out)
    *errors, last = [one["error"] for one in told["series"]]
    assert errors == ["", ""]
    assert "has no frame 3" in last
    check_same(out, alone)
    assert not queue()


@pytest.mark.slow
def test_series_are_made_ready_and_each_is_an_array(
    plate: str, alone: list[bigseg.Tracked], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command("track", f"{plate}/well*", str(out), "--prepare", "--json") == 1
    ready = [one["run"] for one in json.loads(capsys.readouterr().out) if not one["error"]]
    assert [Path(run).name for run in ready] == [f"well{n}.zarr.bigseg" for n in WELLS]
    for run in ready:
        assert command(*jobs_of(run)) == 0
    capsys.readouterr()
    deadline = time.monotonic() + 400
    while waiting := queue():
        assert time.monotonic() < deadline, f"SLURM's queue is {waiting}"
        time.sleep(0.2)
    for run in ready:
        assert command("status", run, "--json") == 0
        steps = json.loads(capsys.readouterr().out)["steps"]
        assert [step["step"] for step in steps if not step["finished"]] == []
    check_same(out, alone)


def jobs_of(run: str) -> list[str]:
    return [
        "jobs", run, "--scheduler", "slurm", "--write", f"{run}.jobs", "--submit", "--json",
        "--memory", "1", "--cores", "1", "--blocks-per-task", "3", "--time", "0:10",
        "--command", f"{shlex.quote(sys.executable)} -m bigseg",
    ]  # fmt: skip


def queue() -> list[str]:
    ask = ["squeue", "--noheader", "--array", "--format=%i_%T"]
    done = subprocess.run(ask, capture_output=True, text=True, check=True, env=os.environ)
    return done.stdout.split()
