"""How blocks are shared out, and when a step is given up."""

from pathlib import Path

import pytest

from bigseg.errors import BigsegError, BlocksFailed
from bigseg.run.execute import ALONE, Group, run_steps, serial
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.records import StepFacts
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
