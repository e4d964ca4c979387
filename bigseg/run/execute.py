"""Run all blocks of all steps of a run. Every backend is an `Executor`; this is the only loop."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Protocol

from bigseg.errors import BigsegError, BlocksFailed
from bigseg.events import BlockDone, BlockFailed, Listener, StageEnded, StageStarted, ignore
from bigseg.run.folder import Run, Step
from bigseg.run.ledger import Ledger
from bigseg.run.worker import Outcome, Work, prepare_step, work

Batch = Sequence[int]
"""Numbers of blocks that one task computes, one after the other."""
Results = Generator[list[Outcome], None, None]
Executor = Callable[[Work, Iterable[Batch]], Results]
"""Applies work to batches. Closed early, it drops the tasks that have not begun."""


@dataclass(frozen=True)
class Group:
    """Workers that are alike. Alone, it computes all steps of a run."""

    execute: Executor
    workers: int
    """Blocks computed at once."""
    cores: int | None = None
    """Cores that the workers share, so that few blocks use them all; None: leave them alone."""

    def of(self, step: Step) -> Group:
        return self

    def release(self, left: Sequence[Step]) -> None: ...


class Groups(Protocol):
    """The groups of workers of a run: those with a GPU and those without."""

    def of(self, step: Step) -> Group:
        """The group that computes a step; it is started if it has not been."""

    def release(self, left: Sequence[Step]) -> None:
        """End the groups that none of the steps which are left needs."""


LONGEST_BATCH = 8
"""Blocks per task: enough to read ahead, few enough to lose little with a worker."""
GIVE_UP_AFTER = 20
"""Blocks that fail with one and the same error, before any succeeds, until a step is stopped."""


def serial(work: Work, batches: Iterable[Batch]) -> Results:
    """Compute blocks one after the other in this process."""
    for batch in batches:
        yield work(batch)


ALONE = Group(serial, 1)
"""This process, block by block."""


def threads(workers: int) -> Executor:
    """Compute blocks on threads of this process; few tasks are ever waiting."""

    def execute(work: Work, batches: Iterable[Batch]) -> Results:
        queue = iter(batches)
        pool = ThreadPoolExecutor(workers)
        flying: set[Future[list[Outcome]]] = set()
        try:
            while True:
                room = 2 * workers - len(flying)
                flying |= {pool.submit(work, batch) for batch in islice(queue, room)}
                if not flying:
                    return
                landed, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in landed:
                    yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)

    return execute


def run_steps(
    run: Run,
    groups: Groups,
    *,
    listen: Listener = ignore,
    tries: int = 2,
) -> None:
    """Do every step of a run that is not finished, in order.

    Parameters
    ----------
    run
        The run.
    groups
        Who computes. A group starts when the first of its steps begins, and is released when the
        last of them ends.
    listen
        Is told how it goes.
    tries
        How often a block is tried.

    Raises
    ------
    BlocksFailed
        If blocks of a step fail `tries` times. The other blocks of that step are computed first.
    """
    for number, step in enumerate(run.steps, 1):
        ledger = Ledger.of(run, step)
        started = time.monotonic()
        if ledger.finished() is not None:
            listen(StageEnded(step.name, 0.0, skipped=True))
            continue
        run_step(run, step, groups.of(step), listen=listen, tries=tries)
        groups.release(run.steps[number:])
        facts = [record["facts"] for record in ledger.records(step.spec.grid)]
        ledger.finish(step.module.finish(step.spec, facts))
        listen(StageEnded(step.name, time.monotonic() - started))


def run_step(
    run: Run,
    step: Step,
    group: Group,
    *,
    listen: Listener,
    tries: int,
) -> None:
    """Compute all blocks of a step that are not done."""
    prepare_step(run, step)
    grid = step.spec.grid
    done = Ledger.of(run, step).done()
    pending = [n for n, block in enumerate(grid) if block.id not in done]
    listen(StageStarted(step.name, len(grid), len(grid) - len(pending)))
    pending = spread(pending)
    failed: dict[str, str] = {}
    for attempt in range(tries):
        share = group.cores and max(group.cores // max(min(group.workers, len(pending)), 1), 1)
        task = partial(work, run.url, step.name, cores=share)
        with closing(group.execute(task, batches(pending, group.workers))) as results:
            outcomes = _named(run, step, results)
            if attempt == 0 and not done:
                outcomes = _unless_hopeless(step, outcomes)
            failures = sorted(_told(step, outcomes, listen), key=lambda outcome: outcome.number)
        failed = {outcome.block: outcome.error for outcome in failures}
        pending = [outcome.number for outcome in failures]
        if not pending:
            return
    raise BlocksFailed(step.name, failed, run.url)


def spread(numbers: list[int], first: int = GIVE_UP_AFTER) -> list[int]:
    """Put some blocks from all over the image first: what is wrong with all shows at once."""
    step = -(-len(numbers) // first)
    return [*numbers[::step], *(n for i, n in enumerate(numbers) if i % step)] if step else []


def batches(numbers: Sequence[int], workers: int) -> Iterator[Batch]:
    """Share blocks out, so that every worker gets several batches and can read ahead."""
    length = min(max(len(numbers) // (4 * workers), 1), LONGEST_BATCH)
    return (numbers[first : first + length] for first in range(0, len(numbers), length))


def _named(run: Run, step: Step, results: Iterator[list[Outcome]]) -> Iterator[Outcome]:
    """Outcomes one by one; blocks that nobody lived to record as failed are recorded here."""
    for outcome in chain.from_iterable(results):
        if outcome.block:
            yield outcome
            continue
        block = step.spec.grid[outcome.number].id
        Ledger.of(run, step).fail(block, outcome.error, "")
        yield replace(outcome, block=block)


def _told(step: Step, outcomes: Iterator[Outcome], listen: Listener) -> Iterator[Outcome]:
    """Tell of all outcomes; pass on the failures."""
    for outcome in outcomes:
        if outcome.status == "failed":
            listen(BlockFailed(step.name, outcome.block, outcome.error))
            yield outcome
        else:
            listen(BlockDone(step.name, outcome.block, outcome.seconds))


def _unless_hopeless(step: Step, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Stop a step of which no block ever succeeds, all for one reason.

    Once a block has succeeded the others get their chance: a damaged region of the image, where
    many neighbours fail alike, must not keep the rest from being done.
    """
    errors: set[str] = set()
    for failed, outcome in enumerate(outcomes, 1):
        yield outcome
        if outcome.status != "failed":
            break
        errors.add(re.sub(r"\d+", "0", outcome.error))  # positions and sizes differ by block
        if len(errors) == 1 and failed >= GIVE_UP_AFTER:
            raise BigsegError(
                f"Step '{step.name}' is stopped: the first {failed} blocks all failed with the "
                f"same error: {outcome.error} Mend the cause, then continue the run."
            )
    yield from outcomes
