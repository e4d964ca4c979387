"""The single path by which a block is computed, whatever asks for it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from bigseg.cores import allow
from bigseg.errors import BigsegError, SpecError
from bigseg.grid import Block
from bigseg.run.folder import Run, Step, open_run
from bigseg.run.ledger import Ledger
from bigseg.run.machine import peak_memory, worker_name


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went with one block."""

    block: str
    """Id; empty if the block was lost, which is not recorded yet."""
    number: int
    status: Literal["done", "skipped", "failed"]
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


def work(url: str, name: str, numbers: Sequence[int], *, cores: int | None = None) -> list[Outcome]:
    """Compute blocks of a step of the run at `url`, each on so many cores.

    The next block is read while one is computed. A block that fails is recorded as such, and the
    others go on.
    """
    run = open_run(url)
    step = run.step(name)
    ledger = Ledger.of(run, step)
    blocks = [(number, step.spec.grid[number]) for number in numbers]
    done = {block.id for _, block in blocks if ledger.is_done(block.id)}
    outcomes = [Outcome(b.id, n, "skipped") for n, b in blocks if b.id in done]
    todo = [(n, b) for n, b in blocks if b.id not in done]
    with allow(cores), ThreadPoolExecutor(1) as reader:
        ahead: Future[Any] | None = None
        for i, (number, block) in enumerate(todo):
            reading = ahead or reader.submit(_timed_read, step, block)
            ahead = None
            if i + 1 < len(todo):
                ahead = reader.submit(_timed_read, step, todo[i + 1][1])
            outcomes.append(_compute(step, ledger, number, block, reading))
    return outcomes


def _timed_read(step: Step, block: Block) -> tuple[Any, float]:
    started = time.perf_counter()
    return step.module.read(step.spec, block), time.perf_counter() - started


def _compute(
    step: Step, ledger: Ledger, number: int, block: Block, reading: Future[Any]
) -> Outcome:
    started, clock = time.time(), time.perf_counter()
    try:
        data, read_seconds = reading.result()
        facts = step.module.block(step.spec, block, data)
        seconds = time.perf_counter() - clock
        ledger.record(
            block.id,
            {
                "facts": facts,
                "started": round(started, 3),
                "seconds": round(seconds, 4),
                "read_seconds": round(read_seconds, 4),
                "peak_bytes": peak_memory(),
                "worker": worker_name(),
            },
        )
    except Exception as error:
        reason = sentence(error)
        # Where the disk is full, the failure cannot be stored either; the outcome tells of it.
        with suppress(OSError):
            ledger.fail(block.id, reason, "".join(traceback.format_exception(error)))
        return Outcome(block.id, number, "failed", error=reason)
    return Outcome(block.id, number, "done", seconds)


def sentence(error: BaseException) -> str:
    """Say an error: ours are sentences already, others are named by their type."""
    text = str(error) if isinstance(error, BigsegError) else f"{type(error).__name__}: {error}"
    return text.strip().rstrip(".:") + "."


def run_block(url: str, name: str, index: str) -> Outcome:
    """Compute one block, given as a number or as an index like 0-1-2-3, without any cluster.

    Raises
    ------
    NotFound
        If there is no such run or step.
    SpecError
        If there is no such block, or an earlier step is not finished.
    """
    run = open_run(url)
    step = run.step(name)
    _check_order(run, step)
    number = block_number(step, index)
    block = step.spec.grid[number]
    if Ledger.of(run, step).is_done(block.id):  # its scratch may be gone already
        return Outcome(block.id, number, "skipped")
    step.module.check(step.spec)
    prepare_step(run, step)
    return work(url, name, [number])[0]


def prepare_step(run: Run, step: Step) -> None:
    """Create what the blocks of a step write; nothing if none of them is left to do.

    Tasks of a job array may do so at the same moment, which `prepare` of every stage bears.
    """
    ledger = Ledger.of(run, step)
    ledger.forget_others()
    if len(ledger.done()) == len(step.spec.grid):
        return
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


def _check_order(run: Run, step: Step) -> None:
    for earlier in run.steps[: run.steps.index(step)]:
        if Ledger.of(run, earlier).finished() is None:
            raise SpecError(
                f"Step '{step.name}' needs '{earlier.name}', which is not finished; "
                f"'bigseg run {run.url}' does all steps in order."
            )
