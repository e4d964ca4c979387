"""What this machine offers to a run: cores, memory, disk. Limits of containers count."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import psutil
from dask.system import CPU_COUNT
from distributed.system import MEMORY_LIMIT

from bigseg import files


def cores() -> int:
    """Processor cores that this process may use."""
    return int(CPU_COUNT)


def memory() -> int:
    """Memory that this process may use, bytes."""
    return int(MEMORY_LIMIT)


def worker_memory(workers: int) -> int:
    """Memory of each of `workers` processes that share this machine, bytes."""
    return memory() // max(workers, 1)


def free_disk(url: str) -> int | None:
    """Free bytes where `url` is, or will be, stored; None where nobody knows (a bucket)."""
    if not files.is_local(url):
        return None
    folder = files.local_path(files.absolute(url))
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def peak_memory() -> int:
    """Most memory that this process has ever held, bytes."""
    if sys.platform == "linux":
        # getrusage would count what the parent held when it started this process.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    info = psutil.Process().memory_info()
    return int(getattr(info, "peak_wset", info.rss))


def held_memory() -> int:
    """Memory that this process holds now, bytes."""
    return int(psutil.Process().memory_info().rss)


def worker_name() -> str:
    """Host and process, to tell workers apart in records."""
    return f"{socket.gethostname()}:{os.getpid()}"
