"""Where the time of workers goes: what each does from the first task of a step to the last.

`watched` makes an executor that does what another does and notes it; its workers may each be
bound to a core of their own, as batch systems and containers bind them.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigseg.run.execute import Executor, Results
from bigseg.run.worker import Outcome, Work

KINDS = ("computing", "waiting for data", "storing", "records", "without a task")
"""What the time of a worker is shared out among."""
Span = tuple[float, float]

_spans: dict[str, list[Span]] = defaultdict(list)
_watching: list[bool] = []


def watched(execute: Executor, folder: Path, *, bound: bool) -> Executor:
    """An executor whose workers note in a folder what they do, and may be bound to a core each."""

    def doing(work: Work, batches: Iterable[Sequence[int]]) -> Results:
        return execute(Watched(work, str(folder), bound), batches)

    return doing


@dataclass(frozen=True)
class Watched:
    """Work whose parts are noted."""

    work: Work
    folder: str
    bound: bool

    def __call__(self, numbers: Sequence[int]) -> list[Outcome]:
        if not _watching:
            _watching.append(True)
            _watch()
            if self.bound:
                _bind(self.folder)
        _spans.clear()
        begun = time.time()
        outcomes = self.work(numbers)
        noted = {"begun": begun, "ended": time.time(), **{k: _union(v) for k, v in _spans.items()}}
        with Path(self.folder, f"{os.getpid()}.jsonl").open("a") as file:
            file.write(json.dumps(noted) + "\n")
        return outcomes


def _bind(folder: str) -> None:
    """Keep to the first core that no other worker has claimed."""
    for core in sorted(os.sched_getaffinity(0)):
        try:
            Path(folder, f"core-{core}").touch(exist_ok=False)
        except FileExistsError:
            continue
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), {core})
        return


def _watch() -> None:
    """Note when this process reads, computes and stores, from now on."""
    from bigseg import disk
    from bigseg.run import worker

    put, compute = disk.put, worker._compute

    class Awaited:
        """What is being read, and how long it was waited for."""

        def __init__(self, reading: Future[Any]) -> None:
            self.reading = reading

        def result(self) -> Any:
            return _noted("waiting for data", self.reading.result)

    def timed_put(path: Path, data: bytes) -> None:
        kind = "records" if "ledger" in path.parts else "storing"
        _noted(kind, lambda: put(path, data))

    def timed_compute(step: Any, recorder: Any, number: int, block: Any, reading: Any) -> Outcome:
        waited: Any = Awaited(reading)
        return _noted("block", lambda: compute(step, recorder, number, block, waited))

    disk.put = timed_put
    worker._compute = timed_compute


def _noted(kind: str, act: Callable[[], Any]) -> Any:
    begun = time.time()
    try:
        return act()
    finally:
        _spans[kind].append((begun, time.time()))


def _union(spans: list[Span]) -> float:
    """Seconds in which at least one of some spans goes on."""
    total, last = 0.0, float("-inf")
    for begun, ended in sorted(spans):
        total += max(ended - max(begun, last), 0.0)
        last = max(last, ended)
    return total


def shares(folder: Path, begun: float, ended: float) -> list[dict[str, float]]:
    """Seconds of each worker by kind, of those between the begin and the end of a step.

    What a worker reads while it computes is not told apart, nor a record that is stored meanwhile.
    """
    workers = []
    for path in sorted(folder.glob("*.jsonl")):
        tasks = [json.loads(line) for line in path.read_text().splitlines()]
        tasks = [task for task in tasks if begun <= task["begun"] <= ended]
        sums = {k: sum(t.get(k, 0.0) for t in tasks) for k in ("block", *KINDS[1:3])}
        inside = sum(t["ended"] - t["begun"] for t in tasks)
        sums["computing"] = sums["block"] - sums["waiting for data"] - sums["storing"]
        sums["records"] = inside - sums["block"]
        sums["without a task"] = ended - begun - inside
        workers.append({kind: sums[kind] for kind in KINDS} | {"tasks": len(tasks)})
    return workers
