"""Open what `--cluster` names: groups of workers that start when a step needs them."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing.resource_tracker import ensure_running

import dask as dask_library
from distributed import Client, LocalCluster

from bigseg.errors import SpecError
from bigseg.events import Listener, WorkersReady, ignore
from bigseg.run import gpus, kubernetes, queues, security
from bigseg.run.dask import CONFIG, dask
from bigseg.run.environment import environment, restored
from bigseg.run.execute import Group, Groups, serial, threads
from bigseg.run.folder import Step
from bigseg.run.machine import cores, memory, worker_memory
from bigseg.specs import cluster as asked
from bigseg.specs.cluster import read_cluster, to_bytes

ANSWER = "10s"
"""How long a scheduler may take to answer."""


@dataclass(frozen=True)
class Start:
    """How a group of workers starts."""

    open: Callable[[], AbstractContextManager[Group]]
    costs: bool = False
    """Whether it takes machines or GPUs away from others while it waits."""


class Staff:
    """The groups of a run. One that costs something is there only while it is needed next."""

    def __init__(self, workers: Start, gpu_workers: Start | None, listen: Listener) -> None:
        self._starts = {False: workers, True: gpu_workers or workers}
        self._listen = listen
        self._open: dict[int, tuple[Group, ExitStack]] = {}
        self._told: set[int] = set()

    def start_free(self) -> None:
        """Start what costs nothing: what is wrong with it shows before anything is written."""
        for start in self._starts.values():
            if not start.costs:
                self._group(start)

    def of(self, step: Step) -> Group:
        """The group that computes a step."""
        start = self._starts[step.spec.wants_gpu]
        group = self._group(start)
        if id(start) not in self._told:
            self._told.add(id(start))
            self._listen(WorkersReady(group.about))
        return group

    def release(self, left: Sequence[Step]) -> None:
        """End groups that cost something and that the next step does not need."""
        needed = {id(self._starts[step.spec.wants_gpu]) for step in left[:1]}
        for start in self._starts.values():
            if start.costs and id(start) not in needed and id(start) in self._open:
                self._open.pop(id(start))[1].close()
                self._told.discard(id(start))

    def close(self) -> None:
        """End all groups, the last to start first."""
        with ExitStack() as stack:  # goes on where one cannot be ended
            while self._open:
                _, (_, group) = self._open.popitem()
                stack.push(group)

    def _group(self, start: Start) -> Group:
        if id(start) not in self._open:
            with ExitStack() as stack:
                group = stack.enter_context(start.open())
                self._open[id(start)] = (group, stack.pop_all())
        return self._open[id(start)][0]


@contextmanager
def open_cluster(
    name: str | None = None,
    workers: int | None = None,
    most: int | None = None,
    *,
    listen: Listener = ignore,
) -> Iterator[Groups]:
    """Start or join workers, each group when it is needed; all is as it was at the end.

    Parameters
    ----------
    name
        "local" (the default: processes on this machine), "serial", "threads", the address of a
        running scheduler, tcp://… or tls://…, or a TOML file; see `specs.cluster`.
    workers
        Processes or threads on this machine; None: as many as cores, but not more than `most`.
        Elsewhere, blocks computed at once at the most.
    most
        Blocks that can be computed side by side; more workers would be idle.
    listen
        Is told what each group is.

    Raises
    ------
    SpecError
        If the name or a key means nothing, what it needs is not installed, or the scheduler does
        not answer.
    """
    spec = read_cluster(name)
    gpu = spec.gpu_workers
    staff = Staff(
        _start(spec.workers, workers, most, gpu=False),
        _start(gpu, workers, most, gpu=True) if gpu else None,
        listen,
    )
    try:
        staff.start_free()
        yield staff
    finally:
        staff.close()


@dataclass(frozen=True)
class Room:
    """What workers that share memory have of it."""

    workers: int
    """Blocks computed at once in it."""
    memory: int | None
    """Bytes; None: nobody knows."""


def room(name: str | None, workers: int | None, most: int | None = None) -> Room:
    """Memory of what `open_cluster` would start or join, if it has two groups the larger one's.

    Parameters
    ----------
    name, workers, most
        See `open_cluster`.

    Raises
    ------
    SpecError
        As `open_cluster` does; a running scheduler is asked for its workers.
    """
    spec = read_cluster(name)
    found = _room(spec.workers, workers, most, gpu=False)
    if spec.gpu_workers is None:
        return found
    other = _room(spec.gpu_workers, workers, most, gpu=True)
    if found.memory is None or other.memory is None:
        return Room(found.workers, None)
    each = max(one.memory // one.workers for one in (found, other) if one.memory)
    return Room(found.workers, each * found.workers)


def _room(spec: asked.Kind, workers: int | None, most: int | None, *, gpu: bool) -> Room:
    if isinstance(spec, asked.Local | asked.Threads):
        count = _count(spec, workers, most)
        limit = spec.memory if isinstance(spec, asked.Local) else None
        return Room(count, to_bytes(limit) * count if limit else memory())
    if isinstance(spec, asked.Jobs):
        return Room(spec.jobs * queues.per_job(spec, gpu), spec.jobs * to_bytes(spec.memory))
    if isinstance(spec, asked.Kubernetes):
        return Room(spec.workers, spec.workers * to_bytes(spec.memory))
    if isinstance(spec, asked.Address):
        return _room_at(spec, workers)
    if isinstance(spec, asked.Cuda):
        count = len(spec.devices or (0,))
        return Room(count, to_bytes(spec.memory) * count if spec.memory else memory())
    return Room(1, memory())


def _room_at(spec: asked.Address, most: int | None) -> Room:
    """What the workers of a running scheduler say; the one with least for each thread counts."""
    with _joined(spec) as client:
        found = client.scheduler_info(n_workers=-1)["workers"].values()
    threads = sum(int(one["nthreads"]) for one in found)
    limits = [int(one["memory_limit"] or 0) // max(int(one["nthreads"]), 1) for one in found]
    if not limits or not all(limits):
        return Room(max(threads, 1), None)
    count = min(most or threads, threads)
    return Room(count, min(limits) * count)


def _count(spec: asked.Local | asked.Threads, workers: int | None, most: int | None) -> int:
    return workers or spec.workers or min(cores(), most or cores())


def _start(spec: asked.Kind, workers: int | None, most: int | None, *, gpu: bool) -> Start:
    """How a group starts; what can be refused without starting it is refused."""
    if isinstance(spec, asked.Serial):
        about = f"1 block at a time in this process, {_these(cores(), 'thread')}"
        return Start(lambda: nullcontext(Group(serial, 1, _shared(), about)))
    if isinstance(spec, asked.Threads):
        count = _count(spec, workers, most)
        about = f"{_these(count, 'thread')} of this process"
        return Start(lambda: nullcontext(Group(threads(count), count, _shared(), about)))
    if isinstance(spec, asked.Local):
        count = _count(spec, workers, most)
        return Start(lambda: _local(count, to_bytes(spec.memory) if spec.memory else None))
    return _elsewhere(spec, workers, gpu=gpu)


def _elsewhere(spec: asked.Kind, workers: int | None, *, gpu: bool) -> Start:
    if isinstance(spec, asked.Address):
        return Start(lambda: _connect(spec, workers))
    if isinstance(spec, asked.Cuda):
        gpus.check()
        return Start(lambda: gpus.open_gpus(spec), costs=True)
    if isinstance(spec, asked.Jobs):
        queues.check(spec)
        return Start(lambda: queues.open_queue(spec, gpu=gpu), costs=True)
    assert isinstance(spec, asked.Kubernetes)
    kubernetes.check()
    return Start(lambda: kubernetes.open_pods(spec, gpu=gpu), costs=True)


def _these(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _shared() -> int | None:
    """Cores to share out among blocks; None where the user has said what libraries may use."""
    return None if "OMP_NUM_THREADS" in os.environ else cores()


@contextmanager
def _local(count: int, limit: int | None) -> Iterator[Group]:
    """Single-threaded worker processes that listen on localhost only and share the cores."""
    limit = limit or worker_memory(count)
    if limit * count > memory():
        raise SpecError(
            f"{count} worker(s) of {limit / 1e9:.1f} GB do not fit into the {memory() / 1e9:.1f} "
            "GB of this machine; ask for fewer --workers or less memory."
        )
    share, shared = max(cores() // count, 1), _shared()  # asked before Dask sets it here
    given = environment(share)
    config = {**CONFIG, "distributed.nanny.pre-spawn-environ": given}
    with restored(given), dask_library.config.set(config):
        with _deaf():
            cluster = LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                # None would take port 8787, or warn that it is taken
                dashboard_address="127.0.0.1:0",
                memory_limit=limit,
                silence_logs=logging.CRITICAL,
            )
        about = (
            f"{_these(count, 'worker')} × {_these(share, 'thread')}, {limit / 1e9:.1f} GB each, "
            "on this machine"
        )
        with cluster, Client(cluster, set_as_default=False) as client:
            yield Group(dask(client, count), count, shared, about)


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
def _connect(spec: asked.Address, most: int | None) -> Iterator[Group]:
    """Join a scheduler; it is left running."""
    address = spec.address
    with _quiet(), _joined(spec) as client:
        found = client.nthreads()
        nthreads = sum(found.values())
        if not nthreads:
            raise SpecError(f"The scheduler at {address} has no workers; start some first.")
        count = min(most or nthreads, nthreads)
        about = f"{_these(len(found), 'worker')}, {_these(nthreads, 'thread')}, at {address}"
        yield Group(dask(client, count), count, about=about)


def _joined(spec: asked.Address) -> Client:
    address, keys = spec.address, security.of_files(spec.tls) if spec.tls else None
    try:
        return Client(address, timeout=ANSWER, set_as_default=False, security=keys)
    except (OSError, TimeoutError, TypeError) as error:
        raise SpecError(f"No Dask scheduler answers at {address} ({error}).") from None


TALKATIVE = ("distributed.client", "distributed.batched")
"""Loggers that show a traceback when a scheduler goes away."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Let a scheduler that goes away be told of by our sentence, without Dask's traceback."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    former = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, former, strict=True):
            logger.setLevel(level)
