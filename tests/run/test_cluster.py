"""Names of clusters, and what they become."""

import os
import socket
import time

import pytest
from distributed import LocalCluster

from bigseg.errors import SpecError
from bigseg.run.execute import serial
from bigseg.run.machine import cores, free_disk, memory, peak_memory
from tests.clusters import open_group


def test_serial_is_one_worker() -> None:
    with open_group("serial", 8) as cluster:
        assert (cluster.execute, cluster.workers) == (serial, 1)


def test_as_many_threads_as_cores_unless_told() -> None:
    with open_group("threads") as cluster:
        assert cluster.workers == cores()
    with open_group("threads", 3) as cluster:
        assert cluster.workers == 3


def test_no_more_workers_than_blocks_unless_told() -> None:
    with open_group("threads", most=1) as cluster:
        assert cluster.workers == 1
    with open_group("threads", 3, most=1) as cluster:
        assert cluster.workers == 3


def test_who_says_how_many_threads_libraries_may_use_is_heeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with open_group("serial") as cluster:
        assert cluster.cores == cores()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with open_group("serial") as cluster:
        assert cluster.cores is None


def test_workers_on_this_machine_share_its_cores_and_leave_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    for _ in range(2):  # the second would take for a wish what the first left
        with open_group("local", 2) as cluster:
            assert cluster.cores == cores()
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["MKL_NUM_THREADS"] == "7"


def test_an_unknown_name() -> None:
    with (
        pytest.raises(SpecError, match="Cluster 'slrm' is unknown; use local, serial, threads"),
        open_group("slrm"),
    ):
        pass


def test_the_machine_is_described() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    assert memory() > 2**27
    assert 2**20 < peak_memory() < memory() * 2


def test_free_disk_of_a_folder_that_is_still_to_be_made(tmp_path: os.PathLike[str]) -> None:
    free = free_disk(f"{tmp_path}/not/yet/there")
    assert free is not None
    assert free > 0
    assert free_disk("s3://bucket/run") is None


def test_no_scheduler_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigseg.run.cluster.ANSWER", "300ms")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
    with (
        pytest.raises(SpecError, match=f"No Dask scheduler answers at {address}"),
        open_group(address),
    ):
        pass


def test_a_scheduler_elsewhere_is_joined_and_left_running() -> None:
    with (
        LocalCluster(
            n_workers=1,
            processes=False,
            threads_per_worker=2,
            dashboard_address="127.0.0.1:0",
            protocol="tcp://",
            host="127.0.0.1",
        ) as elsewhere,
    ):
        for _ in range(2):
            with open_group(elsewhere.scheduler_address) as cluster:
                assert cluster.workers == 2
                results = cluster.execute(lambda numbers: [], [[0], [1]])
                assert list(results) == [[], []]
        elsewhere.scale(0)
        for _ in range(600):  # it only says what is wanted
            if not elsewhere.scheduler.workers:
                break
            time.sleep(0.05)
        with (
            pytest.raises(SpecError, match=r"scheduler at tcp://.* has no workers; start some"),
            open_group(elsewhere.scheduler_address),
        ):
            pass
