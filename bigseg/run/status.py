"""How far a run is, read from its ledger; works while another process runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from bigseg.run.breaker import read_streak
from bigseg.run.folder import Run, Step, open_run
from bigseg.run.ledger import Ledger
from bigseg.run.records import sample
from bigseg.types import Facts

SAMPLE = 200
"""Records read to tell the rate; one would have to read millions otherwise."""

NAMED = 10
"""Failed blocks that are shown with their reasons."""


@dataclass(frozen=True, slots=True)
class StepStatus:
    """Progress of one step."""

    name: str
    blocks: int
    done: int
    failed: int
    left: int
    finished: bool
    rate: float | None
    """Blocks per second while the step ran; None before the first block and after the last."""
    seconds_left: float | None
    stopped: str = ""
    """Why the tasks of a job array try no more of its blocks, if so."""


def status(url: str) -> list[StepStatus]:
    """Progress of every step of the run at `url`."""
    run = open_run(url)
    return [_step_status(run, step) for step in run.steps]


@dataclass(frozen=True, slots=True)
class FailedBlock:
    """A block that failed when it was last tried."""

    step: str
    block: str
    """Id."""
    number: int
    attempts: int
    error: str

    def text(self) -> str:
        """Say it in a line."""
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        return f"{self.step}: block {self.number} ({self.block}) failed {times}: {self.error}"


def failed_blocks(url: str) -> list[FailedBlock]:
    """Blocks of the run at `url` that failed and are not done yet."""
    run = open_run(url)
    found: list[FailedBlock] = []
    for step in run.steps:
        ledger, grid = Ledger.of(run, step), step.spec.grid
        if ledger.is_finished() or not len(numbers := ledger.tally(len(grid)).failed):
            continue
        about = ledger.failed()
        found += [
            FailedBlock(step.name, grid[n].id, n, about[n]["attempts"], about[n]["error"])
            for n in numbers.tolist()
            if n in about
        ]
    return found


def _step_status(run: Run, step: Step) -> StepStatus:
    ledger, blocks = Ledger.of(run, step), len(step.spec.grid)
    tally = ledger.tally(blocks)
    done = tally.count
    streak = None if tally.finished else read_streak(run, step)
    rate = None if tally.finished else block_rate(sample(ledger, SAMPLE), done)
    return StepStatus(
        name=step.name,
        blocks=blocks,
        done=done,
        failed=len(tally.failed),
        left=blocks - done,
        finished=tally.finished,
        rate=rate,
        seconds_left=(blocks - done) / rate if rate else None,
        stopped=streak.text(step.name, run.url) if streak else "",
    )


def block_rate(some: Sequence[Facts], done: int) -> float | None:
    """Blocks per second, from some of the records of `done` blocks.

    Time that passed while nothing ran, because the run was interrupted, does not count: a gap
    between two records of the sample that is far wider than the usual one is taken for that.
    """
    ends = sorted(record["started"] + record["seconds"] for record in some)
    if not ends:
        return None
    first = min(some, key=lambda record: record["started"])
    gaps = [late - early for early, late in pairwise([first["started"], *ends])]
    longest = max(record["seconds"] for record in some)
    usual = max(10 * median(gaps), 2 * longest)
    seconds = sum(min(gap, usual) for gap in gaps)
    return done / seconds if seconds > 0 else None


def status_text(steps: list[StepStatus], failures: Sequence[FailedBlock] = ()) -> str:
    """Table of a run's progress, and why blocks failed."""
    lines = [f"{'step':<12}{'blocks':>8}{'done':>8}{'failed':>8}{'left':>8}  state"]
    for s in steps:
        state = "finished" if s.finished else "waiting" if not s.done else "under way"
        if s.stopped:
            state = "stopped"
        elif s.rate and s.seconds_left is not None:
            state += f", {s.rate:.2f} blocks/s, {_duration(s.seconds_left)} left"
        lines.append(f"{s.name:<12}{s.blocks:>8}{s.done:>8}{s.failed:>8}{s.left:>8}  {state}")
    lines += [s.stopped for s in steps if s.stopped]
    lines += [failure.text() for failure in failures[:NAMED]]
    if len(failures) > NAMED:
        lines.append(f"… and {len(failures) - NAMED} more; --json lists all.")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
