"""A run on a Dask scheduler and workers of its own, any of which may be killed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.chaos.world import Broken, Place, Reference, wait_until
from tests.chaos.zygote import Process

WORKERS = 2
HERE = ("--host", "127.0.0.1", "--no-dashboard")

SENTENCES = (
    "The connection to the Dask scheduler is lost; see that it runs and continue the run.",
    "No Dask scheduler answers at",
    "has no workers; start some first",
)
"""What a driver may say when its scheduler, or all workers, were killed under it."""


@dataclass
class Cluster:
    """A scheduler and its workers, as `dask scheduler` and `dask worker` start them."""

    place: Place
    address: str = ""
    scheduler: Process | None = None
    workers: list[Process] = field(default_factory=list)
    count: int = 0

    def mend(self) -> None:
        """Start what is missing."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self._start_scheduler()
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < WORKERS:
            command = ("dask-worker", self.address, *HERE, "--nthreads", "1", "--no-nanny")
            self.workers.append(self.place.start(*command, role="worker"))

    def _start_scheduler(self) -> None:
        for worker in self.workers:  # those of the former scheduler
            worker.kill()
            worker.wait()
        self.workers, self.count = [], self.count + 1
        said = Path(self.place.folder, f"scheduler-{self.count}.json")
        command = ("dask-scheduler", *HERE, "--port", "0", "--scheduler-file", str(said))
        self.scheduler = scheduler = self.place.start(*command, role="scheduler")

        def listens() -> bool:
            if scheduler.poll() is not None:
                raise RuntimeError(scheduler.said())
            return said.exists() and said.read_text().endswith("}")

        wait_until(listens, "the scheduler")
        self.address = json.loads(said.read_text())["address"]

    def ready(self) -> bool:
        return all("Registered to" in worker.said() for worker in self.workers)

    def close(self) -> None:
        for process in (*self.workers, *([self.scheduler] if self.scheduler else [])):
            process.kill()
            process.wait()


def dask_run(
    place: Place,
    reference: Reference,
    command: tuple[str, ...],
    more: Callable[[], bool],
    most: int,
) -> None:
    """Do a run; as long as there shall be `more` kills, one follows the other."""
    cluster = Cluster(place)
    try:
        while True:
            cluster.mend()
            wait_until(cluster.ready, "the workers")
            driver = place.start(*command, "--cluster", cluster.address, role="driver")
            code = _drive(place, cluster, driver, more, most)
            place.disarm()
            if code == 0:
                return
            place.look(reference)
            if code not in (-9, 1) or "Traceback" in driver.said():
                raise Broken(f"A driver ended with exit code {code}: {driver.said()}")
            if code == 1 and not any(sentence in driver.said() for sentence in SENTENCES):
                raise Broken(f"A driver does not say what is wrong: {driver.said()}")
            place.tally.resumed += 1
    finally:
        cluster.close()


def _drive(
    place: Place, cluster: Cluster, driver: Process, more: Callable[[], bool], most: int
) -> int:
    """Kill until the driver ends."""
    while (code := driver.poll()) is None:
        assert cluster.scheduler is not None
        _strike(place, more, most, {
            "worker": None, "scheduler": cluster.scheduler.pid, "driver": driver.pid
        })  # fmt: skip
        if cluster.scheduler.poll() is None:
            cluster.mend()  # as a batch system does
        time.sleep(0.01)
    return code


def _strike(
    place: Place, more: Callable[[], bool], most: int, victims: dict[str, int | None]
) -> None:
    """Arm the next kill, once the last has come."""
    place.read_log()
    if place.armed is not None and place.taken():
        time.sleep(0.2)
        place.armed = None
    if place.armed is None and more():
        victim = place.random.choice(["worker", *victims])
        place.arm(most, "worker", victim, victims[victim])


def local_run(
    place: Place,
    reference: Reference,
    command: tuple[str, ...],
    more: Callable[[], bool],
    most: int,
) -> None:
    """Do a run on worker processes of its own, which end with it."""
    while True:
        driver = place.start(*command, "--cluster", "local", "--workers", "2")
        while (code := driver.poll()) is None:
            _strike(place, more, most, {"worker": None, "driver": driver.pid})
            time.sleep(0.01)
        wait_until(lambda pid=driver.pid: not _session(pid), "the workers of a dead driver", 30)
        place.disarm()
        if code == 0:
            return
        place.look(reference)
        if code != -9:
            raise Broken(f"A driver ended with exit code {code}: {driver.said()}")
        place.tally.resumed += 1


def _session(leader: int) -> list[int]:
    """Processes of the session that a process began."""
    found = []
    for pid in psutil.pids():
        with suppress(OSError):
            if os.getsid(pid) == leader and psutil.Process(pid).status() != "zombie":
                found.append(pid)
    return found
