"""Blocks on the workers of a Dask scheduler."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker, NoValidWorkerError, NoWorkerError

from bigseg.errors import BigsegError
from bigseg.run.batches import Batch
from bigseg.run.execute import Executor, Results
from bigseg.run.worker import Outcome, Work, sentence

Task = Any
"""A `distributed.Future`, which has no usable type."""

CONFIG = {
    # A worker that dies is restarted; by default it is given up for ever after 15 s.
    "distributed.deploy.lost-worker-timeout": "10 minutes",
    "distributed.scheduler.no-workers-timeout": "10 minutes",
    # Tasks of dead workers come back at once, and are looked into here.
    "distributed.scheduler.allowed-failures": 0,
    # Nothing waits on a worker, so that nothing but what it computes dies with it.
    "distributed.scheduler.worker-saturation": 1.0,
    # Dask holds no data of ours, so there is nothing to spill; and a paused worker, whose memory
    # is the allocator's, would never wake. One that takes more than its share is still killed.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # What Dask does to be watched, a hundred times a second: 3 % of a core in each worker, and as
    # much in the driver, which small machines have no core for (10 s of sleep, counted by psutil).
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
}
OF_WORKERS = {
    key: value
    for key, value in CONFIG.items()
    if key.startswith(("distributed.worker", "distributed.admin"))
}
"""What workers have to be told that do not inherit the driver's settings."""
GONE = "The connection to the Dask scheduler is lost; see that it runs and continue the run."
SUSPECTS = 20
"""Blocks of tasks that killed their workers, until they are looked into before all others."""
WINDOW = 2
"""Tasks for each thread: one is computed, one waits, so that no thread waits for the scheduler."""
LOOK_AGAIN = 5.0
"""Seconds until the scheduler is asked again how many threads it has."""
PATIENCE = 600.0
"""Seconds without any worker until a run gives up; batch systems may take a while to restart."""


class ClusterLost(BigsegError, RuntimeError):
    """The workers or the scheduler went away; what is done is recorded."""


def dask(client: Client, workers: int, *, patience: float = PATIENCE) -> Executor:
    """Compute blocks on Dask workers.

    Only a few tasks per worker are known to the scheduler at any time: its memory stays flat, and
    a dying worker takes nothing with it but what it was computing. Where the cluster grows or
    shrinks, so does their number; `workers` is what it starts with. The blocks of a task whose
    worker died are tried again one by one, each alone in the cluster, so that none is blamed for
    another's deed; those that kill their worker again are outcomes without a block's id.

    Raises
    ------
    ClusterLost
        If the scheduler is gone, or there is no worker for `patience` seconds.
    """

    def execute(work: Work, batches: Iterable[Batch]) -> Results:
        queue, window = iter(batches), Window(client, workers)
        flying: dict[Task, Batch] = {}
        landed: SimpleQueue[Task] = SimpleQueue()
        suspects: deque[Batch] = deque()
        alone = False  # whether the one task that flies is a suspect

        def submit(batch: Batch) -> None:
            future = client.submit(work, batch, pure=False)
            flying[future] = batch
            future.add_done_callback(landed.put)

        try:
            while True:
                if len(suspects) < SUSPECTS:
                    for batch in islice(queue, max(window.size() - len(flying), 0)):
                        submit(batch)
                if alone := bool(suspects and not flying):
                    submit(suspects.popleft())
                if not flying:
                    return
                future = _next(client, landed, patience)
                batch = flying.pop(future)
                outcomes = _outcomes(future, batch, alone)
                future.release()
                if outcomes is None:
                    suspects.extend([number] for number in batch)
                else:
                    yield outcomes
        finally:
            for future in flying:
                future.cancel()

    return execute


class Window:
    """How many tasks the scheduler may know of: each thread's own, and its next."""

    def __init__(self, client: Client, workers: int) -> None:
        self._client = client
        self._least = self._threads = workers
        self._looked = time.monotonic()

    def size(self) -> int:
        """Tasks for the threads there are, or were a moment ago; at least for those asked for."""
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN and self._client.status == "running":
            self._looked = now
            with suppress(OSError, TimeoutError):  # `_next` finds out whether it is gone for good
                self._threads = max(sum(self._client.nthreads().values()), self._least)
        return WINDOW * self._threads


def _next(client: Client, landed: SimpleQueue[Task], patience: float) -> Task:
    """Next task that ended; ClusterLost if none can, because nobody is left to run it."""
    alone_since: float | None = None
    while True:
        try:
            return landed.get(timeout=min(5.0, patience))
        except Empty:
            pass
        if client.status != "running" or _has_threads(client):
            alone_since = None
        elif alone_since is None:
            alone_since = time.monotonic()
        elif time.monotonic() - alone_since >= patience:
            raise ClusterLost(
                f"The cluster has had no workers for {patience:.0f} s; start some and continue "
                "the run."
            )


def _has_threads(client: Client) -> bool:
    """Whether there are workers; if the scheduler does not answer, tasks will tell of it."""
    try:
        return bool(client.nthreads())
    except (OSError, TimeoutError):
        return True


def _outcomes(future: Task, batch: Batch, alone: bool) -> list[Outcome] | None:
    """How a task ended; None if its worker died and the blocks must be tried one by one."""
    if future.cancelled():
        raise ClusterLost(GONE)
    error = future.exception()
    if error is None:
        try:
            outcomes: list[Outcome] = future.result()
        except (OSError, TimeoutError, CancelledError):  # it is gone since the task ended
            raise ClusterLost(GONE) from None
        return outcomes
    if isinstance(error, NoWorkerError | NoValidWorkerError):
        raise ClusterLost(f"{error} Start workers and continue the run.") from None
    if isinstance(error, KilledWorker):
        if not alone:
            return None
        reason = (
            "the worker that computed it died, more than once (out of memory, or killed by the "
            "system); give workers more memory, or make blocks smaller."
        )
    else:
        reason = sentence(error)
    return [Outcome("", number, "failed", error=reason) for number in batch]
