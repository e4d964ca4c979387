"""Open what `--cluster` names, as an executor."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.resource_tracker import ensure_running

import dask as dask_library
from distributed import Client, LocalCluster

from bigseg.errors import SpecError
from bigseg.run.dask import CONFIG, dask
from bigseg.run.execute import Group, serial, threads
from bigseg.run.machine import cores, worker_memory

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""Lets glibc give large arrays back when they are freed, but keep the network's smaller ones: to
fetch those from the system again and again costs more than they take."""
ANSWER = "10s"
"""How long a scheduler may take to answer."""


@contextmanager
def open_cluster(
    name: str | None = None, workers: int | None = None, most: int | None = None
) -> Iterator[Group]:
    """Start or join workers; they are gone, or left as they were, at the end.

    Parameters
    ----------
    name
        "local" (the default: processes on this machine), "serial", "threads", or the address of a
        running scheduler, tcp://… or tls://….
    workers
        Processes or threads; None: as many as cores, but not more than `most`.
    most
        Blocks that can be computed side by side; more workers would be idle.

    Raises
    ------
    SpecError
        If the name means nothing or the scheduler does not answer.
    """
    count = workers_here("local", workers, most)
    if name == "serial":
        yield Group(serial, 1, _shared())
    elif name == "threads":
        yield Group(threads(count), count, _shared())
    elif name in (None, "local"):
        with _local(count) as client:
            yield Group(dask(client, count), count, _shared())
    elif name.startswith(("tcp://", "tls://")):
        with _connect(name) as client:
            nthreads = sum(client.nthreads().values())
            if not nthreads:
                raise SpecError(f"The scheduler at {name} has no workers; start some first.")
            yield Group(dask(client, nthreads), nthreads)
    else:
        raise SpecError(
            f"Cluster '{name}' is unknown; use local, serial, threads, or an address tcp://…."
        )


def _shared() -> int | None:
    """Cores to share out among blocks; None where the user has said what libraries may use."""
    return None if "OMP_NUM_THREADS" in os.environ else cores()


def workers_here(name: str | None, workers: int | None, most: int | None = None) -> int:
    """How many blocks `open_cluster` would compute at the same time on this machine."""
    if name in (None, "local", "threads"):
        return workers or min(cores(), most or cores())
    return 1


@contextmanager
def _local(count: int) -> Iterator[Client]:
    """Single-threaded worker processes that listen on localhost only and share the cores."""
    share = str(max(cores() // count, 1))
    # Threads that wait for others sleep. By default they spin, and on a busy machine, where those
    # others do not run, that made the network seven times slower.
    environment = dict.fromkeys(THREADS, share) | ALLOCATOR | {"OMP_WAIT_POLICY": "passive"}
    config = {**CONFIG, "distributed.nanny.pre-spawn-environ": environment}
    with dask_library.config.set(config):
        with _deaf():
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                # None would take port 8787, or warn that it is taken
                dashboard_address="127.0.0.1:0",
                memory_limit=worker_memory(count),
                silence_logs=logging.CRITICAL,
            )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client


@contextmanager
def _deaf() -> Iterator[None]:
    """Let Ctrl-C reach the driver alone: what is started in here, and later by that, is deaf.

    A terminal sends it to all processes, and workers would each print where they were.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    ensure_running()  # it would undo the mask of the thread that starts it
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


@contextmanager
def _connect(address: str) -> Iterator[Client]:
    try:
        client = Client(address, timeout=ANSWER, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise SpecError(f"No Dask scheduler answers at {address} ({error}).") from None
    with client:
        yield client
