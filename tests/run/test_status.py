"""How far a run is, from its ledger alone."""

from pathlib import Path

import pytest

from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.status import block_rate, status, status_text
from tests.run.fake_stage import Spec


def records(*starts: float, seconds: float = 1.0) -> list[dict[str, float]]:
    return [{"started": start, "seconds": seconds} for start in starts]


def test_rate_of_steady_work() -> None:
    assert block_rate(records(0, 1, 2, 3), 4) == pytest.approx(1)
    assert block_rate(records(0, 0, 1, 1), 4) == pytest.approx(2)


def test_a_sample_stands_for_all() -> None:
    assert block_rate(records(0, 9, 19, 29, 39), 40) == pytest.approx(1)


def test_a_night_without_work_hardly_counts() -> None:
    steady = records(*range(50), *range(40_000, 40_050))
    rate = block_rate(steady, 100)
    assert rate is not None
    assert 0.9 < rate < 1.1


def test_no_blocks_no_rate() -> None:
    assert block_rate([], 0) is None


def test_status_counts_add_up(tmp_path: Path) -> None:
    spec = Spec(folder=str(tmp_path))
    stage = "tests.run.fake_stage"
    run = Run(str(tmp_path), "0", {}, make_steps([(n, stage, spec) for n in ("a", "b", "c")]))
    run.save()
    a, b, _ = (Ledger.of(run, step) for step in run.steps)
    for number in range(4):
        a.record(number, records(0)[0])
    a.finish({})
    b.record(0, {"started": 0.0, "seconds": 4.0})
    b.fail(1, "no luck.", "")
    found = status(str(tmp_path))
    assert [(s.done, s.failed, s.left, s.finished) for s in found] == [
        (4, 0, 0, True),
        (1, 1, 3, False),
        (0, 0, 4, False),
    ]
    assert (found[1].rate, found[1].seconds_left) == (0.25, 12.0)
    _, first, second, third = status_text(found).splitlines()
    assert first.split() == ["a", "4", "4", "0", "0", "finished"]
    assert second.endswith("under way, 0.25 blocks/s, 12 s left")
    assert third.split() == ["c", "4", "0", "0", "4", "waiting"]
