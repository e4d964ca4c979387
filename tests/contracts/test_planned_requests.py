"""Requests that a plan speaks of are those that a store is sent."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from skimage.io import imread

import bigseg
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs import segment as pipeline
from bigseg.jobs.plan import plan_segmentation
from bigseg.specs.segment import parse
from tests.contracts.flaky import Proxy, proxy
from tests.contracts.stores import Store, store

BESIDES = ("list-type", "zarr.json", "/.z", "/ledger/", "driver.json", "%2F", "run.json", "?delete")
"""Lists, metadata and records: a few for each step, and at most as many as blocks."""
SAMPLE = Path(bigseg.__file__).parent / "samples" / "nuclei2d.tif"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store("s3", tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def counting(served: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    assert served.endpoint is not None
    with proxy(served.endpoint) as between:
        monkeypatch.setenv("BIGSEG_ENDPOINT", between.address)
        yield between


def test_a_plan_tells_how_many_requests_a_bucket_is_sent(served: Store, counting: Proxy) -> None:
    image = f"{served.url}/planned/image.zarr"
    data = imread(SAMPLE)[:400, :400]
    create_image(plan_image(image, ("y", "x"), data.shape, data.dtype, (1.0, 1.0), (1, 256, 256)))
    whole = tuple(slice(0, n) for n in (1, 1, *data.shape))
    Volume.open(image).write(whole, data[None, None])
    settings = {"image": image, "model": "nuclei", "block": (128, 128), "keep_scratch": True}
    plan = plan_segmentation(parse(settings), cluster="serial")
    before: dict[tuple[str, str], int] = {}

    def listen(event: object) -> None:
        if getattr(event, "step", "") == "seams" and not before:
            before.update(counting.requests)

    counting.begin()
    pipeline.segment(**settings, cluster="serial", listener=listen)
    sent = Counter[str]()
    for (method, path), count in before.items():
        if not any(part in path for part in BESIDES):
            sent[method] += count
    steps = [step for step in plan.steps if step.step not in ("seams", "report")]
    planned = {
        "GET": sum(step.gets for step in steps),
        "PUT": sum(step.puts - step.blocks for step in steps),
    }
    for method, count in planned.items():
        assert count == pytest.approx(sent[method], rel=0.1), method
    records = sum(n for (m, path), n in before.items() if m == "PUT" and "/ledger/" in path)
    assert records <= sum(step.blocks + 1 for step in steps)
