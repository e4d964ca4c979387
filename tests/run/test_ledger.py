"""Records are all or nothing, found by one listing, and never those of other settings."""

from pathlib import Path

import numpy as np
import pytest

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.grid import Grid
from bigseg.run.ledger import Ledger, Tally

GRID = Grid((1, 1, 1, 12), (1, 1, 1, 1), (0, 0, 0, 0))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(str(tmp_path / "ledger" / "label" / "abc"))


def test_an_empty_ledger_is_an_empty_tally(ledger: Ledger) -> None:
    assert ledger.tally() == Tally(frozenset(), frozenset(), False)
    assert ledger.finished() is None


def test_records_come_back_in_grid_order(ledger: Ledger) -> None:
    for block in reversed(list(GRID)):
        ledger.record(block.id, {"number": GRID.number(block.index)})
    assert [record["number"] for record in ledger.records(GRID)] == list(range(12))


def test_a_failure_counts_attempts_until_the_block_is_done(ledger: Ledger) -> None:
    ledger.fail("0-0-0-0", "no luck.", "Traceback")
    ledger.fail("0-0-0-0", "still none.", "Traceback")
    failure = ledger.failed()["0-0-0-0"]
    assert (failure["error"], failure["attempts"]) == ("still none.", 2)
    ledger.record("0-0-0-0", {})
    assert ledger.tally() == Tally(frozenset({"0-0-0-0"}), frozenset(), False)


def test_numpy_numbers_are_remembered_and_other_things_refused(ledger: Ledger) -> None:
    ledger.record("0-0-0-0", {"count": np.int64(3), "box": np.arange(2)})
    assert ledger.sample({"0-0-0-0"}, 1) == [{"count": 3, "box": [0, 1]}]
    with pytest.raises(TypeError, match="may remember numbers, text, lists and dicts, but not set"):
        ledger.record("0-0-0-1", {"ids": {1, 2}})
    assert not ledger.is_done("0-0-0-1")


def test_a_sample_is_spread_over_all(ledger: Ledger) -> None:
    for block in GRID:
        ledger.record(block.id, {"number": GRID.number(block.index)})
    sample = ledger.sample(ledger.done(), 4)
    assert len(sample) == 4
    assert len(ledger.sample(ledger.done(), 5)) <= 5


def test_a_finished_step_is_not_a_block(ledger: Ledger) -> None:
    ledger.finish({"objects": 5})
    assert ledger.tally() == Tally(frozenset(), frozenset(), True)
    assert ledger.finished() == {"objects": 5}


def test_records_of_other_settings_are_dropped_and_no_others(ledger: Ledger) -> None:
    other = Ledger(ledger.url.replace("abc", "def"))
    neighbour = Ledger(ledger.url.replace("label", "merge"))
    for each in (ledger, other, neighbour):
        each.record("0-0-0-0", {})
    ledger.forget_others()
    assert (ledger.is_done("0-0-0-0"), other.done()) == (True, frozenset())
    assert neighbour.is_done("0-0-0-0")


def test_missing_and_damaged_records_are_named(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match=r"record .*abc/0-0-0-0.json is missing"):
        ledger.records(GRID)
    files.put(files.join(ledger.url, "finished.json"), b"{")
    with pytest.raises(SpecError, match=r"record .*abc/finished.json is damaged .*; delete it"):
        ledger.finished()


def test_the_same_in_a_bucket() -> None:
    ledger = Ledger("memory://bucket/run/ledger/label/abc")
    ledger.fail("0-0-0-1", "no luck.", "")
    ledger.record("0-0-0-0", {"number": 1})
    ledger.finish({})
    assert ledger.tally() == Tally(frozenset({"0-0-0-0"}), frozenset({"0-0-0-1"}), True)
    Ledger("memory://bucket/run/ledger/label/def").forget_others()
    assert ledger.tally() == Tally(frozenset(), frozenset(), False)
