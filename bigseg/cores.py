"""How many cores the block at hand may use: said by who schedules it, heeded by what computes it.

A step with fewer blocks than workers leaves workers idle; those that work then use their cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CORES: ContextVar[int | None] = ContextVar("cores", default=None)


def allowed() -> int | None:
    """Cores for what runs now; None: nobody said, so libraries decide."""
    return _CORES.get()


@contextmanager
def allow(count: int | None) -> Iterator[None]:
    """Say how many cores may be used inside."""
    token = _CORES.set(count)
    try:
        yield
    finally:
        _CORES.reset(token)
