"""Scripts of all batch systems, run by stand-ins that give them what the real ones would."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from bigseg.run.arrays.scripts import Wishes
from bigseg.run.arrays.submission import Submission, submit, write_submission
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.status import status, status_text
from tests.run.fake_stage import Spec, calls

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
MORTAL = "tests.run.arrays.mortal_stage"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A step of 5 blocks, and one of one; block 2 of the first kills who computes it."""
    one = Spec(folder=f"{tmp_path}/one", shape=(1, 1, 2, 10))
    two = Spec(folder=f"{tmp_path}/two", shape=(1, 1, 2, 2))
    steps = [(name, MORTAL, s) for name, s in (("one", one), ("two", two))]
    made = Run(f"{tmp_path}/a run's.bigseg", "0", {}, make_steps(steps))
    made.save()
    (tmp_path / "one/deadly").mkdir(parents=True)
    (tmp_path / "one/deadly/0-0-0-2").touch()
    return made


@pytest.fixture(params=["lsf", "pbs", "sge"])
def system(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    tools = tmp_path / "tools"
    tools.mkdir()
    tool = tools / ("bsub" if request.param == "lsf" else "qsub")
    standin = shlex.join([sys.executable, str(HERE / "standin.py"), request.param])
    tool.write_text(f'#!/bin/sh\nexec {standin} "$@"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STANDIN_STATE", str(tmp_path))
    return str(request.param)


def send(run: Run, folder: Path, system: str, blocks: int = 2, most: int = 2) -> Submission:
    wishes = Wishes(
        setup=(f"export PYTHONPATH={shlex.quote(str(ROOT))}",),
        command=shlex.join([sys.executable, str(HERE / "without_image.py")]),
        at_once=7,
    )
    made = write_submission(run, folder, system, wishes, blocks_per_task=blocks, max_array=most)
    return submit(made) if made.script else made


def test_jobs_do_a_run_and_do_again_only_what_is_missing(
    run: Run, tmp_path: Path, system: str
) -> None:
    folder = tmp_path / "jobs of the run"
    first = send(run, folder, system)
    assert first.jobs == (("01-one", 3, 5), ("02-close-one", 0, 0))
    assert len(first.ids) == 3  # three tasks are two arrays, where two tasks are the limit
    assert calls(f"{tmp_path}/one") == dict.fromkeys(["0-0-0-0", "0-0-0-1", "0-0-0-4"], 1)
    assert calls(f"{tmp_path}/two") == {}

    (tmp_path / "one/deadly/0-0-0-2").unlink()
    again = send(run, folder, system)
    (failed,) = again.failed
    assert (failed.step, failed.task, failed.blocks) == ("one", 2, "2-3")
    assert failed.reason == "Job 1 task 2 ended with 137"
    assert Path(failed.log).read_text().endswith(f"{failed.reason}\n")
    assert again.jobs == (("01-one", 0, 0),)  # one job can do all that is left
    assert calls(f"{tmp_path}/one") == {f"0-0-0-{n}": 1 for n in range(5)}
    assert calls(f"{tmp_path}/two") == {"0-0-0-0": 1}
    for step in run.steps:
        assert Ledger.of(run, step).is_finished()
        assert calls(step.spec.folder, "finish") == {"all": 1}
    assert send(run, folder, system).text().endswith("is finished; there is nothing to submit.")


@pytest.mark.parametrize("system", ["sge"], indirect=True)
def test_tasks_that_come_later_are_spared_what_fails_everywhere(
    tmp_path: Path, system: str
) -> None:
    spec = Spec(folder=f"{tmp_path}/one", shape=(1, 1, 2, 80))
    made = Run(f"{tmp_path}/run", "0", {}, make_steps([("one", MORTAL, spec)]))
    made.save()
    (tmp_path / "one").mkdir()
    (tmp_path / "one/locked").touch()
    first = send(made, tmp_path / "jobs", system, blocks=8, most=5)
    assert first.jobs[0] == ("01-one", 5, 40)
    tried = len(calls(f"{tmp_path}/one", "read"))
    assert 20 <= tried <= 26  # of 40; tasks look after each block that failed
    (shown,) = status(made.url)
    said = r"Step 'one' is stopped: 2\d blocks in a row failed with the same error in several tasks"
    assert re.match(f"{said}: PermissionError: No access to the voxels of 0-0-0-2", shown.stopped)
    assert "stopped" in status_text([shown])

    (tmp_path / "one/locked").unlink()
    again = send(made, tmp_path / "jobs", system, blocks=20, most=5)
    assert len(again.failed) == 5
    assert again.failed[0].reason == "PermissionError: No access to the voxels of 0-0-0-0."
    assert again.failed[-1].reason == shown.stopped
    assert Ledger.of(made, made.steps[0]).tally(40).count == 40
    assert status(made.url)[0].stopped == ""
