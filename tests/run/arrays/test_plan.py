"""Which jobs do what is left of a run."""

from pathlib import Path

import pytest

from bigseg.run.arrays.plan import plan_jobs
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.share import finish_step, run_share
from tests.run.fake_stage import Spec


def plan(folder: Path, *blocks: int, network: int = -1) -> Run:
    """Steps 0, 1, … of so many blocks, of which one may want a GPU."""
    specs = [
        Spec(folder=str(folder), shape=(1, 1, 2, 2 * n), network=i == network)
        for i, n in enumerate(blocks)
    ]
    steps = [(f"s{i}", "tests.run.fake_stage", spec) for i, spec in enumerate(specs)]
    run = Run(f"{folder}/run", "0", {}, make_steps(steps))
    run.save()
    return run


def names(run: Run, **more: int | bool) -> list[str]:
    return [job.name for job in plan_jobs(run, **more)]


def test_wide_steps_are_arrays_and_narrow_ones_go_along(tmp_path: Path) -> None:
    jobs = plan_jobs(plan(tmp_path, 1, 1, 5, 1, 5, 1, 1), blocks_per_task=2)
    assert [(j.name, j.tasks, j.closes, j.steps, j.last) for j in jobs] == [
        ("01-s0", (), "", ("s0", "s1"), False),
        ("02-s2", ("0-1", "2-3", "4"), "", (), False),
        ("03-close-s2", (), "s2", ("s3",), False),
        ("04-s4", ("0-1", "2-3", "4"), "", (), False),
        ("05-close-s4", (), "s4", ("s5", "s6"), True),
    ]


def test_wide_steps_that_follow_each_other_are_closed_in_between(tmp_path: Path) -> None:
    assert names(plan(tmp_path, 5, 5), blocks_per_task=2) == [
        "01-s0", "02-close-s0", "03-s1", "04-close-s1",
    ]  # fmt: skip


def test_one_job_does_it_where_no_step_is_wide(tmp_path: Path) -> None:
    (job,) = plan_jobs(plan(tmp_path, 1, 2, 1), blocks_per_task=2)
    assert (job.name, job.steps, job.last) == ("01-s0", ("s0", "s1", "s2"), True)


@pytest.mark.parametrize("gpus", [True, False])
def test_a_step_with_a_network_is_a_job_of_its_own_where_there_are_gpus(
    tmp_path: Path, gpus: bool
) -> None:
    jobs = plan_jobs(plan(tmp_path, 1, 1, 1, network=1), gpus=gpus)
    assert [job.name for job in jobs if job.gpu] == ["02-s1"] * gpus
    assert len(jobs) == (3 if gpus else 1)


def test_only_what_is_left_is_planned(tmp_path: Path) -> None:
    run = plan(tmp_path, 5, 5)
    run_share(run.url, "s0", [0, 2])
    assert plan_jobs(run, blocks_per_task=2)[0].tasks == ("1,3", "4")
    run_share(run.url, "s0", range(5))
    assert names(run, blocks_per_task=2) == ["01-s0", "02-s1", "03-close-s1"]
    finish_step(run.url, "s0")
    assert names(run, blocks_per_task=2) == ["01-s1", "02-close-s1"]
    for name in ("s1",):
        run_share(run.url, name, range(5))
        finish_step(run.url, name)
    assert plan_jobs(run) == []


@pytest.mark.parametrize(("blocks", "tasks"), [(6, 2), (2500, 500), (200_000, 1000)])
def test_tasks_are_neither_few_nor_many_as_long_as_nobody_knows_how_long_they_take(
    tmp_path: Path, blocks: int, tasks: int
) -> None:
    assert len(plan_jobs(plan(tmp_path, blocks))[0].tasks) == tasks


def test_tasks_take_ten_minutes_once_somebody_knows(tmp_path: Path) -> None:
    run = plan(tmp_path, 100)
    Ledger.of(run, run.steps[0]).record(0, {"facts": {}, "started": 0.0, "seconds": 60.0})
    assert plan_jobs(run)[0].tasks[:2] == ("1-10", "11-20")
