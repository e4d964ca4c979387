"""Tasks of a job array stop when one error meets them all, and not for less."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from bigseg.errors import BlocksFailed
from bigseg.run import breaker
from bigseg.run.breaker import Hopeless, forget_streaks, read_streak
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.share import run_share
from bigseg.run.status import status
from tests.run.fake_stage import Spec, calls

IDS = tuple(f"0-0-0-{i}" for i in range(200))


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each call is a task of its own, and looks before each block."""
    numbers = count()
    monkeypatch.setattr(breaker, "worker_name", lambda: f"node:{next(numbers)}")
    monkeypatch.setattr(breaker, "LOOK", 0.0)
    return


def plan(folder: Path, broken: tuple[str, ...], blocks: int = 40) -> Run:
    spec = Spec(folder=str(folder), shape=(1, 1, 2, 2 * blocks), broken=broken)
    run = Run(f"{folder}/run", "0", {}, make_steps([("one", "tests.run.fake_stage", spec)]))
    run.save()
    return run


def task(run: Run, *numbers: int) -> str:
    """What became of a task: nothing to say, a failure, or that there is no hope."""
    try:
        run_share(run.url, "one", list(range(*numbers)))
    except BlocksFailed:
        return "failed"
    except Hopeless as error:
        return str(error)
    return "done"


def test_a_task_by_itself_stops_when_its_first_blocks_all_fail_alike(tmp_path: Path) -> None:
    run = plan(tmp_path, IDS)
    assert "is stopped here: 20 blocks in a row failed with the same error" in task(run, 40)
    assert sum(calls(tmp_path).values()) == 20
    assert status(run.url)[0].stopped == ""  # it may be its machine


def test_several_tasks_stop_all_others(tmp_path: Path) -> None:
    run = plan(tmp_path, IDS)
    assert [task(run, 0, 8), task(run, 8, 16)] == ["failed", "failed"]
    said = "20 blocks in a row failed with the same error in several tasks: Voxels of 0-0-0-19"
    assert said in task(run, 16, 24)
    tried = calls(tmp_path)
    assert said in task(run, 24, 32)
    assert calls(tmp_path) == tried
    assert said in status(run.url)[0].stopped
    forget_streaks(run)
    assert read_streak(run, run.steps[0]) is None
    assert task(run, 24, 32) == "failed"


def test_a_block_that_is_done_in_between_is_hope(tmp_path: Path) -> None:
    run = plan(tmp_path, IDS[:24])
    assert [task(run, 0, 8), task(run, 8, 16)] == ["failed", "failed"]
    assert task(run, 30, 32) == "done"
    assert [task(run, 16, 24), task(run, 24, 30)] == ["failed", "done"]
    assert Ledger.of(run, run.steps[0]).tally(40).count == 8


def test_later_it_takes_many_and_whoever_tries_again_gets_past_them(tmp_path: Path) -> None:
    run = plan(tmp_path, IDS[10:150], 200)
    assert task(run, 10) == "done"
    assert [task(run, first, first + 30) for first in (10, 40, 70)] == ["failed"] * 3
    assert "100 blocks in a row" in task(run, 100, 130)
    assert "100 blocks in a row" in task(run, 130, 200)
    forget_streaks(run)
    assert [task(run, first, first + 30) for first in (10, 40, 70, 100)] == ["failed"] * 4
    assert task(run, 130, 200) == "failed"
    assert Ledger.of(run, run.steps[0]).tally(200).left.tolist() == list(range(10, 150))


def test_other_errors_and_other_settings_are_other_streaks(tmp_path: Path) -> None:
    run = plan(tmp_path, IDS)
    (step,) = run.steps
    one = breaker.Streak(step.fingerprint)
    for error in ("Voxels of 3 are bad.", "Voxels of 17 are bad.", "No space left."):
        one = one.grown(error, "a")
    assert (one.count, one.error, one.tasks) == (1, "No space left.", ("a",))
    task(run, 0, 3)
    assert read_streak(run, step).count == 3
    other = plan(tmp_path, IDS[1:])
    assert read_streak(other, other.steps[0]) is None
