"""Stores that fail now and then cost time and nothing else; how many requests a run takes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bigseg import files, retries
from bigseg.errors import BigsegError, BlocksFailed
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs import segment as pipeline
from tests.contracts.flaky import Proxy, proxy
from tests.contracts.stores import CANARY, Store, store
from tests.contracts.test_stores import BOX, assert_same, made, make_image


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store("s3", tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def flaky(served: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    assert served.endpoint is not None
    with proxy(served.endpoint) as between:
        monkeypatch.setenv("BIGSEG_ENDPOINT", between.address)
        monkeypatch.setattr(retries, "FIRST_WAIT", 0.02)
        yield between


def segment(image: str) -> pipeline.Result:
    return pipeline.segment(image, model="nuclei", block=(64, 64), cluster="serial")


def test_a_store_that_fails_costs_time_and_nothing_else(
    served: Store, flaky: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = made(segment(make_image(str(tmp_path / "image.zarr"))).labels)
    image = make_image(f"{served.url}/flaky/image.zarr")
    monkeypatch.setenv("BIGSEG_TIMEOUT", "1")
    flaky.stall = 3
    flaky.faults = {
        "error": 0.03, "slow down": 0.03, "truncate": 0.02, "lose": 0.02, "stall": 0.005
    }  # fmt: skip
    flaky.begin()
    before = retries.repeated()
    result = segment(image)
    sent, suffered = sum(flaky.requests.values()), flaky.suffered.copy()
    repeated = retries.repeated() - before
    flaky.faults = {}
    assert_same(made(result.labels), expected)
    assert sum(suffered.values()) >= sent / 20
    assert set(suffered) >= {"error", "slow down", "truncate", "lose"}
    assert 0 < repeated <= sum(suffered.values())


def test_a_store_that_throttles_is_waited_for(served: Store, flaky: Proxy) -> None:
    flaky.rate = 20
    urls = [f"{served.url}/throttled/{i}" for i in range(60)]
    for url in urls:
        files.put(url, b"1")
    assert flaky.suffered["throttle"] > 0
    flaky.rate = None
    assert len(files.names(f"{served.url}/throttled")) == 60


def test_a_lost_answer_does_not_lose_a_claim(served: Store, flaky: Proxy) -> None:
    for i in range(20):
        url = f"{served.url}/claims/{i}"
        flaky.faults = {"lose": 0.3}
        assert files.create(url, b"mine")
        assert files.replace(url, b"mine still", b"mine")
        assert not files.create(url, b"another's")
    assert flaky.suffered["lose"] > 5


def test_a_missing_object_is_asked_for_once(served: Store, flaky: Proxy) -> None:
    with pytest.raises(FileNotFoundError):
        files.get(f"{served.url}/none")
    assert sum(flaky.requests.values()) == 1


def test_retries_are_bounded_in_number_and_time(
    served: Store, flaky: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky.faults = {"slow down": 1.0}
    monkeypatch.setenv("BIGSEG_RETRIES", "3")
    with pytest.raises(files.Unreachable, match=r"failed 4 times in 0 s, .*HTTP 503 SlowDown; con"):
        files.get(f"{served.url}/a")
    assert sum(flaky.requests.values()) == 4
    monkeypatch.setenv("BIGSEG_RETRIES", "100")
    monkeypatch.setenv("BIGSEG_PATIENCE", "0.5")
    started = time.monotonic()
    with pytest.raises(files.Unreachable, match="continue when the store is well again"):
        files.names(f"{served.url}/a")
    assert time.monotonic() - started < 2


def test_a_store_that_stays_broken_ends_a_run_that_can_be_continued(
    served: Store, flaky: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = made(segment(make_image(str(tmp_path / "image.zarr"))).labels)
    image = make_image(f"{served.url}/broken/image.zarr")
    monkeypatch.setenv("BIGSEG_RETRIES", "1")
    labelled = 0

    def listen(event: object) -> None:
        nonlocal labelled
        labelled += getattr(event, "step", "") == "label"
        if labelled == 2:
            flaky.faults = {"error": 1.0}

    with pytest.raises(BigsegError, match=r"failed 2 times in .*HTTP 500"):
        pipeline.segment(image, model="nuclei", block=(64, 64), cluster="serial", listener=listen)
    run = f"{image}.cells.bigseg"
    told = subprocess.run(
        [sys.executable, "-c", "from bigseg.cli import main; main()", "run", run],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 1
    assert told.stderr.startswith(f"Error: {run}")
    assert "continue when the store is well again" in told.stderr
    assert "Traceback" not in told.stderr
    flaky.faults = {}
    assert_same(made(pipeline.resume(run, cluster="serial").labels), expected)


def test_requests_of_a_run(served: Store, flaky: Proxy) -> None:
    image = f"{served.url}/counted/image.zarr"
    create_image(plan_image(image, ("y", "x"), (512, 512), "u1", (1.0, 1.0), (1, 256, 256)))
    noise = np.random.default_rng(0).integers(0, 50, (1, 1, 512, 512)).astype("u1")
    noise[..., 20::64, 20::64] = 255
    Volume.open(image).write((slice(0, 1), slice(0, 1), slice(0, 512), slice(0, 512)), noise)
    flaky.begin()
    result = pipeline.segment(image, model="nuclei", block=(256, 256), cluster="serial")
    labels = result.labels.removeprefix("s3:/")
    # Thirteen steps of at most four blocks; the heartbeat follows the clock.
    assert sum(n for (_, path), n in flaky.requests.items() if "driver.json" not in path) <= 450
    metadata = [n for (_, path), n in flaky.requests.items() if path.endswith("/zarr.json")]
    assert max(metadata) <= 13  # once for each step, not for each block
    twice = {
        path: n for (method, path), n in flaky.requests.items()
        if method == "PUT" and n > 1 and not path.endswith((".part", "driver.json"))
    }  # fmt: skip
    assert not twice
    chunks = [path for (method, path) in flaky.requests if method == "HEAD" and "/c/" in path]
    assert not chunks
    whole = [
        n for (method, path), n in flaky.requests.items()
        if method == "GET" and path.startswith(labels) and "/c/" in path
    ]  # fmt: skip
    source = [
        n for (method, path), n in flaky.requests.items()
        if method == "GET" and path.startswith("/microscopy/lab/counted/image.zarr/0/c/")
    ]  # fmt: skip
    assert len(source) == 4
    assert max(source) <= 3  # histograms, predictions and the report's picture read the image
    assert len(whole) > 0
    assert max(whole) <= 2  # the pyramid and the seams read level 0


def test_secrets_are_written_nowhere(
    served: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    image = make_image(f"{served.url}/secret/image.zarr")
    result = segment(image)
    secret = served.environment["AWS_SECRET_ACCESS_KEY"]
    stored = [files.get(f"{result.run}/{path}") for path in files.tree(result.run)]
    assert len(stored) > 10
    assert not [data for data in stored if secret.encode() in data]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    local = make_image(str(tmp_path / "image.zarr"))
    volume = Volume.open(local)
    assert volume.read(BOX).any()
    with pytest.raises((BigsegError, BlocksFailed)) as caught:
        pipeline.segment(local, model=f"{served.url}/weights", block=(64, 64), cluster="serial")
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err + str(caught.value)
