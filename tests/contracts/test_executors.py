"""What every executor must do, told by counting how often each block really ran."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster
from distributed.comm import CommClosedError

from bigseg.errors import BlocksFailed
from bigseg.events import BlockDone, BlockFailed, Event, StageEnded, StageStarted
from bigseg.run.dask import ClusterLost, Window, dask
from bigseg.run.execute import Group, run_steps
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.run.worker import run_blocks
from tests.clusters import open_group
from tests.run.fake_stage import Spec, calls

IDS = ["0-0-0-0", "0-0-0-1", "0-0-1-0", "0-0-1-1"]


@pytest.fixture(scope="module")
def local() -> Iterator[Group]:
    with open_group("local", 2) as cluster:
        yield cluster


@pytest.fixture(params=["serial", "threads", "local"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Group]:
    if request.param == "local":
        yield request.getfixturevalue("local")
    else:
        with open_group(request.param, 2) as opened:
            yield opened


def plan(folder: Path, *specs: Spec) -> Run:
    steps = [(f"fake-{i}", "tests.run.fake_stage", spec) for i, spec in enumerate(specs, 1)]
    run = Run(str(folder / "out.bigseg"), "0", {}, make_steps(steps))
    run.save()
    return run


def go(run: Run, cluster: Group) -> list[Event]:
    events: list[Event] = []
    run_steps(run, cluster, listen=events.append)
    return events


def test_each_block_runs_once_and_finish_sees_all_in_grid_order(
    tmp_path: Path, cluster: Group
) -> None:
    run = plan(tmp_path, Spec(folder=str(tmp_path), shape=(1, 1, 24, 2)))
    events = go(run, cluster)
    assert set(calls(tmp_path).values()) == {1}
    assert Ledger.of(run, run.steps[0]).finished() == {"numbers": list(range(12))}
    assert events[0] == StageStarted("fake-1", 12, 0)
    assert sum(isinstance(event, BlockDone) for event in events) == 12
    assert isinstance(events[-1], StageEnded)


def test_a_flaky_block_is_tried_again_and_nothing_else_is(tmp_path: Path, cluster: Group) -> None:
    events = go(plan(tmp_path, Spec(folder=str(tmp_path), flaky=(IDS[1],))), cluster)
    assert calls(tmp_path) == {id: 1 + (id == IDS[1]) for id in IDS}
    assert [event.block for event in events if isinstance(event, BlockFailed)] == [IDS[1]]


def test_a_broken_block_is_reported_while_the_others_finish(tmp_path: Path, cluster: Group) -> None:
    run = plan(tmp_path, Spec(folder=str(tmp_path), broken=(IDS[2],)))
    message = (
        r"1 block\(s\) of stage 'fake-1' failed; first is 0-0-1-0: Voxels of 0-0-1-0 cannot be read"
    )
    with pytest.raises(BlocksFailed, match=message):
        go(run, cluster)
    ledger = Ledger.of(run, run.steps[0])
    assert ledger.tally(4).left.tolist() == [2]
    failure = ledger.failed()[2]
    assert failure["attempts"] == 2
    assert 'raise ImageError(f"Voxels of' in failure["traceback"]
    assert ledger.finished() is None


def test_a_run_goes_on_where_it_failed(tmp_path: Path, cluster: Group) -> None:
    folder = str(tmp_path)
    run = plan(tmp_path, Spec(folder=folder), Spec(folder=f"{folder}/b", broken=(IDS[0],)))
    with pytest.raises(BlocksFailed, match="stage 'fake-2'"):
        go(run, cluster)
    with pytest.raises(BlocksFailed, match="stage 'fake-2'"):
        go(run, cluster)
    assert calls(folder) == dict.fromkeys(IDS, 1)
    assert calls(f"{folder}/b") == {id: 4 if id == IDS[0] else 1 for id in IDS}


def test_finished_steps_are_skipped(tmp_path: Path, cluster: Group) -> None:
    run = plan(tmp_path, Spec(folder=str(tmp_path)))
    go(run, cluster)
    assert go(run, cluster) == [StageEnded("fake-1", 0.0, skipped=True)]
    assert calls(tmp_path, "finish") == {"all": 1}


def test_other_settings_reuse_nothing_and_neither_does_the_way_back(
    tmp_path: Path, cluster: Group
) -> None:
    for times, note in enumerate(("a", "b", "a"), 1):
        go(plan(tmp_path, Spec(folder=str(tmp_path), note=note)), cluster)
        assert calls(tmp_path) == dict.fromkeys(IDS, times)


def test_the_next_block_is_read_while_one_is_computed(tmp_path: Path, cluster: Group) -> None:
    spec = Spec(folder=str(tmp_path), shape=(1, 1, 4, 2), block=(1, 1, 2, 2), wait_for_next=True)
    run = plan(tmp_path, spec)
    results = cluster.execute(lambda numbers: run_blocks(run.url, "fake-1", numbers), [range(2)])
    assert [outcome.status for outcome in next(results)] == ["done", "done"]


def test_blocks_are_not_handed_out_long_before_they_are_needed(cluster: Group) -> None:
    taken = 0

    def endless() -> Iterator[list[int]]:
        nonlocal taken
        while True:
            taken += 1
            yield [taken]

    results = cluster.execute(lambda numbers: [], endless())
    for _ in range(5):
        next(results)
    results.close()
    assert taken <= 5 + 3 * cluster.workers


@pytest.mark.parametrize("deadly", [IDS[:1], [IDS[0], IDS[3]]])
def test_a_block_that_kills_its_worker_does_not_stop_the_others(
    tmp_path: Path, local: Group, deadly: list[str]
) -> None:
    spec = Spec(folder=str(tmp_path), shape=(1, 1, 4, 32), deadly=tuple(deadly))
    run = plan(tmp_path, spec)
    with pytest.raises(BlocksFailed, match=r"the worker that computed it died, more than once"):
        go(run, local)
    ledger = Ledger.of(run, run.steps[0])
    assert [spec.grid[n].id for n in ledger.tally(32).left] == deadly
    assert [spec.grid[n].id for n in ledger.failed()] == deadly


def test_a_driver_killed_half_way_loses_nothing(tmp_path: Path) -> None:
    spec = Spec(folder=str(tmp_path), shape=(1, 1, 12, 2), seconds=0.1)
    run = plan(tmp_path, spec)
    ledger = Ledger.of(run, run.steps[0])
    code = (
        "from bigseg.run.execute import ALONE, run_steps\n"
        "from bigseg.run.folder import open_run\n"
        f"run_steps(open_run({run.url!r}), ALONE)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code])
    while ledger.tally(6).count < 2:
        assert driver.poll() is None
        time.sleep(0.01)
    driver.kill()
    driver.wait()
    done = [spec.grid[n].id for n in np.flatnonzero(ledger.tally(6).done)]
    assert 2 <= len(done) < 6
    with open_group("serial") as cluster:
        go(run, cluster)
    assert {id: calls(tmp_path)[id] for id in done} == dict.fromkeys(done, 1)
    assert ledger.finished() == {"numbers": list(range(6))}


def test_a_cluster_without_workers_is_given_up() -> None:
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(ClusterLost, match=r"no workers for 0 s; start some and continue the run"),
    ):
        list(dask(client, 1, patience=0.1)(lambda numbers: [], [[0]]))


def test_a_scheduler_that_dies_before_it_hands_out_a_result_is_told_of() -> None:
    class Fetched:
        """Future of a task that is done, whose result nobody can fetch any more."""

        def add_done_callback(self, tell: Callable[[object], None]) -> None:
            tell(self)

        def cancelled(self) -> bool:
            return False

        def exception(self) -> None: ...

        def result(self) -> list[object]:
            raise CommClosedError("Stream is closed")

    class Dying:
        status = "closed"

        def submit(self, *_: object, pure: bool) -> Fetched:
            return Fetched()

    with pytest.raises(ClusterLost, match="scheduler is lost; see that it runs and continue"):
        list(dask(Dying(), 1)(lambda numbers: [], [[0]]))


def test_as_many_tasks_are_known_as_the_cluster_has_use_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bigseg.run.dask.LOOK_AGAIN", 0.0)

    class Growing:
        status = "running"
        threads = 1

        def nthreads(self) -> dict[str, int]:
            return {"tcp://here": self.threads, "tcp://there": self.threads}

    client = Growing()
    window = Window(client, 4)
    assert window.size() == 8
    client.threads = 50
    assert window.size() == 200
    client.threads = 0  # for a moment, as when an adaptive cluster begins
    assert window.size() == 8


def test_nothing_listens_beyond_this_machine(local: Group) -> None:
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [c for p in family for c in p.net_connections("inet") if c.status == "LISTEN"]
    assert len(listening) >= 3  # the scheduler and two workers
    assert {connection.laddr.ip for connection in listening} == {"127.0.0.1"}
