"""What people see of a run."""

import io

from rich.console import Console

from bigseg.events import BlockDone, BlockFailed, Event, StageEnded, StageStarted, WorkersReady
from bigseg.run.progress import progress

EVENTS: list[Event] = [
    WorkersReady("2 workers × 1 thread [on this machine]"),
    StageStarted("label", 4, 1),
    BlockDone("label", "0-0-0-1", 0.5),
    BlockFailed("label", "0-0-1-0", "Chunk [zstd] is damaged."),
    StageEnded("label", 2.0),
    StageEnded("merge", 0.0, skipped=True),
]


def shown(*, terminal: bool = False, quiet: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=100, color_system=None)
    with progress(quiet=quiet, console=console) as listen:
        for event in EVENTS:
            listen(event)
    return stream.getvalue()


def test_plain_lines() -> None:
    assert shown().splitlines() == [
        "2 workers × 1 thread [on this machine]",
        "label: block 0-0-1-0 failed: Chunk [zstd] is damaged.",
        "label: done in 2.0 s",
        "merge: was finished already",
    ]


def test_a_bar_counts_what_was_done_before() -> None:
    text = shown(terminal=True)
    assert "2/4" in text
    assert "2 workers × 1 thread [on this machine]" in text
    assert "label: block 0-0-1-0 failed: Chunk [zstd] is damaged." in text


def test_quiet() -> None:
    assert shown(quiet=True) == ""
