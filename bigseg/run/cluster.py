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
from bigseg.run.environment import environment
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


def workers_here(name: str | None, workers: int | None, most: int | None = None) -> int:
    """How many blocks `open_cluster` would compute at the same time on this machine."""
    spec = read_cluster(name).workers
    if isinstance(spec, asked.Local | asked.Threads):
        return _count(spec, workers, most)
    return 1


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
    share = max(cores() // count, 1)
    config = {**CONFIG, "distributed.nanny.pre-spawn-environ": environment(share)}
    with dask_library.config.set(config):
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
            yield Group(dask(client, count), count, _shared(), about)


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
    address, keys = spec.address, security.of_files(spec.tls) if spec.tls else None
    try:
        client = Client(address, timeout=ANSWER, set_as_default=False, security=keys)
    except (OSError, TimeoutError, TypeError) as error:
        raise SpecError(f"No Dask scheduler answers at {address} ({error}).") from None
    with _quiet(), client:
        found = client.nthreads()
        nthreads = sum(found.values())
        if not nthreads:
            raise SpecError(f"The scheduler at {address} has no workers; start some first.")
        count = min(most or nthreads, nthreads)
        about = f"{_these(len(found), 'worker')}, {_these(nthreads, 'thread')}, at {address}"
        yield Group(dask(client, count), count, about=about)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let a scheduler that goes away be told of by our sentence, without Dask's traceback."""
    logger = logging.getLogger("distributed.client")
    former = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(former)
