"""Records are all or nothing, found by one listing, and never those of other settings."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.run import names
from bigseg.run.ledger import Ledger, line
from bigseg.run.records import Records, StepFacts, sample

BLOCKS = 12


@pytest.fixture(params=["disk", "bucket"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    if request.param == "disk":
        yield Ledger(str(tmp_path / "ledger" / "label" / "abc"))
    else:
        yield Ledger("memory://bucket/run/ledger/label/abc")
        files.remove("memory://bucket/run")


def found(ledger: Ledger) -> tuple[list[int], list[int], list[int], bool]:
    """Numbers that are done, failed and left out, and whether the step is finished."""
    tally = ledger.tally(BLOCKS)
    done = np.flatnonzero(tally.done).tolist()
    return done, tally.failed.tolist(), tally.skipped.tolist(), tally.finished


def test_an_empty_ledger_is_an_empty_tally(ledger: Ledger) -> None:
    assert found(ledger) == ([], [], [], False)
    assert ledger.finished() is None
    assert not ledger.has_records()
    assert ledger.done_among(range(4)) == set()
    assert sample(ledger, 3) == []


def test_records_come_back_in_the_order_of_blocks(ledger: Ledger) -> None:
    for number in reversed(range(BLOCKS)):
        ledger.record(number, {"facts": {"square": number**2}})
    assert [record["block"] for record in Records(ledger, BLOCKS)] == list(range(BLOCKS))
    facts = StepFacts(ledger, BLOCKS)
    assert [facts[n]["square"] for n in (3, -1)] == [9, 121]
    assert [one["square"] for one in facts[1:3]] == [1, 4]
    assert len(facts) == BLOCKS


def test_records_of_a_batch_share_an_object_whose_name_tells_the_blocks(ledger: Ledger) -> None:
    ledger.put({number: line(number, {}) for number in (2, 3, 4, 7)})
    assert files.tree(ledger.url) == ["0/2-4_7.json"]
    assert found(ledger)[0] == [2, 3, 4, 7]
    assert ledger.done_among([4, 5, 7]) == {4, 7}


def test_a_failure_counts_attempts_until_the_block_is_done(ledger: Ledger) -> None:
    ledger.fail(5, "no luck.", "Traceback")
    ledger.fail(5, "still none.", "Traceback")
    assert ledger.failed()[5] == {
        "error": "still none.",
        "traceback": "Traceback",
        "attempts": 2,
    }
    assert found(ledger) == ([], [5], [], False)
    ledger.record(5, {})
    assert found(ledger) == ([5], [], [], False)


def test_a_block_that_is_left_out_counts_as_done_and_is_told_of(ledger: Ledger) -> None:
    ledger.fail(5, "no luck.", "")
    ledger.put({n: line(n, {}) for n in (4, 6, 8)})
    ledger.skip(5, "no luck.", {"facts": {}})
    ledger.compact()
    assert found(ledger) == ([4, 5, 6, 8], [], [5], False)
    assert ledger.skipped() == {5: {"block": 5, "error": "no luck.", "facts": {}}}
    assert ledger.done_among([5, 7]) == {5}


def test_numpy_numbers_are_remembered_and_other_things_refused(ledger: Ledger) -> None:
    ledger.record(0, {"count": np.int64(3), "box": np.arange(2)})
    assert sample(ledger, 1) == [{"block": 0, "count": 3, "box": [0, 1]}]
    with pytest.raises(TypeError, match="may remember numbers, text, lists and dicts, but not set"):
        ledger.record(1, {"ids": {1, 2}})
    assert not ledger.is_done(1)


@pytest.mark.parametrize(("together", "most"), [(1, 4), (1, 5), (3, 2), (12, 4), (12, 30)])
def test_a_sample_is_spread_over_all(ledger: Ledger, together: int, most: int) -> None:
    for first in range(0, BLOCKS, together):
        ledger.put({n: line(n, {}) for n in range(first, first + together)})
    numbers = [record["block"] for record in sample(ledger, most)]
    assert min(most, BLOCKS) // 2 <= len(numbers) <= most
    assert numbers == sorted(set(numbers))


def test_a_finished_step_is_not_a_block(ledger: Ledger) -> None:
    ledger.finish({"objects": 5})
    assert found(ledger) == ([], [], [], True)
    assert ledger.finished() == {"objects": 5}
    assert ledger.is_finished()


def test_records_of_other_settings_are_dropped_and_no_others(ledger: Ledger) -> None:
    other = Ledger(ledger.url.replace("abc", "def"))
    neighbour = Ledger(ledger.url.replace("label", "merge"))
    for each in (ledger, other, neighbour):
        each.record(0, {})
    ledger.forget_others()
    assert (ledger.is_done(0), other.has_records(), neighbour.is_done(0)) == (True, False, True)


def test_missing_records_are_named(ledger: Ledger) -> None:
    ledger.record(0, {})
    with pytest.raises(NotFound, match=r"record of block 1 in .*abc is missing; continue the run"):
        list(Records(ledger, BLOCKS))


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b'[{"block": 4}]', b"[3]"])
def test_damaged_records_are_named(ledger: Ledger, content: bytes) -> None:
    files.put(files.join(ledger.url, "0/3.json"), content)
    with pytest.raises(SpecError, match=r"record .*abc/0/3.json is damaged .*; delete it"):
        Records(ledger, BLOCKS)[3]


def test_a_damaged_end_is_named(ledger: Ledger) -> None:
    files.put(files.join(ledger.url, "finished.json"), b"[]")
    with pytest.raises(SpecError, match=r"record .*abc/finished.json is damaged .*; delete it"):
        ledger.finished()


@pytest.mark.parametrize("path", ["0-0-0-1.json", "0-0-0-1.failed.json", "1/3.json", "0/5-3.json"])
def test_records_of_another_version_are_not_taken_for_ours(ledger: Ledger, path: str) -> None:
    files.put(files.join(ledger.url, path), b"{}")
    with pytest.raises(SpecError, match=r"is not a record of this version .*--overwrite"):
        ledger.tally(BLOCKS)


def test_records_of_a_larger_grid_are_refused(ledger: Ledger) -> None:
    ledger.record(BLOCKS, {})
    with pytest.raises(SpecError, match="the step has only 12 blocks"):
        ledger.tally(BLOCKS)


def test_hidden_files_are_nobodys_records(ledger: Ledger) -> None:
    files.put(files.join(ledger.url, "0/.nfs0001"), b"")
    assert found(ledger)[0] == []


def test_records_put_together_are_one_object(ledger: Ledger) -> None:
    for number in range(BLOCKS):
        ledger.record(number, {"facts": {"n": number}})
    before = list(Records(ledger, BLOCKS))
    ledger.compact()
    ledger.compact()
    assert files.tree(ledger.url) == ["0/0-11.json"]
    assert list(Records(ledger, BLOCKS)) == before


def test_who_is_killed_while_putting_together_loses_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(BLOCKS):
        ledger.record(number, {})
    with monkeypatch.context() as patch:
        patch.setattr(files, "remove_all", lambda urls: None)
        ledger.compact()
    assert len(files.tree(ledger.url)) == BLOCKS + 1
    assert [record["block"] for record in Records(ledger, BLOCKS)] == list(range(BLOCKS))
    ledger.compact()
    assert files.tree(ledger.url) == ["0/0-11.json"]


def test_who_reads_while_others_put_together_finds_all(ledger: Ledger) -> None:
    for number in range(BLOCKS):
        ledger.record(number, {})
    records = Records(ledger, BLOCKS)
    ledger.compact()
    assert [record["block"] for record in records] == list(range(BLOCKS))


@given(st.sets(st.integers(0, 3 * names.GROUP), max_size=300))
@settings(deadline=None, max_examples=50)
def test_names_tell_each_number_once(numbers: set[int]) -> None:
    made = list(names.of_many(sorted(numbers)))
    assert [n for name in made for n in name.numbers()] == sorted(numbers)
    assert all(names.parse(name.path) == name for name in made)
    assert all(len(name.path.partition("/")[2]) <= names.LONGEST + 20 for name in made)
    assert sum(map(len, made)) == len(numbers)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sets(st.integers(0, 40), min_size=1)),
        st.tuples(st.sampled_from(["compact", "killed compact"]), st.just(set())),
        st.tuples(st.just("fail"), st.sets(st.integers(0, 40), min_size=1, max_size=2)),
    ),
    max_size=12,
)


@given(ACTIONS)
@settings(deadline=None, max_examples=60)
def test_any_order_of_recording_and_putting_together_tells_the_same(
    actions: list[tuple[str, set[int]]],
) -> None:
    ledger, done, failed = Ledger("memory://any/order"), set[int](), set[int]()
    files.remove(ledger.url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(names, "GROUP", 16)
        for action, numbers in actions:
            if action == "put":
                ledger.put({n: line(n, {"facts": n}) for n in sorted(numbers)})
                done |= numbers
            elif action == "fail":
                failed |= numbers
                for number in numbers:
                    ledger.fail(number, "no.", "")
            elif action == "compact":
                ledger.compact()
            else:
                with pytest.MonkeyPatch.context() as deadly:
                    deadly.setattr(files, "remove_all", lambda urls: None)
                    ledger.compact()
        tally = ledger.tally(41)
        assert set(np.flatnonzero(tally.done).tolist()) == done
        assert set(tally.failed.tolist()) == failed - done
        assert ledger.done_among(range(41)) == done
        read = {
            n: r for f, found in ledger.listing().items() for n, r in ledger.read(f, found).items()
        }
        assert read == {n: {"block": n, "facts": n} for n in done}


def test_a_sample_is_taken_while_others_put_together(ledger: Ledger) -> None:
    for number in range(20):
        ledger.record(number, {"number": number})
    listed = ledger.listed()
    ledger.compact()
    assert [record["block"] for record in sample(listed, 20)] == list(range(20))
