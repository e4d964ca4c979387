"""`bigseg jobs` on a real SLURM: a volume segmented by job arrays, one task of which is killed."""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg.cli import main
from bigseg.io.tables import read_table
from tests.worlds import make_image, read_labels

ROOT = Path(__file__).parents[2]
MODEL = "tests.end_to_end.bright:objects"


@pytest.fixture
def slurm(slurm_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in slurm_environment.items():
        monkeypatch.setenv(name, value)
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)


def volume(folder: Path) -> str:
    """Balls, some of which lie across faces of blocks."""
    z, y, x = np.ogrid[:24, :96, :96]
    data = np.zeros((24, 96, 96), np.uint8)
    for cz, cy, cx in np.random.default_rng(3).uniform((4, 6, 6), (20, 90, 90), (25, 3)):
        data[(z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2 < 16] = 200
    return make_image(f"{folder}/image.zarr", data, "zyx").image.url


def bigseg(*arguments: str, fails: bool = False) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert bool(ended.value.code) == fails


def segment(image: str, name: str, *more: str) -> str:
    bigseg(
        "segment", image, "--model", MODEL, "--representation", "labels", "--intensity", "0,255",
        "--block", "24,32,32", "--halo", "10", "--name", name, *more,
    )  # fmt: skip
    return f"{image}/labels/{name}"


def jobs_of(run: str, folder: Path, gate: Path) -> list[str]:
    """Arguments that submit a run, whose blocks wait while there is a file `gate`."""
    return [
        "jobs", run, "--scheduler", "slurm", "--write", str(folder), "--submit", "--json",
        "--memory", "1", "--cores", "1", "--blocks-per-task", "5", "--time", "0:10",
        "--setup", f"export PYTHONPATH={ROOT} BRIGHT_WAITS_FOR={shlex.quote(str(gate))}",
        "--command", f"{shlex.quote(sys.executable)} -m bigseg",
    ]  # fmt: skip


def queue() -> list[str]:
    done = subprocess.run(
        ["squeue", "--noheader", "--array", "--format=%i %T"], capture_output=True, text=True
    )
    return done.stdout.splitlines()


def wait_until(happened: Any, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"SLURM's queue is {queue()}"
        time.sleep(0.2)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("slurm")
def test_a_volume_by_job_arrays_of_which_a_task_is_killed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, gate = volume(tmp_path), tmp_path / "gate"
    serial = segment(image, "serial", "--cluster", "serial", "--quiet")
    arrays = segment(image, "arrays", "--prepare")
    run = f"{image}.arrays.bigseg"
    assert f"{run} is ready" in capsys.readouterr().out

    gate.touch()
    command = jobs_of(run, tmp_path / "the jobs", gate)
    bigseg(*command)
    said = json.loads(capsys.readouterr().out)
    assert said["jobs"][0] == ["01-label", 2, 9]
    label = said["ids"][0]
    wait_until(lambda: f"{label}_2 RUNNING" in queue())

    bigseg(*command, fails=True)
    assert "still wait or run" in capsys.readouterr().err

    log = tmp_path / "the jobs/1/logs/01-label.0+2.log"
    wait_until(log.exists)  # from then on the task runs
    subprocess.run(["scancel", "--signal=KILL", "--full", f"{label}_2"], check=True)
    wait_until(lambda: f"{label}_2 RUNNING" not in queue())
    gate.unlink()
    wait_until(lambda: not queue())

    bigseg(*command)
    said = json.loads(capsys.readouterr().out)
    (failed,) = said["failed"]
    assert (failed["step"], failed["job"], failed["task"]) == ("label", label, 2)
    assert failed["blocks"] == "5-8"
    assert "CANCELLED" in failed["reason"]
    assert failed["log"] == str(log)
    assert said["jobs"][0] == ["01-label", 0, 0]  # four blocks are a task, so one job takes it on

    wait_until(lambda: not queue())
    bigseg("status", run, "--json", "--watch", "1")
    assert all(step["finished"] for step in json.loads(capsys.readouterr().out)["steps"])
    assert len(np.unique(read_labels(serial))) > 15
    check_same(arrays, serial)
    bigseg(*command)
    assert json.loads(capsys.readouterr().out)["script"] == ""


def check_same(one: str, other: str) -> None:
    assert np.array_equal(read_labels(one), read_labels(other))
    here, there = (read_table(f"{url}/objects.parquet") for url in (one, other))
    assert set(here) == set(there)
    for name in there:  # errors of flows are not numbers where a model makes labels
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)
