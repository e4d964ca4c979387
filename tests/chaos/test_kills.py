"""Whatever is killed with -9, at whatever moment: the same command again, and nothing is lost.

The short version of `make chaos`, which kills hundreds of times.
"""

from __future__ import annotations

import pytest

from tests.chaos.chaos import WAYS, Chaos, table
from tests.chaos.conftest import SEED

KILLS = {
    "driver, serial": 4, "driver, threads": 2, "job array": 3, "cluster": 4, "local workers": 2,
    "merge": 1, "track": 3,
}  # fmt: skip


SLOW = {"local workers"}
"""Each of its kills costs the start of worker processes."""


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.slow if way in SLOW else ()) for way in WAYS]
)
def test_kills_cost_what_was_being_computed(chaos: Chaos, way: str) -> None:
    WAYS[way][1](chaos, KILLS[way])
    tally = chaos.tallies[way]
    said = f"seed {SEED}\n{table({way: tally})}"
    assert tally.kills.total() >= KILLS[way], said
    assert tally.recorded_again == 0, said
    assert tally.compared > 0, said
    assert tally.runs > 0, said
