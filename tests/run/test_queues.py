"""Jobs of batch systems: what is submitted, and what is refused before anything is."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imread

from bigseg.errors import NotFound, SpecError
from bigseg.events import BlockDone, BlockFailed, Event
from bigseg.jobs.segment import segment
from bigseg.run import queues, security
from bigseg.run.cluster import open_cluster
from bigseg.run.queues import make_cluster
from bigseg.specs.cluster import Jobs, Tls, read_cluster
from tests.clusters import PLAIN
from tests.worlds import make_image, read_labels

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
pytest.importorskip("dask_jobqueue")


def jobs(kind: str, **settings: Any) -> Jobs:
    usual = {
        "jobs": 2,
        "cores": 4,
        "memory": "8 GB",
        "walltime": "01:30:00",
        "interface": "lo",
    }
    return Jobs(kind=kind, **{**usual, **settings})


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """What would be submitted."""

    def make(spec: Jobs, *, gpu: bool = False) -> str:
        logs = str(tmp_path / "logs")
        found = spec.model_copy(update={"interface": "lo", "logs": logs, "scratch": "$TMPDIR"})
        with make_cluster(found, gpu=gpu) as cluster:
            return str(cluster.job_script())

    return make


HEADERS = {
    "slurm": ["-p cpu", "-A imaging", "-n 1", "--cpus-per-task=8", "--mem=60G", "-t 04:00:00"],
    "lsf": ["-q normal", '-P "imaging"', "-n 8", '-R "span[hosts=1]"', "-W 04:00"],
    "pbs": ["-q batch", "-A imaging", "-l select=1:ncpus=8:mem=61036mb", "-l walltime=04:00:00"],
    "sge": ["-q all.q", "-P imaging", "-l h_vmem=8G", "-l h_rt=04:00:00", "-pe smp 8"],
}
MARKS = {"slurm": "#SBATCH", "lsf": "#BSUB", "pbs": "#PBS", "sge": "#$"}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_job_asks_for_what_the_file_says(kind: str, script: Callable[..., str]) -> None:
    spec = read_cluster(str(EXAMPLES / f"{kind}.toml")).workers
    assert isinstance(spec, Jobs)
    lines = script(spec).splitlines()
    assert [h for h in HEADERS[kind] if f"{MARKS[kind]} {h}" not in lines] == []
    assert f"{MARKS[kind]} -{'J' if kind in ('slurm', 'lsf') else 'N'} bigseg" in lines
    worker = lines[-1].split()
    assert worker[worker.index("--nthreads") + 1] == "1"
    assert worker[worker.index("--nworkers") + 1] == "8"
    assert worker[worker.index("--lifetime") + 1] == "13800s"
    assert worker[worker.index("--lifetime-stagger") + 1] == "300s"
    assert worker[worker.index("--local-directory") + 1] == "$TMPDIR"
    assert "export OMP_NUM_THREADS=1" in lines
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in lines


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("slurm", "#SBATCH --gres=gpu:1"),
        ("lsf", "#BSUB -gpu num=1"),
        ("pbs", "#PBS -l select=1:ncpus=4:ngpus=1:mem=32gb"),
    ],
)
def test_a_job_with_a_gpu_has_one_worker_that_has_all_its_cores(
    kind: str, header: str, script: Callable[..., str]
) -> None:
    spec = read_cluster(str(EXAMPLES / f"{kind}.toml")).gpu_workers
    assert isinstance(spec, Jobs)
    text = script(spec, gpu=True)
    assert header in text.splitlines()
    assert "--nworkers" not in text
    assert "export OMP_NUM_THREADS=4" in text.splitlines()


def test_lines_of_shell_come_before_the_worker(script: Callable[..., str]) -> None:
    lines = script(jobs("slurm", prologue=("module load cuda",))).splitlines()
    assert "module load cuda" in lines[:-1]


def test_lsf_counts_minutes(script: Callable[..., str]) -> None:
    assert "#BSUB -W 25:01" in script(jobs("lsf", walltime="1-01:00:30"))


def test_workers_end_before_their_jobs() -> None:
    for walltime in (60, 900, 36000):
        _, lifetime, _, stagger = queues._lifetime(walltime)
        assert 0 < int(lifetime[:-1]) + int(stagger[:-1]) < walltime


def test_keys_are_for_the_user_alone_and_do_not_outlive_the_cluster(tmp_path: Path) -> None:
    with security.fresh(tmp_path) as tls:
        keys = [Path(path) for path in tls.model_dump().values()]
        assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
        assert {stat.S_IMODE(key.parent.stat().st_mode) for key in keys} == {0o700}
        with make_cluster(jobs("slurm", logs=str(tmp_path)), tls) as cluster:
            assert cluster.scheduler_address.startswith("tls://127.0.0.1:")
            assert all(str(key) in cluster.job_script() for key in keys)
            assert "PRIVATE KEY" not in cluster.job_script()
    assert list(tmp_path.iterdir()) == []


def test_keys_of_the_user(tmp_path: Path) -> None:
    tls = Tls(ca=f"{tmp_path}/ca", cert=f"{tmp_path}/cert", key=f"{tmp_path}/key")
    with pytest.raises(NotFound, match="which does not exist; give a file in PEM"):
        make_cluster(jobs("slurm", logs=str(tmp_path)), tls)


def write(folder: Path, **changes: str) -> str:
    settings = {
        "kind": '"slurm"',
        "jobs": "1",
        "cores": "2",
        "memory": '"2 GB"',
        "walltime": '"00:10:00"',
        "interface": '"lo"',
        "logs": f'"{folder}/logs"',
        **changes,
    }
    text = "\n".join(f"{key} = {value}" for key, value in settings.items())
    (folder / "cluster.toml").write_text(f"[workers]\n{text}\n")
    return f"{folder}/cluster.toml"


def refused(path: str) -> str:
    with pytest.raises(SpecError) as caught, open_cluster(path) as groups:
        groups.of(PLAIN)
    return str(caught.value)


def put_command(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    command = folder / name
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_machine_that_cannot_submit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = refused(write(tmp_path))
    assert "needs the command sbatch, which this machine does not have; run bigseg where" in found


def test_a_network_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_command(tmp_path, "sbatch", "exit 1", monkeypatch)
    found = refused(write(tmp_path, interface='"ib7"'))
    assert "interface of kind 'slurm' is 'ib7', but the networks of this machine are" in found


def test_dask_jobqueue_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigseg.run.queues.find_spec", lambda name: None)
    assert "needs dask-jobqueue: pip install 'bigseg[jobqueue]'." in refused(write(tmp_path))


def test_what_the_batch_system_says_of_a_bad_job_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_command(tmp_path, "sbatch", "echo invalid partition: gpuu >&2; exit 1", monkeypatch)
    found = refused(write(tmp_path))
    assert found.startswith("sbatch does not take the job: ")
    assert "invalid partition: gpuu" in found


IN_A_THREAD = """
import signal, sys
from concurrent.futures import ThreadPoolExecutor
from bigseg.run.cluster import open_cluster
from bigseg.run.queues import make_cluster
from bigseg.specs.cluster import read_cluster

before = signal.getsignal(signal.SIGINT)
with open_cluster(sys.argv[1]):  # refuses here what it can, submits when a step needs workers
    assert signal.getsignal(signal.SIGINT) is before
    spec = read_cluster(sys.argv[1]).workers
    with ThreadPoolExecutor() as pool:
        cluster = pool.submit(make_cluster, spec).result()
        cluster.close()
"""


def test_a_thread_may_submit_and_ctrl_c_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To import dask-jobqueue changes what Ctrl-C does, and fails in threads."""
    put_command(tmp_path, "sbatch", "exit 1", monkeypatch)
    subprocess.run([sys.executable, "-c", IN_A_THREAD, write(tmp_path)], check=True, cwd=ROOT)


def ask(environment: dict[str, str], *command: str) -> list[str]:
    """Lines that a command of SLURM prints."""
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.slurm
@pytest.mark.timeout(600)
def test_a_volume_is_segmented_by_jobs_of_slurm_one_of_which_is_cancelled(
    tmp_path: Path, slurm_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in slurm_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(queues, "LOST", "1 s")
    sample = imread(ROOT / "bigseg" / "samples" / "embryo3d.tif")[16:28, 44:76, 34:66]
    image = make_image(f"{tmp_path}/volume.zarr", sample, "zyx").image.url
    settings = {"model": "nuclei", "block": (16, 16, 16)}
    serial = read_labels(segment(image, name="serial", cluster="serial", **settings).labels)
    seen: set[str] = set()
    cancelled: list[str] = []
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        running = ask(slurm_environment, "squeue", "-h", "-t", "R", "-o", "%i")
        seen.update(running)
        if isinstance(event, BlockDone) and event.step == "label" and not cancelled:
            ask(slurm_environment, "scancel", *running)
            cancelled.extend(running)

    cluster = write(tmp_path, tls="true")
    found = segment(image, name="jobs", cluster=cluster, listener=watch, **settings)
    assert np.array_equal(read_labels(found.labels), serial)
    assert serial.max() > 1
    assert len(cancelled) == 1  # the only one there was, so what came after it has replaced it
    assert len(seen) > 1
    # A block whose second worker was cancelled, too, is said to have failed, and tried again.
    failed = {event.block for event in events if isinstance(event, BlockFailed)}
    assert failed <= {event.block for event in events if isinstance(event, BlockDone)}
    assert ask(slurm_environment, "squeue", "-h", "-t", "R,PD", "-o", "%i") == []
