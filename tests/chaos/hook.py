"""What breaks bigseg from inside: kills at a chosen moment, and a log of what was computed.

Every process of a test calls `install`, whatever it is: a driver, a worker, a task of a job array.
It writes lines to a log that all share, and looks at each *moment* (a block begins; a file is half
written, whole but without its name, there) whether the test has armed a kill. So a kill can be put
inside any write, and still nothing of bigseg knows of it.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

FOLDER, ROLE = "BIGSEG_CHAOS", "BIGSEG_CHAOS_ROLE"
"""Variables: where log and kill lie, and what this process is."""
PAUSE, BEAT, MACHINE = "BIGSEG_CHAOS_PAUSE", "BIGSEG_CHAOS_BEAT", "BIGSEG_CHAOS_MACHINE"
"""Variables: seconds between records, and between beats of a lease; the machine to claim to be."""

_now: dict[str, Any] = {"step": "", "number": None}
_seen: Counter[str] = Counter()


def log(**facts: Any) -> None:
    """Append a line; small ones are never mixed up with those of other processes."""
    text = json.dumps({"pid": os.getpid(), "role": os.environ.get(ROLE), **_now, **facts})
    file = os.open(Path(os.environ[FOLDER], "log"), os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    os.write(file, f"{text}\n".encode())
    os.close(file)


def moment(name: str, path: str = "") -> None:
    """Kill what is to be killed, if now is the time."""
    armed = Path(os.environ[FOLDER], "armed")
    try:
        kill = json.loads(armed.read_bytes())
    except (FileNotFoundError, ValueError):
        return
    if kill["role"] != os.environ.get(ROLE):
        return
    _seen[kill["id"]] += 1
    if _seen[kill["id"]] <= kill["after"]:
        return
    try:
        armed.rename(armed.with_name(f"taken-{kill['id']}"))  # of many processes, one succeeds
    except FileNotFoundError:
        return
    if kill["delay"]:
        threading.Timer(kill["delay"], _strike, (kill, f"after {name}", path)).start()
    else:
        _strike(kill, name, path)


def _strike(kill: dict[str, Any], name: str, path: str) -> None:
    if kill["hold"]:  # nobody is killed; all waits here until the test says go
        while not Path(os.environ[FOLDER], "go").exists():
            time.sleep(0.01)
        return
    log(event="kill", id=kill["id"], victim=kill["victim"], moment=name, path=path)
    os.kill(kill["process"] or os.getpid(), signal.SIGKILL)
    if kill["process"]:
        time.sleep(kill["rest"])


def install() -> None:
    """Wrap the one function that computes a block, and the one that writes a file."""
    if FOLDER not in os.environ:
        return
    import dask
    import obstore

    from bigseg import disk
    from bigseg.run import execute, lease, records, share, worker

    if getattr(disk.part, "wrapped", False):
        return
    dask.config.set({"distributed.worker.preload": ["tests.chaos.hook"]})
    records.PAUSE = float(os.environ.get(PAUSE, records.PAUSE))
    drive: Any = lease.drive
    drive.__wrapped__.__kwdefaults__["beat"] = float(os.environ.get(BEAT, lease.BEAT))
    if MACHINE in os.environ:
        lease._machine = lambda: os.environ[MACHINE]
    worker._compute = _counted(worker._compute)
    disk.part = _torn(disk.part)
    obstore.put = _sent(obstore.put)
    obstore.put_async = _sent(obstore.put_async)
    execute.finish_step = _named(execute.finish_step)
    execute.prepare_step = _named(execute.prepare_step)
    share.prepare_step = _named(share.prepare_step)


def _counted(compute: Callable[..., Any]) -> Callable[..., Any]:
    def counted(step: Any, recorder: Any, number: int, *others: Any) -> Any:
        _now.update(step=step.name, number=number)
        log(event="start", recorded=recorder.ledger.is_done(number))
        moment("begin")
        outcome = compute(step, recorder, number, *others)
        _now["number"] = None
        return outcome

    return counted


def _named(do: Callable[..., Any]) -> Callable[..., Any]:
    def named(run: Any, step: Any) -> None:
        _now.update(step=step.name, number=None)
        do(run, step)

    return named


def _torn(part: Callable[..., Any]) -> Callable[..., Any]:
    @contextmanager
    def torn(path: Path, data: bytes) -> Iterator[Path]:
        if path.name == "driver.json":  # beats by the clock, which is no moment of the work
            with part(path, data) as written:
                yield written
            return
        half = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        with suppress(OSError):  # where the disk is full, what follows says so
            path.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(data[: len(data) // 2])
        moment("half written", str(path))
        half.unlink(missing_ok=True)
        with part(path, data) as written:
            moment("not yet named", str(path))
            yield written
        if os.environ.get("BIGSEG_CHAOS_WRITES"):
            log(event="write", path=str(path))
        moment("written", str(path))

    torn.wrapped = True  # type: ignore[attr-defined]
    return torn


def _sent(put: Callable[..., Any]) -> Callable[..., Any]:
    """Kill before an object is sent to a bucket, or soon after, while it is on its way."""

    def sent(store: Any, key: str, *others: Any, **more: Any) -> Any:
        if not key.endswith("driver.json"):
            moment("sent", key)
        return put(store, key, *others, **more)

    return sent


def dask_setup(worker: Any) -> None:
    """Be loaded by the workers of a driver, as `distributed.worker.preload`."""
    os.environ[ROLE] = "worker"
    install()
