"""Blocks are held against the memory of the workers that compute them, wherever these are."""

from pathlib import Path

import pytest
from distributed import LocalCluster

from bigseg.errors import SpecError
from bigseg.run import cluster
from bigseg.run.cluster import Room, room

JOBS = """
[workers]
kind = "slurm"
jobs = 3
cores = 4
memory = "32 GB"
walltime = "04:00:00"
interface = "lo"
"""
PODS = """
[gpu_workers]
kind = "kubernetes"
workers = 2
image = "bigseg"
memory = "24 GB"
"""


def written(folder: Path, text: str) -> str:
    (folder / "cluster.toml").write_text(text)
    return str(folder / "cluster.toml")


def test_workers_of_this_machine_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "memory", lambda: 10**10)
    assert room("local", 3) == Room(3, 10**10)
    assert room("serial", None) == Room(1, 10**10)


def test_a_file_says_what_workers_have(tmp_path: Path) -> None:
    assert room(written(tmp_path, JOBS), None) == Room(12, 96 * 10**9)
    local = '[workers]\nkind = "local"\nworkers = 2\nmemory = "4 GB"\n'
    assert room(written(tmp_path, local), None) == Room(2, 8 * 10**9)


def test_of_two_groups_the_larger_workers_count(tmp_path: Path) -> None:
    assert room(written(tmp_path, JOBS + PODS), None) == Room(12, 12 * 24 * 10**9)


def test_a_scheduler_is_asked() -> None:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", host="127.0.0.1",
        dashboard_address="127.0.0.1:0", memory_limit=3 * 10**9,
    ) as there:  # fmt: skip
        assert room(there.scheduler_address, None) == Room(2, 6 * 10**9)
        assert room(there.scheduler_address, 1) == Room(1, 3 * 10**9)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER", "0.1s")
    with pytest.raises(SpecError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        room("tcp://127.0.0.1:9", None)
