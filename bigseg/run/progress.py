"""Show a run's progress: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
    BlockLeftOut,
    Event,
    Listener,
    StageEnded,
    StageStarted,
    WorkersReady,
    ignore,
)

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_MOVES = 0.1


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
        self.done = self.before = 0
        self.started = self.shown = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self.started, self.done, self.before = time.monotonic(), 0, event.done
            self.task = self.bars.add_task(
                event.step, total=event.blocks, completed=event.done, rate="", left=""
            )
        elif isinstance(event, BlockDone) and self.task is not None:
            self.done += 1
            if time.monotonic() - self.shown >= SECONDS_BETWEEN_MOVES:
                self._show()
        elif isinstance(event, BlockFailed):
            self._print(f"{event.step}: block {event.block} failed: {event.error}")
        elif isinstance(event, BlockLeftOut):
            self._print(f"{event.step}: block {event.block} is left out.")
        elif isinstance(event, StageEnded):
            self._show()
        elif isinstance(event, WorkersReady):
            self._print(event.about)

    def _show(self) -> None:
        """Move the bar; not for every one of a million blocks, as that takes longer than some."""
        if self.task is None:
            return
        self.shown = time.monotonic()
        rate = self.done / max(self.shown - self.started, 1e-3)
        self.bars.update(self.task, completed=self.before + self.done)
        # rich's own estimate forgets the time before the first block is done
        seconds = (self.bars.tasks[self.task].remaining or 0) / max(rate, 1e-9)
        left = f"{timedelta(seconds=round(seconds))} left" if self.done else ""
        self.bars.update(self.task, rate=f"{rate:.2f} blocks/s", left=left)

    def _print(self, line: str) -> None:
        self.bars.console.print(line, markup=False)  # errors may hold [brackets]


def progress_of_many(*, quiet: bool = False) -> Callable[[str], Listener]:
    """Listeners for runs side by side, by their names, which begin each line on stderr."""
    console = Console(stderr=True, highlight=False)
    return lambda name: ignore if quiet else Lines(console, f"{name}  ")


class Lines:
    """A line when a step begins and ends, and now and then between."""

    def __init__(self, console: Console, name: str = "") -> None:
        self.console = console
        self.name = name
        self.step = StageStarted("", 0, 0)
        self.done = 0
        self.started = self.last = time.monotonic()

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, WorkersReady):
            self._print(event.about)
        elif isinstance(event, StageStarted):
            self.step, self.done = event, event.done
            self.started = self.last = now
        elif isinstance(event, BlockFailed):
            self._print(f"{event.step}: block {event.block} failed: {event.error}")
        elif isinstance(event, BlockLeftOut):
            self._print(f"{event.step}: block {event.block} is left out.")
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
        self.console.print(self.name + line, markup=False, soft_wrap=True)
