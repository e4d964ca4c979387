"""Run all blocks of all steps of a run. Every backend is an `Executor`; this is the only loop."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice

from bigseg.errors import BigsegError, BlocksFailed
from bigseg.events import BlockDone, BlockFailed, Listener, StageEnded, StageStarted, ignore
from bigseg.run.folder import Run, Step
from bigseg.run.ledger import Ledger
from bigseg.run.worker import Outcome, Work, work

Batch = Sequence[int]
"""Numbers of blocks that one task computes, one after the other."""
Executor = Callable[[Work, Iterable[Batch]], Iterator[list[Outcome]]]

LONGEST_BATCH = 8
"""Blocks per task: enough to read ahead, few enough to lose little with a worker."""
GIVE_UP_AFTER = 20
"""Blocks that fail with one and the same error, before any succeeds, until a step is stopped."""


def serial(work: Work, batches: Iterable[Batch]) -> Iterator[list[Outcome]]:
    """Compute blocks one after the other in this process."""
    return (work(batch) for batch in batches)


def threads(workers: int) -> Executor:
    """Compute blocks on threads of this process; few tasks are ever waiting."""

    def execute(work: Work, batches: Iterable[Batch]) -> Iterator[list[Outcome]]:
        queue = iter(batches)
        with ThreadPoolExecutor(workers) as pool:
            flying: set[Future[list[Outcome]]] = set()
            while True:
                room = 2 * workers - len(flying)
                flying |= {pool.submit(work, batch) for batch in islice(queue, room)}
                if not flying:
                    return
                landed, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in landed:
                    yield future.result()

    return execute


def run_steps(
    run: Run, execute: Executor, workers: int, *, listen: Listener = ignore, tries: int = 2
) -> None:
    """Do every step of a run that is not finished, in order.

    Raises
    ------
    BlocksFailed
        If blocks of a step fail `tries` times. The other blocks of that step are computed first.
    """
    for step in run.steps:
        ledger = Ledger.of(run, step)
        started = time.monotonic()
        if ledger.finished() is not None:
            listen(StageEnded(step.name, 0.0, skipped=True))
            continue
        run_step(run, step, execute, workers, listen=listen, tries=tries)
        facts = [record["facts"] for record in ledger.records(step.spec.grid)]
        ledger.finish(step.module.finish(step.spec, facts))
        listen(StageEnded(step.name, time.monotonic() - started))


def run_step(
    run: Run, step: Step, execute: Executor, workers: int, *, listen: Listener, tries: int
) -> None:
    """Compute all blocks of a step that are not done."""
    step.module.prepare(step.spec)
    grid = step.spec.grid
    done = Ledger.of(run, step).done()
    pending = [n for n, block in enumerate(grid) if block.id not in done]
    listen(StageStarted(step.name, len(grid), len(grid) - len(pending)))
    failed: dict[str, str] = {}
    for _ in range(tries):
        outcomes = _watch(
            step, execute(partial(work, run.url, step.name), batches(pending, workers)), listen
        )
        failures = [outcome for outcome in outcomes if outcome.status == "failed"]
        failed = {outcome.block: outcome.error for outcome in failures}
        pending = [outcome.number for outcome in failures]
        if not pending:
            return
    raise BlocksFailed(step.name, failed, run.url)


def batches(numbers: Sequence[int], workers: int) -> Iterator[Batch]:
    """Share blocks out, so that every worker gets several batches and can read ahead."""
    length = min(max(len(numbers) // (4 * workers), 1), LONGEST_BATCH)
    return (numbers[first : first + length] for first in range(0, len(numbers), length))


def _watch(step: Step, results: Iterator[list[Outcome]], listen: Listener) -> Iterator[Outcome]:
    """Pass outcomes on and tell of them; stop if all blocks fail for the same reason."""
    errors: Counter[str] = Counter()
    for outcome in (outcome for batch in results for outcome in batch):
        if outcome.status == "failed":
            errors[outcome.error] += 1
            listen(BlockFailed(step.name, outcome.block, outcome.error))
        else:
            errors.clear()
            listen(BlockDone(step.name, outcome.block, outcome.seconds))
        yield outcome
        if max(errors.values(), default=0) >= GIVE_UP_AFTER:
            raise BigsegError(
                f"Step '{step.name}' is stopped: {GIVE_UP_AFTER} blocks in a row failed with the "
                f"same error: {outcome.error} Mend the cause, then continue the run."
            )
