"""How blocks are shared out, and when a step is given up."""

from pathlib import Path

import pytest

from bigseg.errors import BigsegError, BlocksFailed
from bigseg.events import BlockLeftOut, Event
from bigseg.grid import Block
from bigseg.holes import leave_out_failed
from bigseg.run.execute import ALONE, Group, run_steps, serial
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.left_out import holes
from bigseg.run.records import StepFacts
from bigseg.types import Facts
from tests.run.fake_stage import Spec, calls

SHAPE = (1, 1, 2, 80)
IDS = tuple(f"0-0-0-{i}" for i in range(40))


def plan(folder: Path, spec: Spec) -> Run:
    run = Run(str(folder / "run"), "0", {}, make_steps([("one", "tests.run.fake_stage", spec)]))
    run.save()
    return run


def test_a_step_is_stopped_if_the_first_blocks_all_fail_alike(tmp_path: Path) -> None:
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=SHAPE, broken=IDS))
    message = (
        r"Step 'one' is stopped: the first 20 blocks all failed .* Voxels of .* Mend the cause"
    )
    with pytest.raises(BigsegError, match=message):
        run_steps(run, ALONE)
    assert 20 <= len(calls(tmp_path)) < 30


def test_a_damaged_region_does_not_keep_the_rest_from_being_done(tmp_path: Path) -> None:
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=SHAPE, broken=IDS[:25]))
    with pytest.raises(BlocksFailed, match=r"25 block\(s\) .* first is 0-0-0-0:"):
        run_steps(run, ALONE)
    assert Ledger.of(run, run.steps[0]).tally(40).left.tolist() == list(range(25))


def test_a_step_is_stopped_if_many_blocks_in_a_row_fail_alike(tmp_path: Path) -> None:
    ids = tuple(f"0-0-0-{i}" for i in range(1000))
    spec = Spec(folder=str(tmp_path), shape=(1, 1, 2, 2000), broken=ids[150:])
    run = plan(tmp_path, spec)
    with pytest.raises(BigsegError, match=r"stopped: 100 blocks in a row failed with the same"):
        run_steps(run, ALONE)
    # Quick blocks go by the tenth of a second, and so do those that are tried in vain.
    assert sum(calls(tmp_path).values()) < 700


def test_who_continues_gets_past_a_large_damaged_region(tmp_path: Path) -> None:
    ids = tuple(f"0-0-0-{i}" for i in range(400))
    spec = Spec(folder=str(tmp_path), shape=(1, 1, 2, 800), broken=ids[150:280])
    run = plan(tmp_path, spec)
    with pytest.raises(BigsegError, match=r"stopped: 100 blocks in a row"):
        run_steps(run, ALONE)
    with pytest.raises(BlocksFailed, match=r"^130 block\(s\)"):
        run_steps(run, ALONE)
    assert Ledger.of(run, run.steps[0]).tally(400).left.tolist() == list(range(150, 280))
    with leave_out_failed():
        run_steps(run, ALONE)
    assert len(holes(run.url)) == 130


def test_blocks_that_keep_failing_are_left_out_if_that_is_wanted(tmp_path: Path) -> None:
    events: list[Event] = []
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=SHAPE, broken=IDS[3:5], flaky=IDS[9:10]))
    with leave_out_failed():
        run_steps(run, ALONE, listen=events.append)
    assert [event.block for event in events if isinstance(event, BlockLeftOut)] == list(IDS[3:5])
    assert [(hole.step, hole.block) for hole in holes(run.url)] == [("one", id) for id in IDS[3:5]]
    assert holes(run.url)[0].text() == (
        "Left out: block 0-0-0-3 of step 'one' (t 0:1, z 0:1, y 0:2, x 6:8): "
        "Voxels of 0-0-0-3 cannot be read [zstd]."
    )
    ledger = Ledger.of(run, run.steps[0])
    assert ledger.finished() == {"numbers": list(range(40))}
    run_steps(run, ALONE)  # nothing is tried again
    assert calls(tmp_path)[IDS[3]] == 2


def test_a_step_that_others_need_whole_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("tests.run.fake_stage.leave_out")
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=SHAPE, broken=IDS[3:5]))
    with (
        leave_out_failed(),
        pytest.raises(BlocksFailed, match="It cannot be left out, as later steps"),
    ):
        run_steps(run, ALONE)


def test_a_block_that_cannot_even_be_emptied_fails_and_the_others_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave_out(spec: Spec, block: Block) -> Facts:
        if block.id == IDS[3]:
            raise PermissionError("read-only")
        return {"number": spec.grid.number(block.index)}

    monkeypatch.setattr("tests.run.fake_stage.leave_out", leave_out)
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=SHAPE, broken=IDS[3:5]))
    message = r"^1 block\(s\) .* is 0-0-0-3: .* be left out either: PermissionError: read-only\."
    with leave_out_failed(), pytest.raises(BlocksFailed, match=message):
        run_steps(run, ALONE)
    assert [hole.block for hole in holes(run.url)] == [IDS[4]]


def test_no_tries_are_wasted_on_a_step_that_went_well(tmp_path: Path) -> None:
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=SHAPE))
    run_steps(run, ALONE, tries=5)
    assert calls(tmp_path) == dict.fromkeys(IDS, 1)


@pytest.mark.parametrize(("blocks", "share"), [(1, 8), (2, 4), (3, 2), (12, 2)])
def test_few_blocks_share_all_cores(tmp_path: Path, blocks: int, share: int) -> None:
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=(1, 1, 2, 2 * blocks)))
    run_steps(run, Group(serial, 4, cores=8))
    facts = StepFacts(Ledger.of(run, run.steps[0]), blocks)
    assert {one["cores"] for one in facts} == {share}


def test_blocks_at_the_end_use_the_cores_of_workers_that_have_none_left(tmp_path: Path) -> None:
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=(1, 1, 2, 12)))
    run_steps(run, Group(serial, 4, cores=8))
    facts = StepFacts(Ledger.of(run, run.steps[0]), 6)
    assert sorted(one["cores"] for one in facts) == [2, 2, 2, 2, 4, 4]
