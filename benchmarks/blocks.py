"""What a block costs besides its work: a step of up to a million blocks that do nothing.

`simulated` drives the real loop (`run_step`, its batches, ledger and circuit breaker) with 1,000
workers that are imagined: each task ends after the seconds that its blocks are said to take, on a
clock that is imagined, too; its records are really written. `dask` starts a real scheduler and real
workers, each a process of its own, and counts the processor time of all. `ledger` writes, puts
together and reads the records of many blocks alone. Processor time is counted rather than time
passed, so that a busy machine does not matter.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from bigseg import files
from bigseg.events import ignore
from bigseg.grid import Block, Grid
from bigseg.run import batches
from bigseg.run.execute import Executor, Group, finish_step, run_step
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger, line
from bigseg.run.records import StepFacts, sample
from bigseg.run.worker import Outcome, Work
from bigseg.types import Facts, StageSpec

ROOT = str(Path(__file__).resolve().parent.parent)
sys.path.insert(0, ROOT)  # where workers find the stage below

STAGE = "benchmarks.blocks"
GOALS = {"scheduler, ms per block": 1.0, "all, ms per block": 2.0}
REMEMBERED = {
    "started": 1.7e9,
    "seconds": 0.0123,
    "read_seconds": 0.0045,
    "peak_bytes": 123456789,
    "worker": "node-0123:12345",
}


class Spec(StageSpec):
    """So many blocks."""

    blocks: int

    @property
    def grid(self) -> Grid:
        return Grid((1, 1, 1, self.blocks), (1, 1, 1, 1), (0, 0, 0, 0))


def check(spec: Spec) -> None:
    """Nothing can be wrong."""


def prepare(spec: Spec) -> None:
    """Nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing has to be loaded."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Do nothing."""
    return {"objects": 7, "cut": 3}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Reduce over all blocks."""
    return {"objects": sum(fact["objects"] for fact in facts)}


def plan(folder: str, blocks: int) -> Run:
    """Plan a run of one step."""
    run = Run(folder, "0", {}, make_steps([("none", STAGE, Spec(blocks=blocks))]))
    run.save()
    return run


def memory() -> float:
    """MiB that this process holds."""
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20


@contextmanager
def requests() -> Iterator[Counter[str]]:
    """How often objects are put, read, listed and removed."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> Any:
        function = getattr(files, name)

        def call(url: Any, *rest: Any) -> Any:
            counts[name] += len(url) if isinstance(url, list) else 1
            return function(url, *rest)

        return call

    with patch.multiple(
        files, **{n: counted(n) for n in ("put", "get", "names", "tree", "remove_all", "exists")}
    ):
        yield counts


def timed(table: dict[str, Any], what: str, act: Any) -> Any:
    """Note the processor time of an act."""
    before = time.process_time()
    result = act()
    table[what] = f"{time.process_time() - before:.2f} s"
    return result


def measure_ledger(blocks: int, together: int) -> dict[str, Any]:
    """Records of `blocks` blocks, so many of which share an object at first."""
    table: dict[str, Any] = {"blocks": blocks, "blocks per object": together}
    with tempfile.TemporaryDirectory() as folder, requests() as counts:
        run = plan(folder, blocks)
        ledger, before = Ledger.of(run, run.steps[0]), memory()
        record = {"facts": {"objects": 7, "cut": 3}, **REMEMBERED}

        def write() -> None:
            for first in range(0, blocks, together):
                ledger.put(
                    {n: line(n, record) for n in range(first, min(first + together, blocks))}
                )

        with patch("os.fsync"):  # of a thousand machines, not of this one
            timed(table, "write", write)
            counts.clear()
            tally = timed(table, "which are done", lambda: ledger.tally(blocks))
            assert tally.done.all()
            table["  requests"] = dict(counts)
            timed(table, "200 records of all", lambda: sample(ledger, 200))
            counts.clear()
            timed(table, "put together", ledger.compact)
            table["  requests "] = dict(counts)
        table["objects after"] = len(files.tree(ledger.url))
        counts.clear()
        timed(table, "read all", lambda: sum(f["objects"] for f in StepFacts(ledger, blocks)))
        table["  requests  "] = dict(counts)
        timed(table, "which are done, now", lambda: ledger.tally(blocks))
        table["memory grew by"] = f"{memory() - before:.0f} MiB"
    return table


class Imagined:
    """Workers that exist on paper: tasks end one after the other on a clock of their own."""

    def __init__(self, run: Run, workers: int, seconds: float) -> None:
        self.ledger = Ledger.of(run, run.steps[0])
        self.workers, self.seconds = workers, seconds
        self.clock, self.tasks, self.elsewhere = 0.0, 0, 0.0
        self.memory = self.largest = memory()

    def executor(self) -> Executor:
        def execute(work: Work, batches: Iterable[Sequence[int]]) -> Any:
            queue, flying = iter(batches), list[tuple[float, int, Sequence[int]]]()
            while True:
                while len(flying) < 2 * self.workers and (batch := next(queue, None)) is not None:
                    self.tasks += 1
                    waits = 0 if len(flying) < self.workers else len(batch) * self.seconds
                    ends = self.clock + waits + len(batch) * self.seconds
                    heapq.heappush(flying, (ends, self.tasks, batch))
                if not flying:
                    return
                self.clock, _, batch = heapq.heappop(flying)
                yield self.outcomes(batch)

        return execute

    def outcomes(self, batch: Sequence[int]) -> list[Outcome]:
        """What a worker would record and send back; its time is not the driver's."""
        before = time.process_time()
        record = {"facts": {"objects": 7, "cut": 3}, **REMEMBERED}
        per = max(int(1 / self.seconds), 1) if self.seconds else len(batch)
        for first in range(0, len(batch), per):
            self.ledger.put({n: line(n, record) for n in batch[first : first + per]})
        done = [Outcome(f"0-0-0-{n}", n, "done", self.seconds) for n in batch]
        if self.tasks % 100 == 0:
            self.largest = max(self.largest, psutil.Process().memory_info().rss / 2**20)
        self.elsewhere += time.process_time() - before
        return done


def measure_simulated(blocks: int, workers: int, seconds: float) -> dict[str, Any]:
    """A whole step, with workers that are imagined."""
    with tempfile.TemporaryDirectory() as folder, requests() as counts, patch("os.fsync"):
        run = plan(folder, blocks)
        imagined = Imagined(run, workers, seconds)
        group = Group(imagined.executor(), workers)
        before = time.process_time()
        run_step(run, run.steps[0], group, listen=ignore, tries=2)
        own = time.process_time() - before - imagined.elsewhere
        objects, puts = len(files.tree(imagined.ledger.url)), counts["put"]
        counts.clear()
        before = time.process_time()
        finish_step(run, run.steps[0])
        closing = time.process_time() - before
        assert imagined.ledger.finished() == {"objects": 7 * blocks}
        return {
            "blocks": blocks,
            "workers (imagined)": workers,
            "seconds of a block (imagined)": seconds,
            "tasks": imagined.tasks,
            "driver, ms per block": round(1000 * own / blocks, 4),
            "records put": puts,
            "objects before closing": objects,
            "closing the step": f"{closing:.1f} s",
            "  requests": dict(counts),
            "driver's memory grew by": f"{imagined.largest - imagined.memory:.0f} MiB",
            "  after closing": f"{memory() - imagined.memory:.0f} MiB",
        }


@contextmanager
def real_cluster(workers: int) -> Iterator[tuple[str, list[psutil.Process]]]:
    """Scheduler and workers, each in a process of its own: address and processes."""
    environment = {
        **os.environ,
        "PYTHONPATH": ROOT,
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "1.0",
    }
    with tempfile.TemporaryDirectory() as folder:
        place = f"{folder}/scheduler.json"
        start = partial(
            subprocess.Popen, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        python = [sys.executable, "-m", "distributed.cli.dask_"]
        listen = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        begun = [start([*python[:2], f"{python[2]}scheduler", *listen, "--scheduler-file", place])]
        while not Path(place).exists():
            time.sleep(0.1)
        address = json.loads(Path(place).read_text())["address"]
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
        command = [*python[:2], f"{python[2]}worker", address, *options]
        begun += [start([*command, "--local-directory", folder]) for _ in range(workers)]
        try:
            yield address, [psutil.Process(process.pid) for process in begun]
        finally:
            for process in begun:
                process.kill()
            for process in begun:
                process.wait()


def measure_dask(blocks: int, workers: int, longest: int | None) -> dict[str, Any]:
    """A whole step on real workers; `longest` blocks per task, or as many as are best."""
    from distributed import Client

    from bigseg.run.dask import dask

    def seconds(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    with (
        tempfile.TemporaryDirectory() as folder,
        real_cluster(workers) as (address, family),
        Client(address, set_as_default=False) as client,
        patch.object(batches, "LONGEST", longest or batches.LONGEST),
    ):
        client.wait_for_workers(workers)
        list(dask(client, workers)(lambda numbers: [], [[0]] * workers))  # all is imported
        warm = plan(f"{folder}/warm", 50)
        run_step(warm, warm.steps[0], Group(dask(client, workers), workers), listen=ignore, tries=1)
        run = plan(f"{folder}/run", blocks)
        members = [*family, psutil.Process()]
        before, size = [seconds(one) for one in members], family[0].memory_info().rss
        driver, started = memory(), time.monotonic()
        group = Group(dask(client, workers), workers)
        run_step(run, run.steps[0], group, listen=ignore, tries=2)
        finish_step(run, run.steps[0])
        passed = time.monotonic() - started
        spent = [1000 * (seconds(one) - b) / blocks for one, b in zip(members, before, strict=True)]
        row = {
            "blocks": blocks,
            "workers": workers,
            "blocks per task": longest or "as long as is best",
            "scheduler, ms per block": round(spent[0], 4),
            "driver, ms per block": round(spent[-1], 4),
            "workers, ms per block": round(sum(spent[1:-1]), 4),
            "all, ms per block": round(sum(spent), 4),
            "time passed": f"{passed:.1f} s",
            "scheduler's memory grew by": f"{(family[0].memory_info().rss - size) / 2**20:.0f} MiB",
            "driver's memory grew by": f"{memory() - driver:.0f} MiB",
        }
        return row | {f"{n}: share of the goal": round(row[n] / g, 3) for n, g in GOALS.items()}


def show(title: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print columns as a Markdown table."""
    print(f"\n{title}\n\n| | " + " | ".join("" for _ in rows) + " |")
    print("| --- |" + " ---: |" * len(rows))
    for name in rows[0]:
        cells = [row[name] for row in rows]
        texts = [f"{c:,}" if isinstance(c, int) else str(c) for c in cells]
        print(f"| {name} | " + " | ".join(texts) + " |", flush=True)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["ledger", "simulated", "dask"])
    parser.add_argument("--blocks", type=int, default=10**6)
    parser.add_argument("--dask-blocks", type=int, default=10**5)
    parser.add_argument("--workers", type=int, default=1000)
    asked = parser.parse_args()
    few = asked.blocks // 10
    if "ledger" in asked.what:
        rows = [measure_ledger(asked.blocks, 100), measure_ledger(few, 1)]
        show("Records alone, processor time", rows)
    if "simulated" in asked.what:
        rows = [measure_simulated(asked.blocks, asked.workers, 0.01)]
        rows.append(measure_simulated(few, asked.workers, 20.0))
        show("A step with imagined workers, processor time", rows)
    if "dask" in asked.what:
        rows = [measure_dask(asked.dask_blocks, 2, None), measure_dask(few // 10, 2, 1)]
        show("A step on a real scheduler and two workers, processor time", rows)


if __name__ == "__main__":
    main()
