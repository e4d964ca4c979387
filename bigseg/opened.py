"""Remember what has been opened while blocks are computed: their metadata do not change meanwhile.

A block opens the same few arrays again and again, and each time asks the store for their metadata.
Within `remembering` they are asked for once; outside of it, and for another purpose, they are asked
for again, so that whoever comes next finds what is there then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, TypeVar, cast

Opened = TypeVar("Opened")

_LOCK = Lock()
_FOUND: dict[tuple[Any, ...], Any] = {}
_INSIDE: list[str] = []
"""What is remembered for, by all that do so now: threads of a process share what they open."""
_LAST = [""]
"""What was remembered for last."""


@contextmanager
def remembering(purpose: str = "") -> Iterator[None]:
    """Open everything once in here.

    Parameters
    ----------
    purpose
        Who comes back for the same finds it still open; nobody does if it is empty. It must be new
        each time something may have been made anew.
    """
    with _LOCK:
        if purpose != _LAST[0]:
            _FOUND.clear()
        _INSIDE.append(purpose)
        _LAST[0] = purpose
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE.remove(purpose)
            if not purpose and not _INSIDE:
                _FOUND.clear()


def once(url: str, how: tuple[Any, ...], make: Callable[[], Opened]) -> Opened:
    """What `make` opens at a URL, or has opened before in the same way; errors are not kept."""
    key = (url, *how)
    with _LOCK:
        if _INSIDE and key in _FOUND:
            return cast(Opened, _FOUND[key])
    found = make()  # two threads may both ask, which harms nobody
    with _LOCK:
        if _INSIDE:
            _FOUND[key] = found
    return found


def forget(url: str) -> None:
    """Open what is at a URL anew, as it has been made just now."""
    with _LOCK:
        for key in [key for key in _FOUND if key[0] == url]:
            del _FOUND[key]
