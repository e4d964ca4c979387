"""How long blocks took, how much memory they needed, and what failed, from a run's ledger."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bigseg.run.folder import Run, Step
from bigseg.run.ledger import Ledger
from bigseg.run.left_out import hole_of
from bigseg.run.records import sample
from bigseg.types import Facts
from bigseg.view.svg import Bar

SAMPLE = 4096
"""Records read of each step; a large run has millions, and a page needs no more."""
MOST_FAILURES = 50


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Times of one step; seconds are those of workers, so they add up over workers."""

    name: str
    blocks: int
    done: int
    seconds: float
    """Of all blocks, reckoned from a sample where there are very many."""
    median: float
    slowest: float
    wall: float
    """From the first block's start to the last block's end."""
    peak_bytes: int
    bars: tuple[Bar, ...]
    finished: Facts


@dataclass(frozen=True, slots=True)
class Failure:
    """A block that failed at least once."""

    step: str
    block: str
    error: str
    attempts: int
    mended: bool
    """Whether it was done in the end."""
    hole: str = ""
    """Its voxels, if it was left out."""


def step_times(run: Run) -> list[StepTimes]:
    """Times of every step that has begun."""
    ledgers = [(step, Ledger.of(run, step).listed()) for step in run.steps]
    return [_times(step, ledger) for step, ledger in ledgers if ledger.paths]


def _times(step: Step, ledger: Ledger) -> StepTimes:
    tally = ledger.tally(len(step.spec.grid))
    records = sample(ledger, SAMPLE)
    seconds = np.array([r["seconds"] for r in records])
    kind = "pyramid" if step.stage == "pyramid" else step.name
    share = tally.count / max(len(records), 1)
    bars = tuple(Bar(r["worker"], kind, r["started"], r["started"] + r["seconds"]) for r in records)
    return StepTimes(
        name=step.name,
        blocks=len(step.spec.grid),
        done=tally.count,
        seconds=float(seconds.sum() * share),
        median=float(np.median(seconds)) if len(seconds) else 0.0,
        slowest=float(seconds.max(initial=0.0)),
        wall=max(b.stop for b in bars) - min(b.start for b in bars) if bars else 0.0,
        peak_bytes=max((r["peak_bytes"] for r in records), default=0),
        bars=bars,
        finished=ledger.finished() or {},
    )


def failures(run: Run) -> list[Failure]:
    """Blocks that failed, also those that were done when they were tried again."""
    found: list[Failure] = []
    for step in run.steps:
        ledger, grid = Ledger.of(run, step).listed(), step.spec.grid
        failed = ledger.failed(MOST_FAILURES - len(found))
        done, left_out = ledger.done_among(failed), ledger.skipped()
        for number, facts in failed.items():
            mended = number in done and number not in left_out
            hole = hole_of(step, number, facts["error"]).where() if number in left_out else ""
            row = (step.name, grid[number].id, facts["error"], facts["attempts"])
            found.append(Failure(*row, mended, hole))
    return found
