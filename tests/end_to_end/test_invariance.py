"""The same objects whatever the blocks, the workers and the interruptions."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imread

import bigseg
from bigseg.jobs import segment as pipeline
from bigseg.run.folder import Run, Step, is_run, open_run
from bigseg.run.ledger import Ledger
from tests.worlds import agreement, make_image, read_labels

SAMPLES = Path(bigseg.__file__).parent / "samples"
SHIFTS = [(64, 64), (100, 75), (37, 200)]


def plane(folder: Path) -> str:
    data = imread(SAMPLES / "nuclei2d.tif")[:200, :240]
    return make_image(f"{folder}/plane.zarr", data, "yx", block=(1, 128, 128)).image.url


def volume(folder: Path) -> str:
    data = imread(SAMPLES / "embryo3d.tif")[16:28, 44:92, 34:82]
    return make_image(f"{folder}/volume.zarr", data, "zyx").image.url


def labels_of(image: str, **settings: Any) -> np.ndarray:
    usual = {"model": "nuclei", "cluster": "serial"}
    return read_labels(pipeline.segment(image, **{**usual, **settings}).labels)


def assert_same(a: np.ndarray, b: np.ndarray) -> None:
    counts = [len(np.unique(labels)) - 1 for labels in (a, b)]
    assert agreement(a, b, 0.9) >= 0.995
    assert abs(counts[0] - counts[1]) <= 0.002 * counts[0]
    assert counts[0] > 0


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """Plane whose predictions are kept, and its labels in one block."""
    image = plane(tmp_path_factory.mktemp("predicted"))
    return image, labels_of(image, block=(240, 240), keep_scratch=True)


@pytest.mark.parametrize("block", SHIFTS)
def test_a_plane_is_the_same_in_other_blocks(
    predicted: tuple[str, np.ndarray], block: tuple[int, int]
) -> None:
    image, whole = predicted
    found = labels_of(image, block=block, keep_scratch=True, overwrite=True)
    assert_same(whole, found)


def test_a_plane_is_the_same_from_scratch_by_threads(
    predicted: tuple[str, np.ndarray],
) -> None:
    image, whole = predicted
    found = labels_of(image, block=(90, 70), name="fresh", cluster="threads", workers=2)
    assert_same(whole, found)


def test_a_plane_is_the_same_by_dask_workers(predicted: tuple[str, np.ndarray]) -> None:
    image, whole = predicted
    found = labels_of(image, block=(100, 100), name="dask", cluster="local", workers=2)
    assert_same(whole, found)


def test_a_volume_is_the_same_in_other_blocks(tmp_path: Path) -> None:
    image = volume(tmp_path)
    whole = labels_of(image, block=(48, 48, 48), keep_scratch=True)
    found = labels_of(image, block=(16, 20, 32), keep_scratch=True, overwrite=True)
    assert_same(whole, found)


def test_a_killed_run_continues_to_the_same_labels(predicted: tuple[str, np.ndarray]) -> None:
    image, whole = predicted
    code = (
        "from bigseg.jobs.segment import segment; "
        f"segment({image!r}, model='nuclei', cluster='serial', block=(40, 40), name='killed')"
    )
    driver = subprocess.Popen([sys.executable, "-c", code])
    url = f"{image}.killed.bigseg"
    done = wait_for_blocks(url, "label", 5, driver)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = stamps(url, done)
    pipeline.resume(url, cluster="serial")
    assert stamps(url, done) == before, "finished blocks are not computed again"
    assert_same(whole, read_labels(f"{image}/labels/killed"))


def wait_for_blocks(
    url: str, name: str, count: int, driver: subprocess.Popen[bytes], patience: float = 120
) -> dict[str, set[int]]:
    """Blocks that are done, by step, once a step has `count` of them."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        assert driver.poll() is None, "the run ended before it could be killed"
        if is_run(url):
            run = open_run(url)
            done = {step.name: done_of(run, step) for step in run.steps}
            if len(done[name]) >= count:
                return done
        time.sleep(0.02)
    raise AssertionError(f"step {name} of {url} did not get far enough")


def done_of(run: Run, step: Step) -> set[int]:
    return set(np.flatnonzero(Ledger.of(run, step).tally(len(step.spec.grid)).done).tolist())


def stamps(url: str, done: dict[str, set[int]]) -> dict[tuple[str, int], float]:
    """When blocks were begun that are done now."""
    run = open_run(url)
    found = {}
    for step in run.steps:
        ledger = Ledger.of(run, step)
        for folder, names in ledger.listing().items():
            for number, record in ledger.read(folder, names).items():
                found[step.name, number] = record["started"]
    return {(name, n): found[name, n] for name, numbers in done.items() for n in numbers}
