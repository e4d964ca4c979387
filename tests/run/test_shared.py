"""Workers that several runs share are started once, and end with the last."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bigseg.run.execute import ALONE
from bigseg.run.shared import Shared


class Counting:
    def __init__(self) -> None:
        self.released = 0
        self.inside = self.most = 0

    def of(self, step):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.inside -= 1
        return ALONE

    def release(self, left):
        self.released += 1


def test_one_asks_at_a_time_and_nobody_ends_what_others_use():
    groups = Counting()
    shared = Shared(groups)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.of, range(100)))
    shared.release([])
    assert all(group is ALONE for group in found)
    assert (groups.most, groups.released) == (1, 0)
