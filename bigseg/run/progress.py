"""Show a run's progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from bigseg.events import (
    BlockDone,
    BlockFailed,
    Event,
    Listener,
    StageEnded,
    StageStarted,
    ignore,
)

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(*, quiet: bool = False, console: Console | None = None) -> Iterator[Listener]:
    """Listener that shows events on stderr while the context is open."""
    console = console or Console(stderr=True, highlight=False)
    if quiet:
        yield ignore
    elif console.is_terminal:
        with _bars(console) as bars:
            yield Bars(bars)
    else:
        yield Lines(console)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<11}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
    )


class Bars:
    """One bar per step, with rate and time left."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.task: TaskID | None = None
        self.done = 0
        self.started = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self.started, self.done = time.monotonic(), 0
            self.task = self.bars.add_task(
                event.step, total=event.blocks, completed=event.done, rate="", left=""
            )
        elif isinstance(event, BlockDone) and self.task is not None:
            self.done += 1
            rate = self.done / max(time.monotonic() - self.started, 1e-3)
            self.bars.update(self.task, advance=1, rate=f"{rate:.2f} blocks/s")
            # rich's own estimate forgets the time before the first block is done
            left = (self.bars.tasks[self.task].remaining or 0) / rate
            self.bars.update(self.task, left=f"{timedelta(seconds=round(left))} left")
        elif isinstance(event, BlockFailed):
            self.bars.console.print(
                f"{event.step}: block {event.block} failed: {event.error}",
                markup=False,  # errors may hold [brackets]
            )


class Lines:
    """A line when a step begins and ends, and now and then between."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.step = StageStarted("", 0, 0)
        self.done = 0
        self.started = self.last = time.monotonic()

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, StageStarted):
            self.step, self.done = event, event.done
            self.started = self.last = now
        elif isinstance(event, BlockFailed):
            self._print(f"{event.step}: block {event.block} failed: {event.error}")
        elif isinstance(event, StageEnded):
            how = "was finished already" if event.skipped else f"done in {event.seconds:.1f} s"
            self._print(f"{event.step}: {how}")
        else:
            self.done += 1
            if now - self.last >= SECONDS_BETWEEN_LINES:
                self.last = now
                rate = (self.done - self.step.done) / (now - self.started)
                left = (self.step.blocks - self.done) / rate
                self._print(
                    f"{event.step}: {self.done} of {self.step.blocks} blocks, "
                    f"{rate:.2f} blocks/s, {left:.0f} s left"
                )

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, soft_wrap=True)
