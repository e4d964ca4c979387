"""Kills, and a store that fails one request in ten, stalls, breaks off and throttles: together."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from bigseg import files
from tests.chaos import model
from tests.chaos.world import NETWORK, Place, Reference, Tally, World
from tests.contracts.flaky import proxy
from tests.contracts.stores import Store

FAULTS = {"error": 0.03, "slow down": 0.03, "truncate": 0.02, "lose": 0.015, "stall": 0.005}
KILLS = 3


@pytest.mark.slow
def test_a_run_that_is_killed_in_a_store_that_fails_ends_as_if_nothing_had_been(
    world: World, reference: Reference, bucket: Store, tmp_path: Path
) -> None:
    output = f"{bucket.url}/flaky/out.zarr"
    image = model.make_series(f"{bucket.url}/flaky/image.zarr")
    assert bucket.endpoint is not None
    with proxy(bucket.endpoint) as between:
        place = Place(tmp_path / "place", world.zygote, random.Random(0), Tally())
        command = ("segment", image, output, *NETWORK, "--cluster", "serial")
        more = {"BIGSEG_ENDPOINT": between.address, "BIGSEG_TIMEOUT": "2"}
        between.stall, between.faults = 5.0, FAULTS
        between.begin()
        code = None
        while code != 0:
            if place.tally.kills.total() < KILLS:
                place.arm(reference.moments // 6)
            process = place.start(*command, **bucket.environment, **more)
            code = process.wait()
            assert code in (0, -9), process.said()
            place.disarm()
            place.read_log()
            place.tally.resumed += code != 0
        requests, suffered = between.requests.copy(), between.suffered.copy()
    assert place.tally.kills.total() == place.tally.resumed == KILLS
    assert place.tally.recorded_again == 0
    assert_bounded(requests, suffered)
    for path in files.tree(str(reference.folder / "out.zarr")):
        if path != "zarr.json":  # names the image, which lies elsewhere
            expected = files.get(f"{reference.folder}/out.zarr/{path}")
            assert files.get(f"{output}/{path}") == expected, path


def assert_bounded(requests: Counter[tuple[str, str]], suffered: Counter[str]) -> None:
    """About one request in ten failed, and hardly any was sent more than a few times for it."""
    total, failed = sum(requests.values()), sum(suffered.values())
    assert total / 20 < failed < total / 5
    assert set(suffered) >= {"error", "slow down", "truncate", "lose"}
    writes = [n for (method, path), n in requests.items() if method == "PUT" and "/c/" in path]
    assert max(writes) <= 2 + KILLS + 3  # once; again after each kill; and for what failed
