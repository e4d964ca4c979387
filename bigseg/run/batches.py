"""Share blocks out in batches that take some seconds each, whatever a block takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Batch = Sequence[int]
"""Numbers of blocks that one task computes, one after the other."""
Numbers = NDArray[np.int64]

TASK_SECONDS = 10.0
"""How long a task should last: long for a scheduler, short for a cluster that may shrink."""
SHORT_TASK = 0.1
"""Seconds under which sending a task costs more than a worker that waits for another at the end."""
SLOW_BLOCK = 60.0
"""Seconds of a block that has a task of its own; of quicker ones the next is read ahead."""
LONGEST = 1024
"""Blocks of a task, at most: so many are looked into one by one if its worker dies."""
REMEMBERED = 64
"""Blocks whose times say how long the next will take."""


class Batches(Iterator[Batch]):
    """Batches of blocks, made when they are asked for.

    Their length follows the times of the blocks that are done, and shrinks towards the end, so that
    all workers end together. Blocks that a task left can be put back, even if none is left here.
    """

    def __init__(self, numbers: Numbers, workers: int) -> None:
        self._numbers = numbers
        self._next = 0
        self._workers = workers
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._back: deque[int] = deque()

    def __next__(self) -> Batch:
        length = self._length()
        if self._back:
            some = [self._back.popleft() for _ in range(min(length, len(self._back)))]
            return as_range(np.array(some, np.int64))
        batch = self._numbers[self._next : self._next + length]
        if not len(batch):
            raise StopIteration
        self._next += len(batch)
        return as_range(batch)

    def took(self, seconds: float) -> None:
        """Tell how long a block took."""
        self._seconds.append(seconds)

    def put_back(self, number: int) -> None:
        """Hand a block out again, before all others."""
        self._back.append(number)

    def _length(self) -> int:
        if not self._seconds:
            return 1
        each = sum(self._seconds) / len(self._seconds)
        left = len(self._numbers) - self._next + len(self._back)
        fair = left // (4 * self._workers)
        least = min(_lasting(SHORT_TASK, each), -(-left // (2 * self._workers)))
        wanted = max(_lasting(TASK_SECONDS, each), 1 + (each < SLOW_BLOCK))
        return max(min(fair, wanted), least, 1)


def _lasting(seconds: float, each: float) -> int:
    """Blocks that take so long together, if each takes so long."""
    return int(seconds / each) if each > seconds / LONGEST else LONGEST


def as_range(numbers: Numbers) -> Batch:
    """Numbers that follow each other as a range, which takes no space in a message."""
    first, last = int(numbers[0]), int(numbers[-1])
    if last - first + 1 == len(numbers) and (np.diff(numbers) == 1).all():
        return range(first, last + 1)
    return tuple(numbers.tolist())


@dataclass(frozen=True)
class Share:
    """Cores for each block, of those that workers share."""

    usual: int
    last: frozenset[int]
    """Blocks that are computed when other workers have none left."""
    most: int
    """Cores for each of those."""

    def of(self, numbers: Sequence[int]) -> int:
        """Cores for each block of a batch."""
        return self.most if self.last.issuperset(numbers) else self.usual


def shared(cores: int, workers: int, numbers: Numbers) -> Share:
    """Share cores out, as if all blocks took as long, so that none is idle at the end."""
    rest = len(numbers) % workers
    last = frozenset(numbers[len(numbers) - rest :].tolist())
    return Share(max(cores // workers, 1), last, max(cores // max(rest, 1), 1))


def ordered(left: Numbers, failed: Numbers, first: int) -> Numbers:
    """Order in which blocks are tried: some from all over, the others, and those known to fail.

    Parameters
    ----------
    left
        Numbers of blocks that are not done, rising.
    failed
        Those of them that failed in an earlier run.
    first
        How many from all over the image come first: what is wrong with all shows at once.
    """
    fresh = left[~np.isin(left, failed)]
    step = max(-(-len(fresh) // first), 1)
    early = np.zeros(len(fresh), bool)
    early[::step] = True
    return np.concatenate([fresh[early], fresh[~early], np.intersect1d(left, failed)])
