"""Remember which blocks of a step are done, so that a run can be resumed on any backend.

Records of blocks are put after the blocks' data, those of quick blocks together in one small
object; its name holds their numbers, so that one listing tells what is done. They lie in a folder
named by the step's fingerprint: other settings simply look elsewhere. When a step ends, its records
are put together into few objects. Only whole objects are ever put and removed, so a ledger works on
a disk and in any bucket, and whoever is killed leaves it as true as it was.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import BigsegError, NotFound, SpecError
from bigseg.run import names
from bigseg.run.folder import Run, Step
from bigseg.run.names import FINISHED, Kind, Name
from bigseg.types import Facts

READERS = 16
"""Objects read at the same time; they are small and far away."""
LOOKS = 5
"""Listings until a record counts as missing; another process may be putting records together."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What one listing of a step's records tells."""

    done: NDArray[np.bool_]
    """(blocks,) whether each block is done, or left out."""
    failed: NDArray[np.int64]
    """Numbers of blocks that failed when they were last tried, rising."""
    skipped: NDArray[np.int64]
    """Numbers of blocks that were left out, rising; they count as done."""
    finished: bool
    """Whether the whole step is done."""

    @property
    def count(self) -> int:
        """Blocks that are done."""
        return int(np.count_nonzero(self.done))

    @property
    def left(self) -> NDArray[np.int64]:
        """Numbers of the blocks that are not done, rising."""
        return np.flatnonzero(~self.done)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Records of one step under `url`."""

    url: str
    paths: tuple[str, ...] | None = None
    """What lies there, if that is known and need not be asked again."""

    @classmethod
    def of(cls, run: Run, step: Step) -> Ledger:
        """Ledger of a step of a run."""
        return cls(files.join(run.url, "ledger", step.name, step.fingerprint[:12]))

    def listed(self) -> Ledger:
        """The ledger as it is now, for those who look at it in several ways."""
        return Ledger(self.url, tuple(files.tree(self.url)))

    def tally(self, blocks: int) -> Tally:
        """Which of so many blocks are done, which failed, and which were left out: one listing."""
        done = np.zeros(blocks, bool)
        others: dict[str, list[int]] = {"failed.json": [], "skipped.json": []}
        paths = self._paths()
        for name in self._parsed(paths):
            if name.spans[-1][1] >= blocks:
                raise self._foreign(name.path, f"the step has only {blocks} blocks")
            if name.kind != "failed.json":
                for first, last in name.spans:
                    done[first : last + 1] = True
            if name.kind != "json":
                others[name.kind].append(name.spans[0][0])
        failed, skipped = (np.array(sorted(found), np.int64) for found in others.values())
        return Tally(done, failed[~done[failed]], skipped, FINISHED in paths)

    def done_among(self, numbers: Iterable[int]) -> set[int]:
        """Which of some blocks are done; asks for nothing but these and those near them."""
        return self._among(numbers)[0]

    def failed_among(self, numbers: Iterable[int]) -> set[int]:
        """Which of some blocks failed when they were last tried; asks for no more than that."""
        done, failed = self._among(numbers)
        return failed - done

    def _among(self, numbers: Iterable[int]) -> tuple[set[int], set[int]]:
        """Which of some blocks have a record, and which have failed."""
        wanted = set(numbers)
        found: tuple[set[int], set[int]] = set(), set()
        for folder in {names.group(number) for number in wanted}:
            paths = [f"{folder}/{name}" for name in files.names(files.join(self.url, folder))]
            for name in self._parsed(paths):
                found[name.kind == "failed.json"].update(wanted.intersection(name.numbers()))
        return found

    def is_done(self, number: int) -> bool:
        """Whether one block is done."""
        return bool(self.done_among([number]))

    def has_records(self) -> bool:
        """Whether any block is done."""
        return bool(self.listing())

    def is_finished(self) -> bool:
        """Whether the whole step is done."""
        try:
            files.size(files.join(self.url, FINISHED))
        except FileNotFoundError:
            return False
        return True

    def failed(self, most: int | None = None) -> dict[int, Facts]:
        """Error, traceback and attempts of blocks that failed at least once, by their numbers."""
        found = self._of_kind("failed.json")[:most]
        contents = self._each(found, lambda name: self._read(name.path))
        return {n.spans[0][0]: facts for n, facts in zip(found, contents, strict=True)}

    def skipped(self) -> dict[int, Facts]:
        """Records of the blocks that were left out, with their errors, by their numbers."""
        parts = self._each(self._of_kind("skipped.json"), self.records_of)
        return {number: record for part in parts for number, record in part.items()}

    def _of_kind(self, kind: Kind) -> list[Name]:
        found = [name for name in self._parsed(self._paths()) if name.kind == kind]
        return sorted(found, key=lambda name: name.spans)

    def record(self, number: int, facts: Facts) -> None:
        """Say that a block is done; its data must be stored already."""
        self.put({number: line(number, facts)})

    def put(self, lines: dict[int, str]) -> None:
        """Store records of blocks, made by `line`, in as few objects as there can be."""
        for name in names.of_many(sorted(lines)):
            text = ",\n".join(lines[number] for number in name.numbers())
            files.put(files.join(self.url, name.path), f"[{text}]".encode())

    def fail(self, number: int, error: str, traceback: str) -> None:
        """Say why a block failed; a record that it is done wins over it."""
        path = names.of_one(number, "failed.json")
        try:
            before = int(self._read(path).get("attempts", 0))
        except BigsegError:
            before = 0
        content = {"error": error, "traceback": traceback, "attempts": before + 1}
        self._write(path, content)

    def skip(self, number: int, error: str, facts: Facts) -> None:
        """Say that a block is left out, and why: it counts as done, but is told of."""
        text = line(number, {"error": error, **facts})
        path = names.of_one(number, "skipped.json")
        files.put(files.join(self.url, path), f"[{text}]".encode())

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

    def compact(self) -> Ledger:
        """Put the records of each folder together; others may read and record meanwhile.

        The new object is there before the old ones go, so each block has a record all the time.

        Returns
        -------
        The ledger as it is afterwards, listed if nothing had to be put together.
        """
        now = self.listed()
        for folder, all_names in now.listing().items():
            found = [name for name in all_names if name.kind == "json"]
            if len(found) > 1:
                self._compact(folder, found)
                now = self
        return now

    def compact_folder(self, folder: str) -> None:
        """Put the records of one folder together."""
        paths = [f"{folder}/{name}" for name in files.names(files.join(self.url, folder))]
        found = [name for name in self._parsed(paths) if name.kind == "json"]
        if len(found) > 1:
            self._compact(folder, found)

    def _compact(self, folder: str, found: list[Name]) -> None:
        lines = {n: json.dumps(record) for n, record in self.read(folder, found).items()}
        kept = {name.path for name in names.of_many(sorted(lines))}
        self.put(lines)
        old = [files.join(self.url, name.path) for name in found if name.path not in kept]
        files.remove_all(old)

    def listing(self) -> dict[str, list[Name]]:
        """Names of the objects with records of done blocks, by their folder."""
        found: dict[str, list[Name]] = defaultdict(list)
        for name in self._parsed(self._paths()):
            if name.kind != "failed.json":
                found[name.path.partition("/")[0]].append(name)
        return {
            folder: sorted(found[folder], key=lambda name: name.spans)
            for folder in sorted(found, key=int)
        }

    def read(self, folder: str, found: Sequence[Name]) -> dict[int, Facts]:
        """Records of the blocks of a folder, by their numbers, rising.

        Raises
        ------
        NotFound, SpecError
            If an object is missing or damaged.
        """
        for _ in range(LOOKS):
            try:
                parts = self._each(found, self.records_of)
            except NotFound:  # put together meanwhile
                paths = [f"{folder}/{name}" for name in files.names(files.join(self.url, folder))]
                found = [name for name in self._parsed(paths) if name.kind != "failed.json"]
            else:
                records = {number: facts for part in parts for number, facts in part.items()}
                return dict(sorted(records.items()))
        raise NotFound(f"Records in {self.url}/{folder} vanish while they are read; try again.")

    def records_of(self, name: Name) -> dict[int, Facts]:
        """Records of one object, by the numbers of their blocks."""
        url = files.join(self.url, name.path)
        content = self._load(name.path)
        numbers = list(name.numbers())
        if not isinstance(content, list) or [_block(one) for one in content] != numbers:
            raise _damaged(url, "it does not hold the blocks that its name says")
        return dict(zip(numbers, content, strict=True))

    def _paths(self) -> Sequence[str]:
        return files.tree(self.url) if self.paths is None else self.paths

    def _each(
        self, found: Sequence[Name], read: Callable[[Name], dict[Any, Any]]
    ) -> list[dict[Any, Any]]:
        if len(found) == 1:
            return [read(found[0])]
        with ThreadPoolExecutor(READERS) as pool:
            return list(pool.map(read, found))

    def _parsed(self, paths: Iterable[str]) -> Iterable[Name]:
        for path in paths:
            if path == FINISHED or path.rpartition("/")[2].startswith("."):
                continue
            try:
                yield names.parse(path)
            except ValueError as error:
                raise self._foreign(path, str(error)) from None

    def _foreign(self, path: str, why: str) -> SpecError:
        return SpecError(
            f"{self.url}/{path} is not a record of this version of bigseg ({why}): another version "
            "has made the run. Use that version, or start the run again with --overwrite."
        )

    def _write(self, path: str, content: Facts) -> None:
        files.put(files.join(self.url, path), _text(content).encode())

    def _load(self, path: str) -> Any:
        url = files.join(self.url, path)
        try:
            return json.loads(files.get(url))
        except FileNotFoundError:
            raise NotFound(f"The record {url} is missing; continue the run to make it.") from None
        except ValueError as error:
            raise _damaged(url, str(error)) from None

    def _read(self, path: str) -> Facts:
        found = self._load(path)
        if not isinstance(found, dict):
            raise _damaged(files.join(self.url, path), f"it holds {type(found).__name__}")
        return found


def line(number: int, facts: Facts) -> str:
    """Record of a block, as it is stored.

    Raises
    ------
    TypeError
        If the facts are nothing that JSON can hold.
    """
    return _text({"block": number, **facts})


def _block(record: Any) -> Any:
    return record.get("block") if isinstance(record, dict) else None


def _text(content: Facts) -> str:
    return json.dumps(content, default=_plain)


def _damaged(url: str, why: str) -> SpecError:
    return SpecError(
        f"The record {url} is damaged ({why}); delete it, and continuing the run makes it again."
    )


def _plain(value: Any) -> Any:
    """JSON of NumPy's numbers and arrays, which json does not know."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(
        f"A block may remember numbers, text, lists and dicts, but not {type(value).__name__}"
    )
