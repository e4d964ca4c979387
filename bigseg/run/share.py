"""Blocks that one process computes, one after the other: said as text, or as a share of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from bigseg.errors import BigsegError, BlocksFailed, SpecError
from bigseg.run import execute
from bigseg.run.breaker import Breaker, Hopeless
from bigseg.run.folder import Run, Step, open_run
from bigseg.run.ledger import Ledger
from bigseg.run.worker import Outcome, check_order, prepare_step, run_blocks

AT_A_TIME = 16
"""Blocks computed until it is told how they went."""
TRIES = 2
"""How often a block is tried, as when a driver runs the step."""
NAMED = 10
"""Missing blocks that are named."""


class Unfinished(BigsegError, RuntimeError):
    """A step cannot be closed, as blocks of it are not done."""


def parse_numbers(text: str) -> list[int]:
    """Numbers of blocks, from text.

    >>> parse_numbers("7,0-2")
    [7, 0, 1, 2]
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise SpecError(f"--blocks is '{text}'; it must be numbers and ranges, as 3,17,20-25.")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def format_numbers(numbers: Iterable[int]) -> str:
    """Text of ascending numbers, which `parse_numbers` understands.

    >>> format_numbers([0, 1, 2, 7])
    '0-2,7'
    """
    parts = []
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        parts.append(f"{members[0]}-{members[-1]}" if len(members) > 1 else f"{members[0]}")
    return ",".join(parts)


def share(blocks: int, task: int, tasks: int) -> range:
    """Blocks of task `task` of `tasks`, counted from 1: neighbours, and alike in number.

    It depends on nothing but these numbers, so tasks agree on who does what whatever is done
    already, and a task that is repeated finds its own blocks.

    Raises
    ------
    SpecError
        If there is no such task.
    """
    if not 1 <= task <= tasks:
        raise SpecError(f"There is no task {task} of {tasks}; tasks are counted from 1 to {tasks}.")
    return range(blocks * (task - 1) // tasks, blocks * task // tasks)


def run_share(
    url: str,
    name: str,
    numbers: Sequence[int],
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> dict[str, int]:
    """Compute blocks of a step in this process, those that fail once more at the end.

    Parameters
    ----------
    url, name
        Run and step.
    numbers
        Flat numbers of blocks. Those that are done already are left alone.
    tell
        Is told how it went with each.

    Returns
    -------
    How many blocks are "done" now and how many were "skipped".

    Raises
    ------
    BlocksFailed
        If blocks failed; the others are done.
    Hopeless
        If block after block fails alike, here or in other tasks; see `bigseg.run.breaker`.
    SpecError
        If there is no such block, or an earlier step is not finished.
    """
    run = open_run(url)
    step = run.step(name)
    blocks = len(step.spec.grid)
    wrong = [number for number in numbers if number >= blocks]
    if wrong:
        raise SpecError(
            f"Step '{name}' has no block {wrong[0]}: it has {blocks} blocks, numbered 0 to "
            f"{blocks - 1}."
        )
    check_order(run, step)
    done = Ledger.of(run, step).done_among(numbers)
    pending = [number for number in numbers if number not in done]
    counts = {"done": 0, "skipped": len(numbers) - len(pending)}
    if pending:  # else what prepares them may be gone already
        step.module.check(step.spec)
        prepare_step(run, step)
    known = Ledger.of(run, step).failed_among(pending)
    pending.sort(key=known.__contains__)  # those last, as whoever drives a step does
    breaker = Breaker(run, step, known)
    failed: dict[str, str] = {}
    for _ in range(TRIES):
        failed, again = {}, []
        for outcome in _outcomes(run, step, pending, breaker):
            tell(outcome)
            if outcome.status == "failed":
                failed[outcome.block] = outcome.error
                again.append(outcome.number)
            else:
                counts[outcome.status] += 1
        pending = again
    if failed:
        raise BlocksFailed(name, failed, url)
    return counts


def _outcomes(run: Run, step: Step, pending: Sequence[int], breaker: Breaker) -> Iterator[Outcome]:
    """Compute blocks as long as there is hope."""

    def go_on(outcome: Outcome) -> bool:
        breaker.heed(outcome)
        try:
            breaker.check()
        except Hopeless as error:
            hopeless.append(error)
        return not hopeless

    hopeless: list[Hopeless] = []
    for first in range(0, len(pending), AT_A_TIME):
        breaker.check()
        some = pending[first : first + AT_A_TIME]
        done = run_blocks(run.url, step.name, some, fingerprint=step.fingerprint, go_on=go_on)
        yield from (outcome for outcome in done if outcome.status != "left")
        if hopeless:
            raise hopeless[0]


def finish_step(url: str, name: str) -> bool:
    """Close a step all of whose blocks are done; False if it was closed already.

    Two that do so at the same time write the same.

    Raises
    ------
    Unfinished
        With how many blocks are missing, which they are, and why one failed.
    SpecError
        If an earlier step is not finished.
    """
    run = open_run(url)
    step = run.step(name)
    ledger = Ledger.of(run, step)
    if ledger.is_finished():
        return False
    check_order(run, step)
    blocks = len(step.spec.grid)
    left = ledger.tally(blocks).left.tolist()
    if left:
        raise Unfinished(_what_is_missing(run, step, left))
    execute.finish_step(run, step)
    return True


def _what_is_missing(run: Run, step: Step, missing: Sequence[int]) -> str:
    failures = Ledger.of(run, step).failed()
    reasons = {number: failures[number]["error"] for number in missing if number in failures}
    named = format_numbers(missing[:NAMED]) + (" and more" if len(missing) > NAMED else "")
    reason = ""
    if reasons:
        first = next(iter(reasons))
        reason = f" {len(reasons)} of them failed; first is {first}: {reasons[first]}"
    return (
        f"Step '{step.name}' cannot be closed: {len(missing)} of {len(step.spec.grid)} blocks are "
        f"not done ({named}).{reason} 'bigseg run {run.url}' computes what is missing, and with "
        "--skip-failed goes on without what keeps failing; 'bigseg jobs' submits it again."
    )
