"""Commands that start at once: forked from a process that has loaded bigseg already.

Each is a process of its own that runs the command line from its beginning; only the imports, which
take longer than the blocks of a test, are done once. The process itself starts no threads.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOADED = (
    "bigseg.cli.app", "bigseg.jobs.segment", "bigseg.jobs.tiles", "bigseg.jobs.track",
    "bigseg.jobs.maps", "bigseg.jobs.restore", "bigseg.run.cluster", "bigseg.stages.report",
    "distributed.cli.dask_scheduler", "distributed.cli.dask_worker", "tests.chaos.model",
    "tests.chaos.hook", "bigseg.core.decode.flows", "scipy.ndimage", "pyarrow.dataset", "pandas",
    "bigseg.nets.network", "rich.progress", "PIL.PngImagePlugin", "PIL.JpegImagePlugin",
)  # fmt: skip


@dataclass
class Process:
    """A command that runs."""

    zygote: Zygote
    pid: int
    output: Path

    def poll(self) -> int | None:
        """Exit code, or minus the signal that ended it; None as long as it runs."""
        return self.zygote.ended.get(self.pid)

    def wait(self, timeout: float = 240.0) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                self.kill()
                raise TimeoutError(f"{self.said()} — it does not end.")
            if self.zygote.process.poll() is not None:
                raise RuntimeError("The process that starts others has ended.")
            time.sleep(0.01)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ends at this moment
                os.kill(self.pid, signal.SIGKILL)

    def said(self) -> str:
        return self.output.read_text(errors="replace")


class Zygote:
    """The process that starts others; ends with its owner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ended: dict[int, int] = {}
        self.started: dict[int, int] = {}
        self.count = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def start(self, *arguments: str, **variables: str) -> Process:
        """Run `bigseg` (or `dask-scheduler`, `dask-worker`) with these arguments."""
        self.count += 1
        number, output = self.count, self.folder / f"said-{self.count}.txt"
        output.touch()
        asked = {"number": number, "do": arguments, "env": variables, "output": str(output)}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        while number not in self.started:
            if self.process.poll() is not None:
                raise RuntimeError("The process that starts others has ended.")
            time.sleep(0.002)
        return Process(self, self.started[number], output)

    def close(self) -> None:
        for pid in set(self.started.values()) - set(self.ended):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if "number" in told:
                self.ended.pop(told["pid"], None)  # of an earlier process with that number
                self.started[told["number"]] = told["pid"]
            else:
                self.ended[told["pid"]] = told["code"]


def _serve() -> None:
    for name in LOADED:
        importlib.import_module(name)
    waiting, open_ = b"", True
    while open_:
        if select.select([0], [], [], 0.01)[0]:
            data = os.read(0, 65536)
            open_ = bool(data)
            *lines, waiting = (waiting + data).split(b"\n")
            for line in lines:
                _fork(json.loads(line))
        _bury()


def _fork(asked: dict[str, Any]) -> None:
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = _be(asked["do"], asked["env"], asked["output"])
        finally:
            os._exit(code)
    _tell({"number": asked["number"], "pid": pid})


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell({"pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(facts: dict[str, int]) -> None:
    os.write(1, f"{json.dumps(facts)}\n".encode())


def _be(arguments: Sequence[str], variables: dict[str, str], output: str) -> int:
    """Become a command."""
    os.setsid()
    said = os.open(output, os.O_WRONLY | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for file, place in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(file, place)
    os.environ.update(variables)
    importlib.import_module("tests.chaos.hook").install()
    name, *rest = arguments
    try:
        if name == "dask-scheduler":
            from distributed.cli.dask_scheduler import main as scheduler

            scheduler(rest)
        elif name == "dask-worker":
            from distributed.cli.dask_worker import main as worker

            worker(rest)
        else:
            from bigseg.cli import main

            main([name, *rest])
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    _serve()
