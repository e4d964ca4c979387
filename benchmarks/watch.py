"""Run a command and measure what it and all its child processes take."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

INTERVAL = 0.25
"""Seconds between looks at the memory."""


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of all processes together."""
    largest: int
    """Most memory (resident, bytes) that any one process held."""
    together: int
    """Most memory that all processes held at one moment; pages that they share count once."""


def run(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    folder: Path,
    log: Path,
    limit: float = 1800.0,
) -> Taken:
    """Run a command in `folder`, its output going to `log`.

    Raises
    ------
    RuntimeError
        If it fails, or takes longer than `limit` seconds; then it is ended.
    """
    largest = together = 0
    cpu: dict[int, float] = {}
    started = time.perf_counter()
    with log.open("w") as output:
        child = subprocess.Popen(
            [str(word) for word in command],
            env=dict(environment),
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        if time.perf_counter() - started > limit:
            os.killpg(child.pid, signal.SIGKILL)
            os.wait4(child.pid, 0)
            raise RuntimeError(f"{command[0]} took more than {limit:.0f} s; see {log}.")
        sizes = [look(process, cpu) for process in family(child.pid)]
        largest = max([largest, *(peak for peak, _ in sizes)])
        together = max(together, sum(share for _, share in sizes))
        time.sleep(INTERVAL)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{log.read_text()[-2000:]}")
    # Children that nobody waited for are missing in `usage`, the last moments of all in `cpu`.
    total = max(usage.ru_utime + usage.ru_stime, sum(cpu.values()))
    return Taken(wall, total, largest, together)


def family(pid: int) -> list[psutil.Process]:
    """A process and all its descendants."""
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def look(process: psutil.Process, cpu: dict[int, float]) -> tuple[int, int]:
    """Peak memory and present share of it, bytes; notes the processor time in `cpu`."""
    try:
        times = process.cpu_times()
        cpu[process.pid] = times.user + times.system
        folder = Path("/proc") / str(process.pid)
        peak = _field(folder / "status", "VmHWM:")
        return peak, _field(folder / "smaps_rollup", "Pss:")
    except (psutil.Error, OSError):
        return 0, 0


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
