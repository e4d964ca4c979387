"""Which jobs do what is left of a run, in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from bigseg.run.folder import Run
from bigseg.run.ledger import Ledger
from bigseg.run.records import sample
from bigseg.run.share import format_numbers

SECONDS = 600.0
"""How long a task should take: long beside its start, short beside a walltime."""
SAMPLE = 50
"""Records read to tell how long a block takes."""
TASKS, MOST = 500, 1000
"""Tasks of a step, and most of them, as long as nobody knows how long a block takes: sites limit
how many jobs a user may submit, and each task counts."""
FEW, MANY = 4, 64
"""Least and most blocks of a task then, unless the tasks became too many."""


@dataclass(frozen=True)
class Job:
    """One script: an array of tasks for blocks of a step, or several steps one after the other."""

    name: str
    """Of its files; begins with its place in the order."""
    step: str = ""
    """Step whose blocks the tasks of an array compute."""
    tasks: tuple[str, ...] = ()
    """Blocks of each task of an array."""
    closes: str = ""
    """Step that it closes first, because the array before it has computed the blocks."""
    steps: tuple[str, ...] = ()
    """Steps that it does after that, from their first block to their end."""
    gpu: bool = False
    last: bool = False
    """Whether the run ends with it."""

    @property
    def is_array(self) -> bool:
        return bool(self.step)


def plan_jobs(run: Run, *, blocks_per_task: int | None = None, gpus: bool = False) -> list[Job]:
    """Jobs for the steps that are not finished, each needing the one before it.

    Parameters
    ----------
    blocks_per_task
        Blocks that a task computes; None: as many as take some minutes, if blocks of the step are
        done already, or by their number.
    gpus
        Whether steps that can use a graphics card get jobs of their own, which ask for it.

    Returns
    -------
    Nothing, if the run is finished.
    """
    jobs: list[Job] = []
    closes, steps = "", list[str]()
    for step in run.steps:
        ledger = Ledger.of(run, step)
        if ledger.is_finished():
            continue
        left = ledger.tally(len(step.spec.grid)).left.tolist()
        size = blocks_per_task or _usual(ledger, len(left))
        gpu = gpus and step.spec.wants_gpu and len(left) > 0
        if len(left) <= (blocks_per_task or 1) and not gpu:
            steps.append(step.name)
            continue
        if closes or steps:
            jobs.append(_small(len(jobs), closes, steps))
        tasks = [left[first : first + size] for first in range(0, len(left), size)]
        name = _numbered(len(jobs), step.name)
        jobs.append(Job(name, step=step.name, tasks=tuple(map(format_numbers, tasks)), gpu=gpu))
        closes, steps = step.name, []
    if closes or steps:
        jobs.append(_small(len(jobs), closes, steps, last=True))
    return jobs


def _small(before: int, closes: str, steps: Sequence[str], *, last: bool = False) -> Job:
    name = f"close-{closes}" if closes else steps[0]
    return Job(_numbered(before, name), closes=closes, steps=tuple(steps), last=last)


def _numbered(before: int, name: str) -> str:
    return f"{before + 1:02}-{name}"


def _usual(ledger: Ledger, left: int) -> int:
    """Blocks of a task of which nobody has said how many they should be."""
    seconds = [record["seconds"] for record in sample(ledger, SAMPLE)]
    if seconds:
        return max(int(SECONDS / max(median(seconds), 1e-3)), 1)
    return max(min(max(ceil(left / TASKS), FEW), MANY), ceil(left / MOST))
