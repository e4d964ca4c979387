"""How much memory a worker needs, reckoned before anything is started."""

from __future__ import annotations

from collections.abc import Sequence

from bigseg.errors import SpecError
from bigseg.jobs.memory import block_bytes
from bigseg.plans.steps import Step
from bigseg.run.cluster import Room

PROCESS = 450_000_000
"""Bytes of a worker that has loaded the libraries and a small network."""


def worker_bytes(steps: Sequence[Step]) -> tuple[str, int]:
    """Step that needs most memory, and how much one worker needs for it."""
    needs = [(need, name) for name, need in step_bytes(steps).items()]
    most, name = max(needs)
    return name, most


def step_bytes(steps: Sequence[Step]) -> dict[str, int]:
    """Memory of a worker in each step: what follows the block, and the process."""
    return {step.name: PROCESS + block_bytes(step.spec) for step in steps}


def check_memory(need: tuple[str, int], room: Room, remedy: str = "a smaller --block") -> None:
    """Refuse blocks that do not fit in memory.

    Parameters
    ----------
    need
        Step that needs most memory, and the bytes that one worker needs for it.
    room
        Blocks that are computed at the same time, and the memory that they share.
    remedy
        What to do about it, besides fewer workers.

    Raises
    ------
    SpecError
        With what is needed and what to change.
    """
    name, each = need
    if room.memory is not None and each * room.workers > room.memory:
        raise SpecError(
            f"Step '{name}' needs about {each / 1e9:.1f} GB of memory for each of {room.workers} "
            f"worker(s), but {room.memory / 1e9:.1f} GB are available; use fewer --workers, "
            f"or {remedy}."
        )
