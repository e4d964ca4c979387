"""Write the records of a batch of blocks as they come, and read those of a step one after another.

Neither holds more than a folder of records at a time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from threading import Event, Lock, Thread
from types import TracebackType
from typing import overload

from bigseg.errors import NotFound
from bigseg.run.ledger import LOOKS, Ledger, line
from bigseg.run.names import GROUP
from bigseg.types import Facts

PAUSE = 1.0
"""Seconds between two records that are stored: quick blocks share one, slow ones have their own."""
AHEAD = 3
"""Folders of records that are read while one is gone through."""


class Recorder:
    """Records the blocks of a batch: at once where blocks are slow, once a second where not."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.unrecorded: dict[int, Exception] = {}
        """Blocks that could not be recorded, and why; known when the batch has ended."""
        self._waiting: dict[int, str] = {}
        self._last = time.monotonic()
        self._ended = Event()
        self._lock = Lock()
        self._thread: Thread | None = None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        try:
            self._flush()
        except Exception as failure:  # each remote driver has exceptions of its own
            self.unrecorded = dict.fromkeys(self._waiting, failure)

    def add(self, number: int, facts: Facts) -> None:
        """Say that a block is done; its data must be stored already.

        Raises
        ------
        TypeError
            If the facts are nothing that JSON can hold.
        """
        text = line(number, facts)
        with self._lock:
            self._waiting[number] = text
        if time.monotonic() - self._last >= PAUSE:
            self._try()
        elif self._thread is None:  # the next block may take long; this one must not wait for it
            self._thread = Thread(target=self._repeat, daemon=True)
            self._thread.start()

    def _repeat(self) -> None:
        while not self._ended.wait(PAUSE):
            self._try()

    def _try(self) -> None:
        """Store what is waiting; if that fails it is tried again, the last time at the end."""
        try:
            self._flush()
        except Exception:  # each remote driver has exceptions of its own
            self._last = time.monotonic()

    def _flush(self) -> None:
        with self._lock:
            if self._waiting:
                self.ledger.put(self._waiting)
                self._waiting = {}
                self._last = time.monotonic()


class Records(Sequence[Facts]):
    """Records of all blocks of a step, in the order of the grid; few are in memory at a time."""

    def __init__(self, ledger: Ledger, blocks: int) -> None:
        self._ledger = ledger
        self._blocks = blocks
        self._listing = ledger.listing()
        self._read: tuple[int, list[Facts]] = (-1, [])

    def __len__(self) -> int:
        return self._blocks

    @overload
    def __getitem__(self, number: int) -> Facts: ...
    @overload
    def __getitem__(self, number: slice) -> list[Facts]: ...
    def __getitem__(self, number: int | slice) -> Facts | list[Facts]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(self._blocks))]
        if not -self._blocks <= number < self._blocks:
            raise IndexError(f"block {number} is not in a grid of {self._blocks} blocks.")
        folder, place = divmod(number % self._blocks, GROUP)
        if self._read[0] != folder:
            self._read = (folder, self._folder(folder))
        return self._read[1][place]

    def __iter__(self) -> Iterator[Facts]:
        folders = iter(range(-(-self._blocks // GROUP)))
        with ThreadPoolExecutor(AHEAD) as pool:
            first = (pool.submit(self._folder, n) for n in islice(folders, AHEAD))
            waiting: deque[Future[list[Facts]]] = deque(first)
            while waiting:
                records = waiting.popleft().result()
                waiting.extend(pool.submit(self._folder, n) for n in islice(folders, 1))
                yield from records

    def _folder(self, folder: int) -> list[Facts]:
        found = self._listing.get(str(folder), [])
        records = self._ledger.read(str(folder), found) if found else {}
        wanted = range(folder * GROUP, min((folder + 1) * GROUP, self._blocks))
        try:
            return [self._kept(records[number]) for number in wanted]
        except KeyError as missing:
            raise NotFound(
                f"The record of block {missing} in {self._ledger.url} is missing; continue the "
                "run to make it."
            ) from None

    def _kept(self, record: Facts) -> Facts:
        return record


class StepFacts(Records):
    """What the blocks of a step remembered, in the order of the grid."""

    def _kept(self, record: Facts) -> Facts:
        facts: Facts = record["facts"]
        return facts


def sample(ledger: Ledger, most: int) -> list[Facts]:
    """At most `most` records of blocks that are done, spread evenly over the objects they are in.

    Of the objects themselves at most `most` are read. If some are put together meanwhile, it looks
    again.
    """
    for _ in range(LOOKS - 1):
        with suppress(NotFound):
            return _sample(ledger, most)
        ledger = Ledger(ledger.url)
    return _sample(ledger, most)


def _sample(ledger: Ledger, most: int) -> list[Facts]:
    found = [name for names in ledger.listing().values() for name in names]
    chosen = found[:: max(-(-len(found) // most), 1)]
    if not chosen:
        return []
    share = max(most // len(chosen), 1)
    with ThreadPoolExecutor(AHEAD) as pool:
        parts = pool.map(lambda name: list(ledger.records_of(name).values()), chosen)
        return [record for part in parts for record in part[:: max(-(-len(part) // share), 1)]]
