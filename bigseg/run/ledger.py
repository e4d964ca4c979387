"""Remember which blocks of a step are done, so that a run can be resumed on any backend.

A record is one small object, put at once and after the block's data. Records lie in a folder named
by the step's fingerprint: other settings simply look elsewhere, and one listing tells what is done.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from bigseg import files
from bigseg.grid import Grid
from bigseg.run.folder import Run, Step
from bigseg.types import Facts

FINISHED = "finished.json"
FAILED = ".failed.json"
READERS = 16
"""Records read at the same time; they are small and far away."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Records of one step under `url`."""

    url: str

    @classmethod
    def of(cls, run: Run, step: Step) -> Ledger:
        """Ledger of a step of a run."""
        return cls(files.join(run.url, "ledger", step.name, step.fingerprint[:12]))

    def done(self) -> set[str]:
        """Ids of the blocks that are done."""
        return {
            name.removesuffix(".json")
            for name in files.names(self.url)
            if name.endswith(".json") and not name.endswith(FAILED) and name != FINISHED
        }

    def is_done(self, block: str) -> bool:
        """Whether one block is done."""
        return files.exists(files.join(self.url, f"{block}.json"))

    def failed(self) -> dict[str, Facts]:
        """Error and traceback of the blocks that failed when they were last tried."""
        done = self.done()
        ids = [n.removesuffix(FAILED) for n in files.names(self.url) if n.endswith(FAILED)]
        return {id: self._read(id + FAILED) for id in ids if id not in done}

    def rate(self, done: set[str], sample: int = 200) -> float | None:
        """Blocks per second, from the start times of some of the blocks that are done."""
        names = [f"{block}.json" for block in sorted(done)[-sample:]]
        with ThreadPoolExecutor(READERS) as pool:
            records = list(pool.map(self._read, names))
        starts = [record["started"] for record in records]
        ends = [record["started"] + record["seconds"] for record in records]
        span = max(ends) - min(starts) if records else 0.0
        return len(records) / span if span > 0 else None

    def record(self, block: str, facts: Facts) -> None:
        """Say that a block is done; its data must be stored already."""
        self._write(f"{block}.json", facts)

    def fail(self, block: str, error: str, traceback: str) -> None:
        """Say why a block failed; a later record wins over it."""
        self._write(block + FAILED, {"error": error, "traceback": traceback})

    def records(self, grid: Grid) -> list[Facts]:
        """What each block remembered, in grid order."""
        names = [f"{block.id}.json" for block in grid]
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self._read, names))

    def finish(self, facts: Facts) -> None:
        """Say that the whole step is done."""
        self._write(FINISHED, facts)

    def finished(self) -> Facts | None:
        """What the step remembered when it ended; None if it has not."""
        try:
            return self._read(FINISHED)
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: Any) -> None:
        files.put(files.join(self.url, name), json.dumps(content).encode())

    def _read(self, name: str) -> Facts:
        found: Facts = json.loads(files.get(files.join(self.url, name)))
        return found
