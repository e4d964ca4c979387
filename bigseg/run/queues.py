"""Jobs of a batch system as workers, by dask-jobqueue."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from threading import current_thread, main_thread
from typing import Any

import dask as dask_library
import psutil
from dask.utils import parse_timedelta
from distributed import Client
from distributed.core import Status

from bigseg.errors import SpecError
from bigseg.run import security
from bigseg.run.dask import CONFIG, OF_WORKERS, dask
from bigseg.run.environment import environment, variables
from bigseg.run.execute import Group
from bigseg.specs.cluster import Jobs, Tls, to_bytes, to_seconds

Cluster = Any
"""A `dask_jobqueue.JobQueueCluster`, which has no usable type."""

SUBMIT = {"slurm": "sbatch", "lsf": "bsub", "pbs": "qsub", "sge": "qsub"}
LOST = "30 s"
"""After a worker has not come back for so long its job is cancelled and replaced."""
TRIES = 9
"""How often a job that replaces another is submitted, over a quarter of an hour."""
SPARE = 600
"""Most seconds before the end of its job at which a worker takes no more blocks."""


def check(spec: Jobs) -> None:
    """Refuse what cannot be submitted from this machine."""
    if find_spec("dask_jobqueue") is None:
        raise SpecError(f"kind '{spec.kind}' needs dask-jobqueue: pip install 'bigseg[jobqueue]'.")
    if shutil.which(SUBMIT[spec.kind]) is None:
        raise SpecError(
            f"kind '{spec.kind}' needs the command {SUBMIT[spec.kind]}, which this machine does "
            "not have; run bigseg where jobs are submitted."
        )
    networks = psutil.net_if_addrs()
    if spec.interface not in networks:
        raise SpecError(
            f"The interface of kind '{spec.kind}' is '{spec.interface}', but the networks of "
            f"this machine are {', '.join(sorted(networks))}; name the one by which jobs reach it."
        )
    _import_jobqueue()


def _import_jobqueue() -> None:
    """Import it where that is possible, and leave Ctrl-C as it is.

    dask-jobqueue 0.9 makes Ctrl-C end the process as if all were well when it is imported, which
    fails in any thread but the main one. Series of a batch are driven by threads.
    """
    if "dask_jobqueue" in sys.modules:
        return
    if current_thread() is not main_thread():
        raise SpecError(
            "Jobs can be submitted from a thread only if the main thread has imported "
            "dask_jobqueue; import it there, or call bigseg from the main thread."
        )
    former = signal.getsignal(signal.SIGINT)
    try:
        import_module("dask_jobqueue")
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def open_queue(spec: Jobs, *, gpu: bool) -> Iterator[Group]:
    """Submit jobs whose workers connect to a scheduler in this process; cancel them at the end.

    Nothing waits for the first of them to start: that may take hours, and the blocks wait, too.
    """
    patience = to_seconds(spec.patience)
    count = per_job(spec, gpu)
    config = {
        **CONFIG,
        "distributed.deploy.lost-worker-timeout": LOST,
        "distributed.scheduler.no-workers-timeout": patience,
    }
    workers = spec.jobs * count
    about = (
        f"{spec.jobs} {spec.kind} job(s) × {count} worker(s) × {spec.cores // count} thread(s), "
        f"{to_bytes(spec.memory) / count / 1e9:.1f} GB each"
    )
    with (
        dask_library.config.set(config),
        _keys(spec) as tls,
        make_cluster(spec, tls, gpu=gpu) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        _submit(cluster, spec)
        yield Group(dask(client, workers, patience=patience), workers, about=about)


def _keys(spec: Jobs) -> AbstractContextManager[Tls | None]:
    """Files of keys, made for this cluster if the user gives none but wants some."""
    return security.fresh(log_folder(spec)) if spec.tls is True else nullcontext(spec.tls or None)


def _submit(cluster: Cluster, spec: Jobs) -> None:
    """Submit all jobs, and from now on another one for each that ends."""

    async def submit() -> None:
        # As `scale` does, which would not wait to hear what the batch system says.
        for _ in range(spec.jobs):
            cluster.worker_spec.update(cluster.new_worker_spec())
        await cluster._correct_state()

    try:
        cluster.sync(submit)
    except (OSError, RuntimeError, ValueError) as error:
        said = " ".join(str(error).rpartition("stderr:")[2].split())
        raise SpecError(f"{SUBMIT[spec.kind]} does not take the job: {said}") from None
    cluster.job_cls.tries = TRIES  # for those that replace others: now it is known to work
    cluster.adapt(minimum_jobs=spec.jobs, maximum_jobs=spec.jobs)


def per_job(spec: Jobs, gpu: bool) -> int:
    """Workers of a job; those of a job with a GPU would all use it."""
    return 1 if gpu else min(spec.workers or spec.cores, spec.cores)


def log_folder(spec: Jobs) -> Path:
    """Folder for what jobs print; it is made."""
    folder = Path(spec.logs).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_cluster(spec: Jobs, tls: Tls | None = None, *, gpu: bool = False) -> Cluster:
    """Scheduler in this process, and the template of the jobs."""
    from dask_jobqueue.lsf import LSFCluster
    from dask_jobqueue.pbs import PBSCluster
    from dask_jobqueue.sge import SGECluster
    from dask_jobqueue.slurm import SLURMCluster

    kinds = {
        "slurm": SLURMCluster,
        "lsf": LSFCluster,
        "pbs": PBSCluster,
        "sge": SGECluster,
    }
    count = per_job(spec, gpu)
    return _replacing(kinds[spec.kind])(
        # Dask's threads are workers here; the cores of each are for the libraries that it calls.
        cores=count,
        processes=count,
        memory=spec.memory,
        interface=spec.worker_interface or spec.interface,
        scheduler_options={
            "interface": spec.interface,
            "port": spec.port,
            "dashboard_address": "127.0.0.1:0",
        },
        security=security.of_files(tls) if tls else None,
        log_directory=str(log_folder(spec)),
        job_name="bigseg",
        python=spec.python,
        local_directory=spec.scratch,
        death_timeout=300,
        worker_extra_args=_lifetime(to_seconds(spec.walltime)),
        job_extra_directives=list(spec.directives),
        job_script_prologue=_prologue(spec, count),
        silence_logs=logging.CRITICAL,
        **_request(spec),
    )


def _patient(job: Any) -> Any:
    """A kind of job that is submitted again where the batch system did not listen."""

    class Patient(job):  # type: ignore[misc]
        tries = 1

        async def start(self) -> None:
            for attempt in range(1, self.tries + 1):
                try:
                    await super().start()
                except (OSError, RuntimeError):
                    if attempt >= self.tries:
                        self.status = Status.failed  # so that the cluster can be closed
                        raise
                    await asyncio.sleep(2.0**attempt)
                else:
                    return

    return Patient


def _replacing(kind: type[Cluster]) -> type[Cluster]:
    """A kind of cluster that misses jobs of several workers, too.

    dask-jobqueue 0.9 looks for a lost worker among its jobs by name, and finds it only where each
    job has one; others were never submitted again.
    """

    class Replacing(kind):  # type: ignore[misc]
        job_cls = _patient(kind.job_cls)

        def _update_worker_status(self, op: str, msg: Any) -> None:
            if op == "remove":
                name = str(self.scheduler_info["workers"][msg]["name"])
                job = next((one for one in self.workers if name.startswith(f"{one}-")), None)
                if job is not None:
                    delay = dask_library.config.get("distributed.deploy.lost-worker-timeout")
                    loop = asyncio.get_running_loop()
                    loop.call_later(parse_timedelta(delay), self._miss, job)
            super()._update_worker_status(op, msg)

        def _miss(self, job: str) -> None:
            """Forget a job none of whose workers has come back; it is submitted again."""
            there = {str(worker["name"]) for worker in self.scheduler_info["workers"].values()}
            if job in self.workers and not any(name.startswith(f"{job}-") for name in there):
                self._futures.add(asyncio.ensure_future(self.workers.pop(job).close()))

    return Replacing


def _lifetime(walltime: int) -> list[str]:
    """Workers end before their jobs, not all at once, so that blocks are not torn."""
    spare = min(SPARE, walltime // 4)
    return ["--lifetime", f"{walltime - spare}s", "--lifetime-stagger", f"{spare // 2}s"]


def _prologue(spec: Jobs, count: int) -> list[str]:
    exports = environment(spec.cores // count) | variables(OF_WORKERS)
    own = [f"export {name}={quote(value)}" for name, value in exports.items()]
    return [*own, *spec.prologue]


def _request(spec: Jobs) -> dict[str, Any]:
    """What each batch system calls what a job needs."""
    days, rest = divmod(to_seconds(spec.walltime), 86400)
    hours, minutes, seconds = days * 24 + rest // 3600, rest // 60 % 60, rest % 60
    walltime = f"{hours:02}:{minutes:02}:{seconds:02}"
    memory = to_bytes(spec.memory)
    if spec.kind == "slurm":
        return {
            "queue": spec.queue,
            "account": spec.account,
            "walltime": walltime,
            "job_cpu": spec.cores,
        }
    if spec.kind == "lsf":
        minute = f"{hours:02}:{minutes + (seconds > 0):02}"
        return {
            "queue": spec.queue,
            "project": spec.account,
            "walltime": minute,
            "ncpus": spec.cores,
            "mem": memory,
        }
    if spec.kind == "pbs":
        each = f"select=1:ncpus={spec.cores}:mem={-(-memory // 2**20)}mb"
        return {
            "queue": spec.queue,
            "account": spec.account,
            "walltime": walltime,
            "resource_spec": spec.resources or each,
        }
    return {
        "queue": spec.queue,
        "project": spec.account,
        "walltime": walltime,
        "resource_spec": spec.resources,
    }
