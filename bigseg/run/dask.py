"""Blocks on the workers of a Dask scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from distributed import Client, as_completed
from distributed.scheduler import KilledWorker, NoWorkerError

from bigseg.errors import BigsegError
from bigseg.run.execute import Batch, Executor
from bigseg.run.worker import Outcome, Work

Task = Any
"""A `distributed.Future`, which has no usable type."""

CONFIG = {
    # A worker that dies is restarted; by default it is given up for ever after 15 s.
    "distributed.deploy.lost-worker-timeout": "10 minutes",
    "distributed.scheduler.no-workers-timeout": "10 minutes",
    "distributed.scheduler.allowed-failures": 1,
    "distributed.worker.daemon": False,
    "distributed.admin.large-graph-warning-threshold": "100MB",
}


def dask(client: Client, workers: int) -> Executor:
    """Compute blocks on Dask workers.

    Only a few tasks per worker are known to the scheduler at any time: its memory stays flat, and
    a dying worker takes nothing with it but what it was computing.
    """

    def execute(work: Work, batches: Iterable[Batch]) -> Iterator[list[Outcome]]:
        queue = iter(batches)
        flying: dict[Task, Batch] = {}
        landing = as_completed(loop=client.loop)
        while True:
            for batch in islice(queue, 2 * workers - len(flying)):
                future = client.submit(work, batch, pure=False, retries=0)
                flying[future] = batch
                landing.add(future)
            if not flying:
                return
            future = next(landing)
            batch = flying.pop(future)
            yield from _land(client, work, future, batch)
            future.release()

    return execute


def _land(client: Client, work: Work, future: Task, batch: Batch) -> Iterator[list[Outcome]]:
    """Outcomes of a task; blocks of a task whose worker died are tried one by one."""
    error = future.exception() if future.status != "cancelled" else RuntimeError("cancelled")
    if error is None:
        yield future.result()
    elif isinstance(error, NoWorkerError):
        raise BigsegError("The cluster has no workers left; start some and continue the run.")
    elif isinstance(error, KilledWorker) and len(batch) > 1:
        for number in batch:
            single = client.submit(work, [number], pure=False, retries=0)
            yield from _land(client, work, single, [number])
    else:
        reason = _sentence(error)
        yield [Outcome(str(number), number, "failed", error=reason) for number in batch]


def _sentence(error: BaseException) -> str:
    if isinstance(error, KilledWorker):
        return (
            "the worker that computed it died, more than once (out of memory, or killed by the "
            "system); give workers more memory, or make blocks smaller."
        )
    return repr(error)
