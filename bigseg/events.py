"""What a run tells those who watch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkersReady:
    """A group of workers is there, or asked for."""

    about: str
    """What they are, for a person."""


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A step begins."""

    step: str
    blocks: int
    done: int
    """Blocks that an earlier run has finished."""


@dataclass(frozen=True, slots=True)
class BlockDone:
    """A block is computed and recorded."""

    step: str
    block: str
    seconds: float


@dataclass(frozen=True, slots=True)
class BlockFailed:
    """A block could not be computed this time."""

    step: str
    block: str
    error: str


@dataclass(frozen=True, slots=True)
class BlockLeftOut:
    """A block kept failing, and the run goes on without it."""

    step: str
    block: str
    error: str


@dataclass(frozen=True, slots=True)
class StageEnded:
    """A step is finished, now or by an earlier run."""

    step: str
    seconds: float
    skipped: bool = False


Event = WorkersReady | StageStarted | BlockDone | BlockFailed | BlockLeftOut | StageEnded
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
