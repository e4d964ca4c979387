"""What is reckoned of a run is what the run does: requests, bytes and pixels, to the last one."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from zarr.storage import LocalStore

import bigseg
from bigseg.grid import Grid
from bigseg.jobs import segment as pipeline
from bigseg.plans.counts.traffic import Store, boxes_of, traffic, voxels
from bigseg.plans.forecast import loads_of
from bigseg.plans.segment import plan_segment
from bigseg.run.folder import open_run
from bigseg.run.ledger import Ledger
from bigseg.specs.segment import parse
from tests.worlds import make_image

SAMPLES = Path(bigseg.__file__).parent / "samples"
GRID = Grid((1, 1, 10, 10), (1, 1, 4, 10), (0, 0, 2, 0))


def store(chunk: int, unit: int) -> Store:
    return Store("image", (1, 1, 10, 10), (1, 1, chunk, 10), (1, 1, unit, 10), 2)


def test_boxes_reach_as_far_as_blocks_read() -> None:
    boxes = boxes_of(GRID, halo=GRID.halo)
    assert boxes[2] == [(0, 6), (2, 10), (6, 10)]
    assert voxels(boxes) == sum(np.prod([s.stop - s.start for s in b.read]) for b in GRID)


def test_every_object_that_a_box_touches_is_a_request_and_is_read_whole() -> None:
    found = traffic(store(5, 5), boxes_of(GRID, halo=GRID.halo))
    assert (found.requests, found.raw) == (2 + 2 + 1, (10 + 10 + 5) * 10 * 2)


def test_of_a_shard_the_pieces_are_asked_for_unless_all_are_wanted() -> None:
    whole = traffic(store(2, 10), boxes_of(Grid((1, 1, 10, 10), (1, 1, 10, 10), (0,) * 4)))
    part = traffic(store(2, 10), boxes_of(Grid((1, 1, 10, 10), (1, 1, 4, 10), (0,) * 4)))
    assert whole.requests == 1
    assert part.requests == 3 + (2 + 2 + 1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """Requests for stored objects, by step and array."""
    count: Counter[tuple[str, str]] = Counter()
    step, get = ["start"], LocalStore.get

    async def counted(self: Any, key: str, *args: Any, **options: Any) -> Any:
        place = f"{self.root}/{key}"
        for name, part in PARTS.items():
            if part in place and not key.endswith(("zarr.json", ".zarray", ".zattrs")):
                count[step[0], name] += 1
        return await get(self, key, *args, **options)

    def entered(run: Any, one: Any, *args: Any, **options: Any) -> Any:
        step[0] = one.name
        return run_step(run, one, *args, **options)

    from bigseg.run import execute

    run_step = execute.run_step
    monkeypatch.setattr(execute, "run_step", entered)
    monkeypatch.setattr(LocalStore, "get", counted)
    return count


PARTS = {"image": "/image.zarr/0", "predictions": "/predictions", "opinions": "/opinions"}


def test_requests_and_pixels_of_a_run_are_those_that_were_reckoned(
    tmp_path: Path, asked: Counter[tuple[str, str]]
) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 40, (24, 70, 60)).astype(np.uint8)
    data[8:16, 20:34, 20:34] = data[8:16, 44:60, 25:40] = 220
    image = make_image(f"{tmp_path}/image.zarr", data, "zyx").image.url
    settings = {"image": image, "model": "nuclei", "block": (16, 32, 32), "output": f"{tmp_path}/o"}
    pipeline.segment(**settings, cluster="serial", keep_scratch=True)
    url = f"{tmp_path}/o.bigseg"
    loads = {load.name: load for load in loads_of(plan_segment(parse(settings), url))}
    for step, stored in (("normalize", "image"), ("predict", "image"), ("label", "predictions")):
        assert sum(t.requests for t in loads[step].reads) == asked[step, stored] > 0
    reckoned = {t.store: t.requests for t in loads["merge"].reads}
    assert reckoned["opinions"] == asked["merge", "opinions"]
    assert reckoned["predictions"] >= asked["merge", "predictions"]  # none where nothing meets
    assert loads["write"].reads[0].requests == asked["write", "opinions"]
    run = open_run(url)
    done = Ledger.of(run, run.step("predict")).finished() or {}
    assert loads["predict"].work == done["network_pixels"]
