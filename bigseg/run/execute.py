"""Run all blocks of all steps of a run. Every backend is an `Executor`; this is the only loop."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import Protocol

import numpy as np

from bigseg.errors import BigsegError, BlocksFailed
from bigseg.events import (
    BlockDone,
    BlockFailed,
    BlockLeftOut,
    Listener,
    StageEnded,
    StageStarted,
    ignore,
)
from bigseg.holes import may_leave_out
from bigseg.run.batches import Batch, Batches, Share, ordered, shared
from bigseg.run.breaker import GIVE_UP_FIRST, alike, too_many
from bigseg.run.folder import Run, Step
from bigseg.run.ledger import Ledger
from bigseg.run.records import StepFacts
from bigseg.run.tidying import Tidying
from bigseg.run.worker import (
    Outcome,
    Work,
    leave_out,
    prepare_step,
    run_blocks,
)
from bigseg.storage import carried

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
    about: str = ""
    """Says to a person what they are."""

    def of(self, step: Step) -> Group:
        return self

    def release(self, left: Sequence[Step]) -> None: ...


class Groups(Protocol):
    """The groups of workers of a run: those with a GPU and those without."""

    def of(self, step: Step) -> Group:
        """The group that computes a step; it is started if it has not been."""

    def release(self, left: Sequence[Step]) -> None:
        """End what the steps that are left do not need next."""


TASK_LIMIT = 30.0
"""Seconds after which a task begins no other block, however many it was given."""


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
        If blocks of a step fail `tries` times, and may not be left out (see `bigseg.holes`). The
        other blocks of that step are computed first.
    BigsegError
        If block after block fails for the same reason.
    """
    for number, step in enumerate(run.steps, 1):
        ledger = Ledger.of(run, step)
        started = time.monotonic()
        if ledger.is_finished():
            listen(StageEnded(step.name, 0.0, skipped=True))
            continue
        run_step(run, step, groups.of(step), listen=listen, tries=tries)
        groups.release(run.steps[number:])
        finish_step(run, step)
        listen(StageEnded(step.name, time.monotonic() - started))


def finish_step(run: Run, step: Step) -> None:
    """Close a step of which all blocks are done: put its records together and reduce over them."""
    ledger = Ledger.of(run, step)
    facts = StepFacts(ledger.compact(), len(step.spec.grid))
    ledger.finish(step.module.finish(step.spec, facts))


def run_step(
    run: Run,
    step: Step,
    group: Group,
    *,
    listen: Listener,
    tries: int,
) -> None:
    """Compute all blocks of a step that are not done."""
    ledger, blocks = Ledger.of(run, step), len(step.spec.grid)
    tally = ledger.tally(blocks)
    listen(StageStarted(step.name, blocks, tally.count))
    if tally.count == blocks:
        return
    prepare_step(run, step)
    pending = ordered(tally.left, tally.failed, GIVE_UP_FIRST)
    failed: list[Outcome] = []
    done = tally.done
    purpose = uuid.uuid4().hex  # all has been prepared, and nobody makes it anew till the end
    for attempt in range(tries):
        queue = Batches(pending, group.workers)
        work = partial(
            run_blocks,
            run.url,
            step.name,
            fingerprint=step.fingerprint,
            limit=TASK_LIMIT,
            purpose=purpose,
        )
        if group.cores:
            work = partial(_on_cores, work, shared(group.cores, group.workers, pending))
        task = carried(work)  # with how buckets are reached
        with closing(group.execute(task, queue)) as results, Tidying(ledger, done) as tidying:
            outcomes = _named(step, ledger, _taken_back(queue, chain.from_iterable(results)))
            outcomes = tidying.heeding(outcomes)
            if attempt == 0:
                known = frozenset(tally.failed.tolist())
                outcomes = _unless_hopeless(step, outcomes, known, some_done=tally.count > 0)
            failed = sorted(_told(step, outcomes, listen), key=lambda outcome: outcome.number)
        pending = np.array([outcome.number for outcome in failed], np.int64)
        if not failed:
            return
        done = np.ones(blocks, bool)
        done[pending] = False
    if not may_leave_out():
        raise BlocksFailed(step.name, {o.block: o.error for o in failed}, run.url)
    _leave_out(run, step, failed, listen)


def _on_cores(
    work: Callable[..., list[Outcome]], share: Share, numbers: Sequence[int]
) -> list[Outcome]:
    """Compute blocks on as many cores as are theirs."""
    return work(numbers, cores=share.of(numbers))


def _leave_out(run: Run, step: Step, failed: Sequence[Outcome], listen: Listener) -> None:
    """Go on without blocks that failed; those that cannot be left out are told of at the end."""
    kept: dict[str, str] = {}
    why = "It cannot be left out, as later steps need all of this one."
    for outcome in failed:
        error = leave_out(run, step, outcome.number, outcome.error)
        if error is None:
            listen(BlockLeftOut(step.name, outcome.block, outcome.error))
            continue
        if error and not kept:
            why = f"It cannot be left out either: {error}"
        kept[outcome.block] = outcome.error
    if kept:
        raise BlocksFailed(step.name, kept, run.url, why)


def _taken_back(queue: Batches, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Outcomes of blocks that were tried; those that a task had no time for are queued again."""
    for outcome in outcomes:
        if outcome.status == "left":
            queue.put_back(outcome.number)
            continue
        if outcome.status == "done":
            queue.took(outcome.seconds)
        yield outcome


def _named(step: Step, ledger: Ledger, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
    """Record blocks as failed here that nobody lived to record."""
    for outcome in outcomes:
        if outcome.block:
            yield outcome
            continue
        ledger.fail(outcome.number, outcome.error, "")
        yield replace(outcome, block=step.spec.grid[outcome.number].id)


def _told(step: Step, outcomes: Iterator[Outcome], listen: Listener) -> Iterator[Outcome]:
    """Tell of all outcomes; pass on the failures."""
    for outcome in outcomes:
        if outcome.status == "failed":
            listen(BlockFailed(step.name, outcome.block, outcome.error))
            yield outcome
        else:
            listen(BlockDone(step.name, outcome.block, outcome.seconds))


def _unless_hopeless(
    step: Step, outcomes: Iterator[Outcome], known: frozenset[int], *, some_done: bool
) -> Iterator[Outcome]:
    """Stop a step when block after block fails for one and the same reason; see `breaker.too_many`.

    Blocks `known` to fail come last and do not count, so that whoever continues the run gets past a
    damaged region.
    """
    count, last = 0, ""
    for outcome in outcomes:
        yield outcome
        if outcome.status != "failed":
            count, some_done = 0, True
            continue
        if outcome.number in known:
            continue
        error = alike(outcome.error)
        count, last = (count + 1 if error == last else 1), error
        if too_many(count, some_done=some_done):
            which = f"{count} blocks in a row" if some_done else f"the first {count} blocks all"
            raise BigsegError(
                f"Step '{step.name}' is stopped: {which} failed with the same error: "
                f"{outcome.error} Mend the cause, then continue the run."
            )
