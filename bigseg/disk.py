"""Files on a disk: replaced at once, created once, and what killed writers left of them."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bigseg.storage import Unreachable

UNFINISHED = (".part", ".partial")
"""How names of files end that are being written, by us and by zarr; nobody reads them."""
STALE = 3600.0
"""Seconds since the last write, after which nobody is at such a file any more."""


ALONE = threading.Lock()
"""What the threads of this process do one at a time: in memory, and where locks are processes'."""


class DiskFull(Unreachable):
    """There is no room for a file."""


@contextmanager
def part(path: Path, data: bytes) -> Iterator[Path]:
    """Write data to a hidden file beside `path`, safe from loss of power; gone at the end."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield part
    except OSError as error:
        if error.errno not in _FULL:
            raise
        reason = _FULL[error.errno].format(path.parent)
        raise DiskFull(f"{reason} Make room, then give the same command again.") from None
    finally:
        with suppress(OSError):  # it was renamed, or its folder could not be made
            part.unlink()


_FULL = {
    errno.ENOSPC: "The disk of {} is full.",
    errno.EDQUOT: "Your quota on the disk of {} is used up.",
}


def put(path: Path, data: bytes) -> None:
    """Write a file at once, safe from loss of power: readers see the old one or the new."""
    with part(path, data) as written:
        written.replace(path)


def link(path: Path, data: bytes) -> bool:
    """Create a file with its content; a second name of a file is made at once, or not at all."""
    with part(path, data) as written:
        try:
            os.link(written, path)
        except FileExistsError:
            # NFS may say so of what it did itself when an answer was lost
            return written.stat().st_nlink == 2
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            return True
    try:  # a disk without links; the content follows in a moment
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def swap(path: Path, data: bytes, expected: bytes) -> bool:
    """Compare and replace a file, alone: the lock is the kernel's, so it ends with its holder."""
    if not path.exists():
        return False
    with ALONE, path.with_name(f".{path.name}.lock.part").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Linux makes it hold between machines on NFS and Lustre
        if not path.exists() or path.read_bytes() != expected:
            return False
        put(path, data)
        return True


def sweep(folder: Path, age: float = STALE) -> int:
    """Delete what killed writers left below a folder; how many files that were."""
    swept, before = 0, time.time() - age
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if name.endswith(UNFINISHED) and not name.endswith(".lock.part"):
                with suppress(FileNotFoundError):  # it may be finished at this moment
                    if path.stat().st_mtime <= before:
                        path.unlink()
                        swept += 1
    return swept
