"""Blocks of one process, and the end of a step, without a driver."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.errors import BlocksFailed, SpecError
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.share import (
    Unfinished,
    finish_step,
    format_numbers,
    parse_numbers,
    run_share,
    share,
)
from bigseg.run.worker import Outcome
from tests.run.fake_stage import Spec, calls

STAGE = "tests.run.fake_stage"


def plan(folder: Path, **more: object) -> Run:
    """Two steps of 2 x 2 blocks, the first as said."""
    specs = [Spec(folder=f"{folder}/one", **more), Spec(folder=f"{folder}/two")]
    names = zip(("one", "two"), specs, strict=True)
    run = Run(f"{folder}/run", "0", {}, make_steps([(name, STAGE, spec) for name, spec in names]))
    run.save()
    return run


@settings(deadline=None, max_examples=50)
@given(st.sets(st.integers(0, 60)))
def test_numbers_as_text_and_back(numbers: set[int]) -> None:
    ascending = sorted(numbers)
    assert ascending == (parse_numbers(format_numbers(ascending)) if numbers else [])


@pytest.mark.parametrize("text", ["", "a", "1,,2", "3-", "-3", "1-2-3", "1.5"])
def test_text_that_says_no_numbers(text: str) -> None:
    with pytest.raises(SpecError, match="it must be numbers and ranges, as 3,17,20-25"):
        parse_numbers(text)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 200), st.integers(1, 40))
def test_shares_are_all_blocks_once_and_alike(blocks: int, tasks: int) -> None:
    shares = [share(blocks, task, tasks) for task in range(1, tasks + 1)]
    assert [number for one in shares for number in one] == list(range(blocks))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("task", [0, 4])
def test_there_is_no_such_share(task: int) -> None:
    with pytest.raises(SpecError, match=f"no task {task} of 3; tasks are counted from 1 to 3"):
        share(10, task, 3)


def test_a_share_is_computed_and_what_is_done_left_alone(tmp_path: Path) -> None:
    run = plan(tmp_path)
    told: list[Outcome] = []
    assert run_share(run.url, "one", [1], told.append) == {"done": 1, "skipped": 0}
    assert run_share(run.url, "one", range(4), told.append) == {"done": 3, "skipped": 1}
    assert sorted(outcome.number for outcome in told) == [0, 1, 2, 3]
    assert set(calls(f"{tmp_path}/one").values()) == {1}


def test_a_share_with_a_broken_block_does_the_others(tmp_path: Path) -> None:
    run = plan(tmp_path, broken=("0-0-0-1",), flaky=("0-0-1-0",))
    with pytest.raises(BlocksFailed, match=r"first is 0-0-0-1: Voxels of 0-0-0-1 cannot be read"):
        run_share(run.url, "one", range(4))
    assert calls(f"{tmp_path}/one") == {"0-0-0-0": 1, "0-0-0-1": 2, "0-0-1-0": 2, "0-0-1-1": 1}
    assert Ledger.of(run, run.steps[0]).tally(4).left.tolist() == [1]


def test_no_such_block_and_not_yet(tmp_path: Path) -> None:
    run = plan(tmp_path)
    with pytest.raises(SpecError, match="'one' has no block 4: it has 4 blocks, numbered 0 to 3"):
        run_share(run.url, "one", [0, 4])
    with pytest.raises(SpecError, match="'two' needs 'one', which is not finished"):
        run_share(run.url, "two", [0])
    with pytest.raises(SpecError, match="'two' needs 'one', which is not finished"):
        finish_step(run.url, "two")
    assert not calls(f"{tmp_path}/one")


def test_a_step_is_closed_once_and_not_too_early(tmp_path: Path) -> None:
    run = plan(tmp_path, broken=("0-0-0-1",))
    with pytest.raises(BlocksFailed):
        run_share(run.url, "one", [0, 1])
    message = r"3 of 4 blocks are not done \(1-3\). 1 of them failed; first is 1: Voxels of 0-0-0-1"
    with pytest.raises(Unfinished, match=message):
        finish_step(run.url, "one")
    run = plan(tmp_path)
    run_share(run.url, "one", range(4))
    assert finish_step(run.url, "one")
    assert not finish_step(run.url, "one")
    assert Ledger.of(run, run.steps[0]).finished() == {"numbers": [0, 1, 2, 3]}
    assert calls(f"{tmp_path}/one", "finish") == {"all": 1}


def test_many_close_a_step_at_once(tmp_path: Path) -> None:
    run = plan(tmp_path)
    run_share(run.url, "one", range(4))
    with ThreadPoolExecutor(4) as pool:
        closed = list(pool.map(lambda _: finish_step(run.url, "one"), range(4)))
    assert any(closed)
    assert Ledger.of(run, run.steps[0]).finished() == {"numbers": [0, 1, 2, 3]}


def test_many_tasks_begin_a_step_at_once(tmp_path: Path) -> None:
    run = plan(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        counts = list(pool.map(lambda n: run_share(run.url, "one", share(4, n, 4)), range(1, 5)))
    assert counts == [{"done": 1, "skipped": 0}] * 4
    assert finish_step(run.url, "one")
