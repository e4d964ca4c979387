"""What worker processes find in their environment, wherever they run."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bigseg.storage import current

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}
"""Lets glibc give large arrays back when they are freed, but keep the network's smaller ones: to
fetch those from the system again and again costs more than they take."""


def environment(cores: int) -> dict[str, str]:
    """Environment of a worker that has so many cores for itself."""
    # Threads that wait for others sleep. By default they spin, and on a busy machine, where those
    # others do not run, that made the network seven times slower.
    share = dict.fromkeys(THREADS, str(max(cores, 1)))
    return share | ALLOCATOR | {"OMP_WAIT_POLICY": "passive"} | current().environment()


@contextmanager
def restored(names: Collection[str]) -> Iterator[None]:
    """Undo what Dask leaves in this process's environment, where it puts what workers inherit.

    What runs here afterwards would take it for the user's wish.
    """
    before = {name: os.environ[name] for name in names if name in os.environ}
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def variables(config: Mapping[str, Any]) -> dict[str, str]:
    """Dask's settings as variables, for processes that do not inherit them."""
    names = {key: key.upper().replace(".", "__").replace("-", "_") for key in config}
    return {f"DASK_{names[key]}": str(value) for key, value in config.items()}
