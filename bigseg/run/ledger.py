"""Remember which blocks of a step are done, so that a run can be resumed on any backend.

A record is one small object, put at once and after the block's data. Records lie in a folder named
by the step's fingerprint: other settings simply look elsewhere, and one listing tells what is done.
"""

from __future__ import annotations

import json
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bigseg import files
from bigseg.errors import BigsegError, NotFound, SpecError
from bigseg.grid import Grid
from bigseg.run.folder import Run, Step
from bigseg.types import Facts

FINISHED = "finished.json"
FAILED = ".failed.json"
READERS = 16
"""Records read at the same time; they are small and far away."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What one listing of a step's records tells."""

    done: frozenset[str]
    """Ids of the blocks that are done."""
    failed: frozenset[str]
    """Ids of the blocks that failed when they were last tried."""
    finished: bool
    """Whether the whole step is done."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Records of one step under `url`."""

    url: str

    @classmethod
    def of(cls, run: Run, step: Step) -> Ledger:
        """Ledger of a step of a run."""
        return cls(files.join(run.url, "ledger", step.name, step.fingerprint[:12]))

    def tally(self) -> Tally:
        """Which blocks are done and which failed."""
        names = {name for name in files.names(self.url) if name.endswith(".json")}
        failures = {name for name in names if name.endswith(FAILED)}
        records = names - failures - {FINISHED}
        done = frozenset(name.removesuffix(".json") for name in records)
        failed = frozenset(name.removesuffix(FAILED) for name in failures) - done
        return Tally(done, failed, FINISHED in names)

    def done(self) -> frozenset[str]:
        """Ids of the blocks that are done."""
        return self.tally().done

    def is_done(self, block: str) -> bool:
        """Whether one block is done."""
        return files.exists(files.join(self.url, f"{block}.json"))

    def failed(self) -> dict[str, Facts]:
        """Error and traceback of the blocks that failed when they were last tried."""
        ids = sorted(self.tally().failed)
        return dict(zip(ids, self._read_all([id + FAILED for id in ids]), strict=True))

    def sample(self, done: Set[str], most: int) -> list[Facts]:
        """Records of at most `most` of the blocks that are done, spread evenly over them."""
        ids = sorted(done)
        step = max(-(-len(ids) // most), 1)
        return self._read_all([f"{id}.json" for id in ids[::step]])

    def record(self, block: str, facts: Facts) -> None:
        """Say that a block is done; its data must be stored already."""
        self._write(f"{block}.json", facts)

    def fail(self, block: str, error: str, traceback: str) -> None:
        """Say why a block failed; a record that it is done wins over it."""
        try:
            before = self._read(block + FAILED).get("attempts", 0)
        except BigsegError:
            before = 0
        content = {"error": error, "traceback": traceback, "attempts": before + 1}
        self._write(block + FAILED, content)

    def records(self, grid: Grid) -> list[Facts]:
        """What each block remembered, in grid order.

        Raises
        ------
        NotFound, SpecError
            If a record is missing or damaged.
        """
        return self._read_all([f"{block.id}.json" for block in grid])

    def finish(self, facts: Facts) -> None:
        """Say that the whole step is done."""
        self._write(FINISHED, facts)

    def finished(self) -> Facts | None:
        """What the step remembered when it ended; None if it has not."""
        try:
            return self._read(FINISHED)
        except FileNotFoundError:
            return None

    def forget_others(self) -> None:
        """Drop the records of this step under other settings, before their data are overwritten.

        Else a return to those settings would take the data of these for its own.
        """
        parent, _, mine = self.url.rpartition("/")
        for name in files.names(parent):
            if name != mine:
                with suppress(FileNotFoundError):  # another process may be dropping it, too
                    files.remove(files.join(parent, name))

    def _write(self, name: str, content: Facts) -> None:
        text = json.dumps(content, default=_plain)
        files.put(files.join(self.url, name), text.encode())

    def _read_all(self, names: list[str]) -> list[Facts]:
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(self._read, names))

    def _read(self, name: str) -> Facts:
        url = files.join(self.url, name)
        try:
            found = json.loads(files.get(url))
            if not isinstance(found, dict):
                raise ValueError(f"it holds {type(found).__name__}")
        except FileNotFoundError:
            raise NotFound(f"The record {url} is missing; continue the run to make it.") from None
        except ValueError as error:
            raise SpecError(
                f"The record {url} is damaged ({error}); delete it, and continuing the run makes "
                "it again."
            ) from None
        return found


def _plain(value: Any) -> Any:
    """JSON of NumPy's numbers and arrays, which json does not know."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(
        f"A block may remember numbers, text, lists and dicts, but not {type(value).__name__}"
    )
