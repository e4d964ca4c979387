"""Records are put together while a step goes on, once and where nothing is missing."""

from pathlib import Path

import pytest

from bigseg import files
from bigseg.events import BlockDone, Event
from bigseg.run import execute
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from tests.run.fake_stage import Spec


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Twelve slow blocks, each with a record of its own, in folders of four; one fails at first."""
    for module in ("names", "tidying", "records"):
        monkeypatch.setattr(f"bigseg.run.{module}.GROUP", 4)
    monkeypatch.setattr("bigseg.run.records.PAUSE", 0.0)
    spec = Spec(folder=str(tmp_path), shape=(1, 1, 2, 24), flaky=("0-0-0-5",))
    made = Run(str(tmp_path / "run"), "0", {}, make_steps([("one", "tests.run.fake_stage", spec)]))
    made.save()
    return made


def objects(run: Run) -> list[str]:
    """Objects with records of blocks that are done."""
    found = files.tree(Ledger.of(run, run.steps[0]).url)
    return sorted(p for p in found if p.endswith(".json") and p.count(".") == 1 and "/" in p)


def test_folders_are_put_together_as_they_are_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    whole = Ledger.compact_folder

    def compact_folder(self: Ledger, folder: str) -> None:
        whole(self, folder)
        done.append(folder)

    monkeypatch.setattr(Ledger, "compact_folder", compact_folder)
    monkeypatch.setattr(execute, "finish_step", lambda run, step: None)
    run_steps(run, ALONE)
    assert sorted(done) == ["0", "1", "2"]
    assert done[-1] == "1"  # its block 5 failed, and was done when all others were
    assert objects(run) == ["0/0-3.json", "1/4-7.json", "2/8-11.json"]
    assert Ledger.of(run, run.steps[0]).tally(12).done.all()


def test_who_stops_meanwhile_loses_nothing(run: Run) -> None:
    seen: list[Event] = []

    def listen(event: Event) -> None:
        seen.append(event)
        if sum(isinstance(one, BlockDone) for one in seen) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_steps(run, ALONE, listen=listen)
    ledger = Ledger.of(run, run.steps[0])
    assert ledger.tally(12).count >= 9
    run_steps(run, ALONE)
    assert ledger.finished() == {"numbers": list(range(12))}
    assert objects(run) == ["0/0-3.json", "1/4-7.json", "2/8-11.json"]
