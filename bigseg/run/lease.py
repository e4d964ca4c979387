"""One driver per run: a lease in the run folder, kept alive by a heartbeat.

Clocks of different machines are never compared. Who finds a lease watches it: as long as it beats,
its owner lives; if it stays as it is for several beats, its owner is gone and the lease is taken
over. On one machine, a process that is gone is known at once.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

from bigseg import files
from bigseg.errors import BigsegError

NAME = "driver.json"
BEAT = 10.0
"""Seconds between two beats."""
PATIENCE = 3
"""Beats without a change until an owner is taken for dead."""


_driving: set[str] = set()
"""Owners that drive in this process."""


class AnotherDriver(BigsegError, RuntimeError):
    """Somebody else drives this run, or has taken it over."""


def lease_url(run: str) -> str:
    """URL of a run's lease."""
    return files.join(run, NAME)


@dataclass
class Lease:
    """The right to drive a run, as long as it beats."""

    url: str
    content: bytes
    beat: float
    lost: str = ""
    """Why the right is gone; empty while it holds."""
    _stop: Event = field(default_factory=Event)

    def check(self) -> None:
        """Raise AnotherDriver if the run has been taken over."""
        if self.lost:
            raise AnotherDriver(self.lost)

    def keep(self) -> None:
        """Beat until the lease is given back; a store that does not answer is asked again."""
        count = 0
        while not self._stop.wait(self.beat):
            count += 1
            content = _content(json.loads(self.content)["owner"], count)
            try:
                renewed = files.replace(self.url, content, self.content)
            except OSError:
                continue
            if renewed:
                self.content = content
                continue
            # A beat that was stored although the store said it was not, is still ours.
            if (found := _read(self.url)) is not None and _owner(found) == _owner(self.content):
                self.content = found
                continue
            self.lost = (
                f"{_who(found) if found else 'Somebody'} has taken over the run at "
                f"{self.url.removesuffix('/' + NAME)}, because this driver was not heard of for "
                f"{PATIENCE * self.beat:.0f} s; what it has computed is kept."
            )
            return

    def give_back(self) -> None:
        """Stop beating and remove the lease, if it still is this driver's."""
        found = _read(self.url)
        if found is not None and _owner(found) == _owner(self.content):
            files.remove(self.url)


@contextmanager
def drive(run: str, *, beat: float = BEAT) -> Iterator[Lease]:
    """Be the only driver of the run at `run`.

    Parameters
    ----------
    run
        URL of the run folder, which need not exist.
    beat
        Seconds between two beats.

    Raises
    ------
    AnotherDriver
        If another driver works on the run, which takes a few beats to find out if it is on another
        machine.
    """
    owner = uuid.uuid4().hex
    held = Lease(lease_url(run), _content(owner, 0), beat)
    _driving.add(owner)
    try:
        _acquire(held)
        with _beating(held):
            yield held
    finally:
        _driving.discard(owner)


@contextmanager
def _beating(held: Lease) -> Iterator[None]:
    """Keep a lease meanwhile, and give it back."""
    heart = Thread(target=held.keep, name="bigseg-heartbeat", daemon=True)
    heart.start()
    try:
        yield
    finally:
        held._stop.set()
        heart.join()
        with suppress(OSError):  # a lease that stays is one that nobody keeps alive
            held.give_back()


def _acquire(held: Lease) -> None:
    """Create the lease, or take over one whose owner is gone."""
    while not files.create(held.url, held.content):
        found = _read(held.url)
        if found is None:  # given back at this moment
            continue
        if not _is_gone(found) and _beats(held, found):
            raise AnotherDriver(
                f"{_who(found)} drives the run at {held.url.removesuffix('/' + NAME)} already; "
                "'bigseg status' shows how far it is. If it dies, this command continues its work."
            )
        if files.replace(held.url, held.content, found):
            return


def _beats(held: Lease, found: bytes) -> bool:
    """Watch a lease until it beats, or until it has been silent for too long."""
    end = time.monotonic() + PATIENCE * held.beat
    while time.monotonic() < end:
        time.sleep(held.beat / 5)
        now = _read(held.url)
        if now != found:
            return now is not None and _owner(now) == _owner(found)
    return False


def _is_gone(found: bytes) -> bool:
    """Whether the owner ran on this machine and does no more; False if that cannot be known."""
    owner = _parse(found)
    if owner.get("machine") != _machine():
        return False
    if owner.get("pid") == os.getpid():  # perhaps the store failed when it was to be given back
        return owner.get("owner") not in _driving
    try:
        process = psutil.Process(int(owner["pid"]))
        alive = process.status() != psutil.STATUS_ZOMBIE
        return not (alive and abs(process.create_time() - float(owner["born"])) < 1.0)
    except (psutil.Error, KeyError, TypeError, ValueError):
        return True


def _content(owner: str, count: int) -> bytes:
    process = psutil.Process()
    facts = {
        "owner": owner,
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": process.pid,
        "born": process.create_time(),
        "beat": count,
    }
    return json.dumps(facts).encode()


def _machine() -> str:
    """Tell machines, and namespaces of processes on them, apart: hosts may share a name."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    return f"{socket.gethostname()}/{uuid.getnode()}"


def _parse(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _owner(content: bytes) -> object:
    return _parse(content).get("owner")


def _who(content: bytes) -> str:
    owner = _parse(content)
    return f"Process {owner.get('pid', '?')} on {owner.get('host', 'an unknown machine')}"


def _read(url: str) -> bytes | None:
    try:
        return files.get(url)
    except FileNotFoundError:
        return None
