"""How blocks are shared out among tasks."""

import heapq
from collections import deque
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.run.batches import LONGEST, Batches, as_range, ordered


@given(
    st.sets(st.integers(0, 5000), max_size=800),
    st.integers(1, 9),
    st.lists(st.floats(0, 200), max_size=20),
    st.sets(st.integers(0, 50), max_size=9),
)
@settings(deadline=None, max_examples=60)
def test_every_block_is_handed_out_once_and_again_if_put_back(
    numbers: set[int], workers: int, times: list[float], back: set[int]
) -> None:
    queue, handed = Batches(np.array(sorted(numbers), np.int64), workers), list[int]()
    for number, batch in enumerate(queue):
        assert 1 <= len(batch) <= LONGEST
        handed += batch
        if times:
            queue.took(times.pop())
        if number in back:
            queue.put_back(batch[0])
            handed.remove(batch[0])
    for batch in queue:  # what was put back after the last was handed out
        handed += batch
    assert sorted(handed) == sorted(numbers)


def lengths(seconds: float, blocks: int = 100_000, workers: int = 4) -> int:
    queue = Batches(np.arange(blocks), workers)
    assert len(next(queue)) == 1, "nobody knows yet how long a block takes"
    for _ in range(64):
        queue.took(seconds)
    return len(next(queue))


def test_tasks_take_some_seconds_whatever_a_block_takes() -> None:
    assert lengths(0.0) == lengths(0.001) == LONGEST
    assert lengths(0.1) == 100
    assert lengths(2) == 5
    assert lengths(20) == 2, "one is read while the other is computed"
    assert lengths(100) == 1


def test_all_workers_end_together() -> None:
    assert lengths(0.05, blocks=161) == 10
    assert lengths(0.001, blocks=161) == 20, "so short a task costs more than it takes"
    assert lengths(0.001, blocks=8) == 1


def clock(times: list[float], workers: int) -> float:
    """When all blocks are done, on a clock that is imagined: a task costs a moment of its own."""
    queue = Batches(np.arange(len(times)), workers)
    ends, tasks, known = [0.0] * workers, deque(islice(queue, 2 * workers)), 0
    flying: list[tuple[float, list[float]]] = []
    while tasks or flying:
        while tasks and len(flying) < workers:
            free, took = heapq.heappop(ends), [times[n] for n in tasks.popleft()]
            heapq.heappush(flying, (free + MOMENT + sum(took), took))
        now, took = heapq.heappop(flying)
        known += len(took)
        for seconds in took:
            queue.took(seconds)
        heapq.heappush(ends, now)
        tasks.extend(islice(queue, 2 * workers - len(tasks) - len(flying)))
    assert known == len(times)
    return max(ends)


MOMENT = 0.01
"""Seconds in which a task is sent to a worker, looks at what is done, and is answered."""


@pytest.mark.parametrize(("workers", "least"), [(2, 1.9), (4, 3.5), (8, 6.9)])
def test_more_workers_are_as_much_faster(workers: int, least: float) -> None:
    for blocks in ([0.05] * 64, [0.02] * 256):
        assert clock(blocks, 1) / clock(blocks, workers) >= least


@given(st.lists(st.floats(0.01, 0.5), min_size=64, max_size=300))
@settings(deadline=None, max_examples=50)
def test_two_workers_are_twice_as_fast_but_for_a_task_at_the_end(times: list[float]) -> None:
    idle = 2 * clock(times, 2) - clock(times, 1)
    tasks = 2 * MOMENT * len(list(Batches(np.arange(len(times)), 2)))
    assert idle <= 4 * max(times) + tasks


@given(st.lists(st.booleans(), max_size=200), st.sets(st.integers(0, 199)), st.integers(1, 30))
@settings(deadline=None)
def test_blocks_from_all_over_come_first_and_those_known_to_fail_last(
    done: list[bool], failed: set[int], first: int
) -> None:
    left = np.flatnonzero(~np.array(done, bool))
    found = ordered(left, np.array(sorted(failed), np.int64), first).tolist()
    assert sorted(found) == left.tolist()
    known = [n for n in found if n in failed]
    assert found[len(found) - len(known) :] == known


def test_the_first_blocks_come_from_all_over() -> None:
    nothing = np.zeros(0, np.int64)
    assert ordered(np.arange(8), nothing, 3).tolist() == [0, 3, 6, 1, 2, 4, 5, 7]
    assert ordered(nothing, nothing, 3).tolist() == []


def test_numbers_that_follow_each_other_are_a_range() -> None:
    assert as_range(np.arange(3, 9)) == range(3, 9)
    assert as_range(np.array([3, 5])) == (3, 5)
    assert as_range(np.array([5, 4, 3, 8])) == (5, 4, 3, 8)
