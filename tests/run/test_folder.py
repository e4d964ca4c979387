"""What run.json says, and what is said of a run.json that cannot be used."""

from pathlib import Path

import pytest

from bigseg.errors import NotFound, SpecError
from bigseg.run.folder import Run, is_run, make_steps, open_run
from tests.run.fake_stage import Spec

STAGE = "tests.run.fake_stage"


def plan(url: Path | str, note: str = "") -> Run:
    one, two = Spec(folder="a", note=note), Spec(folder="b")
    return Run(
        str(url), "0.1", {"image": "i"}, make_steps([("one", STAGE, one), ("two", STAGE, two)])
    )


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = plan(tmp_path)
    assert not is_run(run.url)
    run.save()
    assert is_run(run.url)
    assert open_run(run.url) == run
    assert open_run(run.url).step("two").spec == Spec(folder="b")


def test_a_fingerprint_covers_the_steps_before_and_not_those_after() -> None:
    one, two = (step.fingerprint for step in plan("r").steps)
    changed = make_steps([("one", STAGE, Spec(folder="a")), ("two", STAGE, Spec(folder="c"))])
    assert (changed[0].fingerprint == one, changed[1].fingerprint == two) == (True, False)
    other = plan("r", note="x").steps
    assert {step.fingerprint for step in other}.isdisjoint({one, two})


def test_a_fingerprint_is_of_what_is_done_not_of_how_it_is_called() -> None:
    step = make_steps([("one", STAGE, Spec(folder="a", shape=(1, 1, 1, 1)))])[0]
    again = make_steps([("renamed", STAGE, Spec(folder="a", shape=(1, 1, 1, 1)))])[0]
    assert len(step.fingerprint) == 64
    assert step.fingerprint == again.fingerprint


def test_an_unknown_step_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no step 'three'; its steps are one, two"):
        plan(tmp_path).step("three")


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=f"{tmp_path} is not a run: it has no run.json"):
        open_run(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[]", '{"bigseg": "1"}'])
def test_a_damaged_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(SpecError, match=r"run.json is damaged .* start the run again"):
        open_run(str(tmp_path))


def test_a_step_of_another_version(tmp_path: Path) -> None:
    plan(tmp_path).save()
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"note"', '"remark"'))
    with pytest.raises(SpecError, match="'one' of the run was planned by another version"):
        open_run(str(tmp_path)).step("one").spec  # noqa: B018
