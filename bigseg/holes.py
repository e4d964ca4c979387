"""Whether blocks that keep failing may be left out: said by who starts a run, heeded by the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ALLOWED: ContextVar[bool] = ContextVar("allowed", default=False)


def may_leave_out() -> bool:
    """Whether a run goes on without blocks that keep failing."""
    return _ALLOWED.get()


@contextmanager
def leave_out_failed(allowed: bool = True) -> Iterator[None]:
    """Let runs that are driven inside leave out blocks that keep failing; `holes` names them."""
    token = _ALLOWED.set(allowed)
    try:
        yield
    finally:
        _ALLOWED.reset(token)
