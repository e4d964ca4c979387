"""Commands for job arrays: prepared runs, shares of blocks, wrong input."""

import json
from pathlib import Path

import numpy as np
import pytest

from bigseg.cli import main
from bigseg.run.folder import Run, make_steps
from tests.run.fake_stage import Spec, calls
from tests.worlds import make_image


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def run(tmp_path: Path) -> str:
    steps = [(n, "tests.run.fake_stage", Spec(folder=f"{tmp_path}/{n}")) for n in ("one", "two")]
    made = Run(f"{tmp_path}/run.bigseg", "0", {}, make_steps(steps))
    made.save()
    return made.url


def test_shares_of_a_step_are_computed_and_the_step_closed(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("block", run, "--stage", "one", "--task", "1", "--tasks", "2") == 0
    assert capsys.readouterr().out == "2 block(s) of step 'one' are done.\n"
    assert call("finish", run, "--stage", "one") == 1
    assert "2 of 4 blocks are not done (2-3)" in capsys.readouterr().err
    assert call("block", run, "--stage", "one", "--blocks", "0,3", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"step": "one", "blocks": 2, "done": 1, "skipped": 1}
    assert call("block", run, "--stage", "one", "--finish") == 0
    assert call("finish", run, "--stage", "one") == 0
    assert capsys.readouterr().out.endswith("Step 'one' was finished already.\n")
    assert set(calls(tmp_path / "one").values()) == {1}


def test_failures_are_named_by_the_command_and_by_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = Spec(folder=str(tmp_path), broken=("0-0-1-0",))
    broken = Run(f"{tmp_path}/run", "0", {}, make_steps([("one", "tests.run.fake_stage", spec)]))
    broken.save()
    assert call("block", broken.url, "--stage", "one") == 1
    assert "1 block(s) of stage 'one' failed; first is 0-0-1-0" in capsys.readouterr().err
    assert call("status", broken.url) == 0
    said = capsys.readouterr().out
    assert "one: block 2 (0-0-1-0) failed 2 times: Voxels of 0-0-1-0 cannot be read" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "0", "--blocks", "1"], "--index, --blocks and --task exclude each other"),
        (["--task", "1"], "--task and --tasks belong together"),
        (["--task", "3", "--tasks", "2"], "There is no task 3 of 2"),
        (["--blocks", "1-"], "--blocks is '1-'; it must be numbers and ranges"),
        (["--blocks", "1-9"], "has no block 4: it has 4 blocks, numbered 0 to 3"),
    ],
)
def test_blocks_that_are_not(
    run: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("block", run, "--stage", "one", *arguments) != 0
    assert message in capsys.readouterr().err


def test_jobs_into_a_folder_that_is_not_theirs(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").touch()
    jobs = ["jobs", run, "--scheduler", "pbs", "--write"]
    assert call(*jobs, str(folder)) == 1
    assert "holds thesis.tex, which 'bigseg jobs' has not written" in capsys.readouterr().err
    assert call(*jobs, str(folder / "thesis.tex")) == 1
    assert "thesis.tex is a file" in capsys.readouterr().err
    assert call(*jobs, str(tmp_path / "jobs"), "--blocks-per-task", "1") == 0
    assert call(*jobs, str(tmp_path / "jobs")) == 0  # what was only written gives way
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["1"]
    other = Run(f"{tmp_path}/other.bigseg", "0", {}, ())
    other.save()
    jobs[1] = other.url
    assert call(*jobs, str(tmp_path / "jobs")) == 1
    assert f"holds jobs of {run}; name another folder with --write" in capsys.readouterr().err


def test_a_batch_system_that_is_not_there_or_says_no(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    (tmp_path / "qsub").write_text("#!/bin/sh\necho 'qsub: you are not welcome.' >&2\nexit 1\n")
    (tmp_path / "qsub").chmod(0o755)
    jobs = ["jobs", run, "--write", f"{tmp_path}/jobs", "--submit", "--scheduler"]
    assert call(*jobs, "pbs") == 1
    said = capsys.readouterr().err
    assert "submit.sh failed: qsub: you are not welcome. No job was submitted." in said
    assert call(*jobs, "condor") == 1
    assert "Scheduler 'condor' is unknown" in capsys.readouterr().err


def test_a_run_is_prepared_and_nothing_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = make_image(f"{tmp_path}/a.zarr", np.zeros((32, 32), np.uint8), "yx").image.url
    assert call("segment", image, "--model", "nuclei", "--prepare") == 0
    assert "Nothing is computed yet" in capsys.readouterr().out
    assert call("status", f"{image}.cells.bigseg", "--json") == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert {step["done"] for step in steps} == {0}
    assert not Path(image, "labels").exists()
    assert call("segment", image, "--model", "nuclei", "--prepare") == 0  # the same again
    assert call("segment", image, "--model", "nuclei", "--diameter", "9", "--prepare") == 1
    assert "holds a run with other settings" in capsys.readouterr().err
