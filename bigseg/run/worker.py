"""The single path by which a block is computed, whatever asks for it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast

from bigseg.cores import allow
from bigseg.errors import BigsegError, SpecError
from bigseg.grid import Block
from bigseg.opened import remembering
from bigseg.run.folder import Run, Step, open_run
from bigseg.run.ledger import Ledger
from bigseg.run.machine import peak_memory, worker_name
from bigseg.run.records import Recorder
from bigseg.types import Facts


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went with one block."""

    block: str
    """Id; empty if the block was lost, which is not recorded yet."""
    number: int
    status: Literal["done", "skipped", "failed", "left"]
    """`skipped`: it was done already; `left`: there was no time for it."""
    seconds: float = 0.0
    error: str = ""

    def text(self) -> str:
        """Say it in a sentence."""
        if self.status == "failed":
            return f"Block {self.block} failed: {self.error}"
        if self.status == "skipped":
            return f"Block {self.block} was done already."
        return f"Block {self.block} is done, in {self.seconds:.1f} s."


Work = Callable[[Sequence[int]], list[Outcome]]
"""Computes the blocks of the given numbers."""


_KNOWN: dict[str, Run] = {}
"""The run that this process has computed blocks of last."""


def _known_step(url: str, name: str, fingerprint: str) -> tuple[Run, Step]:
    """A step that tasks ask for again and again; its fingerprint says that it is the same."""
    run = _KNOWN.get(url)
    if run is not None and any(s.name == name and s.fingerprint == fingerprint for s in run.steps):
        return run, run.step(name)
    run = open_run(url)
    step = run.step(name)
    _KNOWN.clear()
    _KNOWN[url] = run
    if step.fingerprint != fingerprint:
        raise SpecError(
            f"Step '{name}' of the run {url} has other settings than this task was made for: "
            "the run was started again meanwhile. Nothing is computed."
        )
    return run, step


def run_blocks(  # noqa: PLR0913 - who drives a step and who takes a share of it say different things
    url: str,
    name: str,
    numbers: Sequence[int],
    *,
    fingerprint: str | None = None,
    cores: int | None = None,
    limit: float | None = None,
    purpose: str = "",
    go_on: Callable[[Outcome], bool] = lambda outcome: True,
) -> list[Outcome]:
    """Compute blocks of a step of the run at `url`, each on so many cores.

    This is all that any executor or job of an array calls. Blocks that are done already are left
    alone. The next block is read while one is computed. A block that fails is recorded as such, and
    the others go on.

    Parameters
    ----------
    url, name
        The run and the step.
    numbers
        Flat numbers of blocks, best some that follow each other.
    fingerprint
        Of the step, if known: then `run.json` is read once by each process.
    cores
        For each block; None: libraries decide.
    limit
        Seconds after which no other block is begun; those are `left`.
    purpose
        See `bigseg.opened.remembering`.
    go_on
        Is told how it went with each block, and says whether another is begun.
    """
    if fingerprint is None:
        run = open_run(url)
        step = run.step(name)
    else:
        run, step = _known_step(url, name, fingerprint)
    ledger, grid = Ledger.of(run, step), step.spec.grid
    done = ledger.done_among(numbers)
    outcomes = [Outcome(grid[n].id, n, "skipped") for n in numbers if n in done]
    todo = [(n, grid[n]) for n in numbers if n not in done]
    ends = time.monotonic() + (limit or float("inf"))
    with (
        allow(cores),
        remembering(purpose),
        Recorder(ledger) as recorder,
        ThreadPoolExecutor(1) as reader,
    ):
        ahead: Future[Any] | None = None
        for i, (number, block) in enumerate(todo):
            if i and ahead is None:  # what has been read is computed, too
                outcomes += [Outcome(b.id, n, "left") for n, b in todo[i:]]
                break
            reading = ahead or reader.submit(_timed_read, step, block)
            ahead = None
            if i + 1 < len(todo) and time.monotonic() < ends:
                ahead = reader.submit(_timed_read, step, todo[i + 1][1])
            outcomes.append(_compute(step, recorder, number, block, reading))
            if not go_on(outcomes[-1]):
                outcomes += [Outcome(b.id, n, "left") for n, b in todo[i + 1 :]]
                break
    lost = recorder.unrecorded
    return [
        _failed(ledger, o.block, o.number, lost[o.number]) if o.number in lost else o
        for o in outcomes
    ]


def _timed_read(step: Step, block: Block) -> tuple[Any, float]:
    started = time.perf_counter()
    return step.module.read(step.spec, block), time.perf_counter() - started


def _compute(
    step: Step, recorder: Recorder, number: int, block: Block, reading: Future[Any]
) -> Outcome:
    started, clock = time.time(), time.perf_counter()
    try:
        data, read_seconds = reading.result()
        facts = step.module.block(step.spec, block, data)
        seconds = time.perf_counter() - clock
        recorder.add(number, _remembered(facts, started, seconds, read_seconds))
    except Exception as error:
        return _failed(recorder.ledger, block.id, number, error)
    return Outcome(block.id, number, "done", seconds)


def _remembered(facts: Facts, started: float, seconds: float, read_seconds: float) -> Facts:
    """Content of a record."""
    return {
        "facts": facts,
        "started": round(started, 3),
        "seconds": round(seconds, 4),
        "read_seconds": round(read_seconds, 4),
        "peak_bytes": peak_memory(),
        "worker": worker_name(),
    }


def leave_out(run: Run, step: Step, number: int, error: str) -> str | None:
    """Store that nothing is in a block which keeps failing.

    Returns
    -------
    Why it cannot be left out, in a sentence that is empty where later steps need every block; None
    if it is left out.
    """
    started, module = time.time(), cast(Any, step.module)
    if not hasattr(module, "leave_out"):
        return ""
    try:
        facts = module.leave_out(step.spec, step.spec.grid[number])
        Ledger.of(run, step).skip(number, error, _remembered(facts, started, 0.0, 0.0))
    except Exception as failure:
        return sentence(failure)
    return None


def _failed(ledger: Ledger, block: str, number: int, error: Exception) -> Outcome:
    """Record a failure."""
    reason = sentence(error)
    # Where the disk is full, the failure cannot be stored either; the outcome tells of it.
    with suppress(OSError):
        ledger.fail(number, reason, "".join(traceback.format_exception(error)))
    return Outcome(block, number, "failed", error=reason)


def sentence(error: BaseException) -> str:
    """Say an error: ours are sentences already, others are named by their type."""
    text = str(error) if isinstance(error, BigsegError) else f"{type(error).__name__}: {error}"
    return text.strip().rstrip(".:") + "."


def run_block(url: str, name: str, index: str) -> Outcome:
    """Compute one block, given as a number or as an index like 0-1-2-3; see `run_task`."""
    number = block_number(open_run(url).step(name), index)
    return run_task(url, name, [number])[0]


def run_task(url: str, name: str, numbers: Sequence[int]) -> list[Outcome]:
    """Compute some blocks of a step without any cluster and without a driver.

    Raises
    ------
    NotFound
        If there is no such run or step.
    SpecError
        If there is no such block, or an earlier step is not finished.
    """
    run = open_run(url)
    step = run.step(name)
    check_order(run, step)
    if not Ledger.of(run, step).done_among(numbers) >= set(numbers):  # else scratch may be gone
        step.module.check(step.spec)
        prepare_step(run, step)
    return run_blocks(url, name, numbers, fingerprint=step.fingerprint)


def prepare_step(run: Run, step: Step) -> None:
    """Create what the blocks of a step write, who is about to compute some of them.

    Tasks of a job array may do so at the same moment, which `prepare` of every stage bears.
    """
    Ledger.of(run, step).forget_others()
    step.module.prepare(step.spec)


def block_number(step: Step, index: str) -> int:
    """Flat number of a block of a step."""
    grid = step.spec.grid
    parts = index.split("-")
    if all(part.isdecimal() for part in parts):
        values = tuple(int(part) for part in parts)
        if len(values) == 1 and values[0] < len(grid):
            return values[0]
        if len(values) == len(grid.counts) and all(
            value < count for value, count in zip(values, grid.counts, strict=True)
        ):
            return grid.number(values)
    counts = " × ".join(map(str, grid.counts))
    raise SpecError(
        f"Step '{step.name}' has no block '{index}': it has {len(grid)} blocks, numbered 0 to "
        f"{len(grid) - 1} or by {counts} indices as 0-0-0-0."
    )


def check_order(run: Run, step: Step) -> None:
    """Refuse a step before those that come before it are finished."""
    for earlier in run.steps[: run.steps.index(step)]:
        if not Ledger.of(run, earlier).is_finished():
            raise SpecError(
                f"Step '{step.name}' needs '{earlier.name}', which is not finished; "
                f"'bigseg run {run.url}' does all steps in order."
            )
