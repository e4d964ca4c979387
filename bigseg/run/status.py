"""How far a run is, read from its ledger; works while another process runs it."""

from __future__ import annotations

from dataclasses import dataclass

from bigseg.run.folder import open_run
from bigseg.run.ledger import Ledger


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
    """Blocks per second, between the first and the last record."""
    seconds_left: float | None


def status(url: str) -> list[StepStatus]:
    """Progress of every step of the run at `url`."""
    run = open_run(url)
    found = []
    for step in run.steps:
        ledger = Ledger.of(run, step)
        done = ledger.done()
        blocks = len(step.spec.grid)
        finished = ledger.finished() is not None
        rate = None if finished else ledger.rate(done)
        left = blocks - len(done)
        found.append(
            StepStatus(
                step.name,
                blocks,
                len(done),
                len(ledger.failed()),
                left,
                finished,
                rate,
                left / rate if rate else None,
            )
        )
    return found


def status_text(steps: list[StepStatus]) -> str:
    """Table of a run's progress."""
    lines = [f"{'step':<12}{'blocks':>8}{'done':>8}{'failed':>8}{'left':>8}  state"]
    for s in steps:
        state = "finished" if s.finished else "waiting" if not s.done else "under way"
        if s.rate and s.seconds_left is not None:
            state += f", {s.rate:.2f} blocks/s, {_duration(s.seconds_left)} left"
        lines.append(f"{s.name:<12}{s.blocks:>8}{s.done:>8}{s.failed:>8}{s.left:>8}  {state}")
    return "\n".join(lines)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
