"""Whatever is killed with -9, at whatever moment: the same command again, and nothing is lost.

The short version of `make chaos`, which kills hundreds of times.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.chaos.chaos import WAYS, Chaos, table
from tests.chaos.world import World
from tests.chaos.zygote import Zygote

SEED = 5
KILLS = {
    "driver, serial": 5, "driver, threads": 3, "job array": 4, "cluster": 4, "merge": 2, "track": 3
}  # fmt: skip


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    folder = tmp_path_factory.mktemp("chaos")
    with Zygote(folder) as zygote:
        yield Chaos(World.make(folder, zygote), random.Random(SEED))


@pytest.mark.parametrize("way", WAYS)
def test_kills_cost_what_was_being_computed(chaos: Chaos, way: str) -> None:
    WAYS[way][1](chaos, KILLS[way])
    tally = chaos.tallies[way]
    said = f"seed {SEED}\n{table({way: tally})}"
    assert tally.kills.total() >= KILLS[way], said
    assert tally.recorded_again == 0, said
    assert tally.compared > 0, said
    assert tally.runs > 0, said
