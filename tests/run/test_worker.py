"""One block, asked for by number or index, and what is said when it cannot be run."""

import shutil
import time
from pathlib import Path

import pytest

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.records import Recorder, sample
from bigseg.run.worker import run_block, run_blocks
from tests.run.fake_stage import Spec, calls

STAGE = "tests.run.fake_stage"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two steps of 2 x 2 blocks; the last block of the first step is broken."""
    one = Spec(folder=str(tmp_path / "1"), broken=("0-0-1-1",))
    two = Spec(folder=str(tmp_path / "2"))
    steps = make_steps([("one", STAGE, one), ("two", STAGE, two)])
    run = Run(str(tmp_path / "run"), "0", {}, steps)
    run.save()
    return run


@pytest.mark.parametrize("index", ["2", "0-0-1-0"])
def test_a_block_by_number_or_index_runs_once(run: Run, tmp_path: Path, index: str) -> None:
    first, again = run_block(run.url, "one", index), run_block(run.url, "one", index)
    assert (first.block, first.number, first.status) == ("0-0-1-0", 2, "done")
    assert again.text() == "Block 0-0-1-0 was done already."
    assert calls(tmp_path / "1") == {"0-0-1-0": 1}


@pytest.mark.parametrize("index", ["4", "-1", "0-0-2-0", "0-0", "all", ""])
def test_no_such_block(run: Run, index: str) -> None:
    message = f"'one' has no block '{index}': it has 4 blocks, numbered 0 to 3 or by 1 × 1 × 2 × 2"
    with pytest.raises(SpecError, match=message):
        run_block(run.url, "one", index)


def test_no_such_step(run: Run) -> None:
    with pytest.raises(NotFound, match="no step 'three'; its steps are one, two"):
        run_block(run.url, "three", "0")


def test_a_step_waits_for_those_before_it(run: Run) -> None:
    with pytest.raises(SpecError, match=r"'two' needs 'one', which is not finished; 'bigseg run "):
        run_block(run.url, "two", "0")


def test_a_failure_is_an_outcome_and_a_record(run: Run) -> None:
    outcome = run_block(run.url, "one", "3")
    assert outcome.text() == "Block 0-0-1-1 failed: Voxels of 0-0-1-1 cannot be read [zstd]."
    failure = Ledger.of(run, run.steps[0]).failed()[3]
    assert failure["error"] == outcome.error
    assert "ImageError" in failure["traceback"]


def test_a_record_tells_time_memory_and_worker(run: Run) -> None:
    run_block(run.url, "one", "0")
    ledger = Ledger.of(run, run.steps[0])
    (record,) = sample(ledger, 1)
    assert record["facts"] == {"number": 0, "cores": None}
    assert record["peak_bytes"] > 1e6
    assert 0 <= record["read_seconds"] < 10 > record["seconds"] >= 0
    assert ":" in record["worker"]


def test_a_block_that_cannot_be_recorded_fails_and_does_not_raise(run: Run) -> None:
    ledger = Path(Ledger.of(run, run.steps[0]).url)
    ledger.parent.mkdir(parents=True)
    ledger.write_text("in the way")
    outcomes = run_blocks(run.url, "one", [0, 1])
    assert [outcome.status for outcome in outcomes] == ["failed", "failed"]
    assert "Error" in outcomes[0].error


def test_blocks_run_one_by_one_are_taken_up_by_a_run(run: Run, tmp_path: Path) -> None:
    steps = make_steps([("two", STAGE, Spec(folder=str(tmp_path / "2")))])
    alone = Run(run.url, "0", {}, steps)
    alone.save()
    for number in range(4):
        run_block(alone.url, "two", str(number))
    run_steps(alone, ALONE)
    assert set(calls(tmp_path / "2").values()) == {1}
    assert calls(tmp_path / "2", "finish") == {"all": 1}
    shutil.rmtree(tmp_path / "2")
    assert run_block(alone.url, "two", "0").status == "skipped"
    assert not (tmp_path / "2").exists()


def test_a_task_that_is_run_again_computes_nothing_again(run: Run, tmp_path: Path) -> None:
    run_blocks(run.url, "one", [0, 1])
    assert [outcome.status for outcome in run_blocks(run.url, "one", [0, 1])] == [
        "skipped",
        "skipped",
    ]
    assert set(calls(tmp_path / "1").values()) == {1}


def many(tmp_path: Path, **values: float) -> Run:
    """One step of 12 blocks."""
    spec = Spec(folder=str(tmp_path / "1"), shape=(1, 1, 2, 24), **values)  # type: ignore[arg-type]
    run = Run(str(tmp_path / "run"), "0", {}, make_steps([("one", STAGE, spec)]))
    run.save()
    return run


def test_records_of_quick_blocks_share_an_object(tmp_path: Path) -> None:
    run = many(tmp_path)
    run_blocks(run.url, "one", range(12))
    assert files.tree(Ledger.of(run, run.steps[0]).url) == ["0/0-11.json"]


def test_slow_blocks_are_recorded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigseg.run.records.PAUSE", 0.01)
    run = many(tmp_path, seconds=0.03)
    run_blocks(run.url, "one", range(4))
    names = [f"0/{number}.json" for number in range(4)]
    assert files.tree(Ledger.of(run, run.steps[0]).url) == names


def test_a_quick_block_is_recorded_while_the_next_takes_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bigseg.run.records.PAUSE", 0.05)
    ledger = Ledger(str(tmp_path))
    with Recorder(ledger) as recorder:
        recorder.add(0, {})
        assert not ledger.is_done(0)
        for _ in range(500):
            if ledger.is_done(0):
                break
            time.sleep(0.02)
        assert ledger.is_done(0)


def test_what_could_not_be_stored_is_stored_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bigseg.run.records.PAUSE", 0.0)
    ledger = Ledger(str(tmp_path))
    with Recorder(ledger) as recorder:
        with monkeypatch.context() as full:
            full.setattr(files, "put", lambda url, data: (_ for _ in ()).throw(OSError("full")))
            recorder.add(0, {})
        assert not ledger.is_done(0)
        recorder.add(1, {})
    assert ledger.done_among([0, 1]) == {0, 1}
    assert recorder.unrecorded == {}


def test_a_task_begins_no_block_when_its_time_is_over(tmp_path: Path) -> None:
    run = many(tmp_path, seconds=0.1)
    outcomes = run_blocks(run.url, "one", range(12), limit=0.15)
    status = [outcome.status for outcome in sorted(outcomes, key=lambda o: o.number)]
    done = status.count("done")
    assert 2 <= done <= 4
    assert status == ["done"] * done + ["left"] * (12 - done)
    assert sum(calls(tmp_path / "1", "read").values()) == done, "what is read is computed"


def test_a_task_of_settings_that_are_gone_computes_nothing(tmp_path: Path) -> None:
    run = many(tmp_path)
    with pytest.raises(SpecError, match="other settings than this task was made for"):
        run_blocks(run.url, "one", [0], fingerprint="of another run")
    assert calls(tmp_path / "1") == {}


def test_run_json_is_read_once_by_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = many(tmp_path)
    run_blocks(run.url, "one", [0], fingerprint=run.steps[0].fingerprint)
    read: list[str] = []
    get = files.get
    monkeypatch.setattr(files, "get", lambda url: read.append(url) or get(url))
    run_blocks(run.url, "one", [1, 2], fingerprint=run.steps[0].fingerprint)
    assert read == []
