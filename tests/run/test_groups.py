"""Groups of workers start when they are needed, and end when they are not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bigseg.errors import BlocksFailed
from bigseg.events import StageEnded, WorkersReady
from bigseg.run.cluster import Staff, Start, open_cluster
from bigseg.run.execute import Group, run_steps, serial
from bigseg.run.folder import Run, make_steps
from tests.run.fake_stage import Spec


def plan(folder: Path, *networks: bool, broken: bool = False) -> Run:
    """Steps that want a GPU or not; the last is broken if told."""
    steps = [
        Spec(
            folder=str(folder / str(i)),
            network=network,
            broken=("0-0-0-0",) if broken and i == len(networks) else (),
        )
        for i, network in enumerate(networks, 1)
    ]
    named = [(f"s{i}", "tests.run.fake_stage", spec) for i, spec in enumerate(steps, 1)]
    run = Run(str(folder / "out.bigseg"), "0", {}, make_steps(named))
    run.save()
    return run


def noted(log: list[str], name: str, *, costs: bool) -> Start:
    @contextmanager
    def opened() -> Iterator[Group]:
        log.append(f"+{name}")
        try:
            yield Group(serial, 1, about=name)
        finally:
            log.append(f"-{name}")

    return Start(opened, costs=costs)


def story(run: Run, *, cpu_costs: bool, gpu: bool = True) -> list[str]:
    """What happens in a run: groups that come (+) and go (-), and steps that end."""
    log: list[str] = []

    def listen(event: object) -> None:
        if isinstance(event, StageEnded) and not event.skipped:
            log.append(event.step)
        elif isinstance(event, WorkersReady):
            log.append(f"says {event.about}")

    gpu_start = noted(log, "gpu", costs=True) if gpu else None
    staff = Staff(noted(log, "cpu", costs=cpu_costs), gpu_start, listen)
    try:
        staff.start_free()
        run_steps(run, staff, listen=listen)
    except BlocksFailed:
        log.append("failed")
    finally:
        staff.close()
    return log


def test_gpus_are_there_while_networks_run_and_no_longer(tmp_path: Path) -> None:
    run = plan(tmp_path, False, True, False, False)
    expected = "+cpu,says cpu,s1,+gpu,says gpu,-gpu,s2,s3,s4,-cpu"
    assert ",".join(story(run, cpu_costs=False)) == expected


def test_what_costs_something_does_not_wait_for_the_others(tmp_path: Path) -> None:
    run = plan(tmp_path, False, True, False)
    expected = "+cpu,says cpu,-cpu,s1,+gpu,says gpu,-gpu,s2,+cpu,says cpu,-cpu,s3"
    assert ",".join(story(run, cpu_costs=True)) == expected


def test_gpus_are_given_back_when_the_network_fails(tmp_path: Path) -> None:
    found = story(plan(tmp_path, True, broken=True), cpu_costs=True)
    assert found == ["+gpu", "says gpu", "failed", "-gpu"]


def test_a_run_whose_networks_are_done_starts_no_gpu(tmp_path: Path) -> None:
    run = plan(tmp_path, True, False)
    story(run, cpu_costs=True)
    assert story(run, cpu_costs=True) == []


def test_one_group_does_all_where_there_is_no_other(tmp_path: Path) -> None:
    run = plan(tmp_path, False, True, False)
    found = story(run, cpu_costs=True, gpu=False)
    assert found[:2] == ["+cpu", "says cpu"]
    assert [one for one in found if one[0] in "+-"] == ["+cpu", "-cpu"]


def test_all_groups_are_ended_where_one_cannot_be() -> None:
    log: list[str] = []

    @contextmanager
    def stuck() -> Iterator[Group]:
        yield Group(serial, 1)
        raise OSError("stuck")

    staff = Staff(noted(log, "cpu", costs=False), Start(stuck), lambda _: None)
    staff.start_free()
    with pytest.raises(OSError, match="stuck"):
        staff.close()
    assert log == ["+cpu", "-cpu"]


def test_a_run_says_who_computes(tmp_path: Path) -> None:
    events: list[object] = []
    with open_cluster("threads", 2, listen=events.append) as groups:
        run_steps(plan(tmp_path, False, True), groups, listen=events.append)
    told = [event.about for event in events if isinstance(event, WorkersReady)]
    assert told == ["2 threads of this process"]
