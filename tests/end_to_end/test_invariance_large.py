"""The same objects whatever the blocks, on a mosaic of 4096² pixels and on a whole volume.

`make test-slow` runs it; it reads the development data beside the checkout.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg.jobs import segment as pipeline
from tests.end_to_end.test_invariance import assert_same, labels_of, wait_for_blocks
from tests.worlds import make_image, read_labels

DATA = Path(__file__).parents[3] / "shared" / "data"
EDGE = 4096

pytestmark = [
    pytest.mark.slow,
    pytest.mark.shared,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        not DATA.is_dir(), reason="the development data are not beside the checkout"
    ),
]


def mosaic() -> np.ndarray:
    """Real test images side by side, each stretched so that one intensity range fits all."""
    canvas = np.zeros((EDGE, EDGE), np.uint8)
    images = [
        tifffile.imread(path) for path in sorted((DATA / "dsb2018_fluo" / "test").glob("*_img.tif"))
    ]
    small = cycle([image for image in images if image.shape == (256, 256)])
    for y in range(0, EDGE, 256):
        for x in range(0, EDGE, 256):
            image = next(small)
            low, high = np.percentile(image, (1, 99.8))
            stretched = np.clip((image - low) / max(high - low, 1) * 255, 0, 255)
            canvas[y : y + 256, x : x + 256] = stretched
    return canvas


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, np.ndarray]:
    """Mosaic with kept predictions, and its labels as one block."""
    folder = tmp_path_factory.mktemp("plane")
    url = make_image(f"{folder}/mosaic.zarr", mosaic(), "yx", block=(1, 1024, 1024)).image.url
    whole = labels_of(url, block=(EDGE, EDGE), cluster="local", workers=2, keep_scratch=True)
    return url, whole


@pytest.mark.parametrize(("block", "workers"), [(256, 2), (512, 1), (1000, 2)])
def test_a_mosaic_is_the_same_in_other_blocks(
    plane: tuple[str, np.ndarray], block: int, workers: int
) -> None:
    url, whole = plane
    found = labels_of(
        url,
        block=(block, block),
        cluster="local",
        workers=workers,
        keep_scratch=True,
        overwrite=True,
    )
    assert_same(whole, found)


def test_a_mosaic_is_the_same_from_scratch_after_being_killed(
    plane: tuple[str, np.ndarray],
) -> None:
    url, whole = plane
    code = (
        "from bigseg.jobs.segment import segment\n"
        "if __name__ == '__main__':\n"
        f"    segment({url!r}, model='nuclei', workers=2, block=(512, 512), name='killed')\n"
    )
    script = Path(f"{url}.py")
    script.write_text(code)
    driver = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    wait_for_blocks(f"{url}.killed.bigseg", "label", 20, driver, patience=900)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    pipeline.resume(f"{url}.killed.bigseg", workers=2)
    assert_same(whole, read_labels(f"{url}/labels/killed"))


def test_a_volume_is_the_same_in_other_blocks(tmp_path: Path) -> None:
    folder = DATA / "bbbc050_mouse_embryo_nuclei" / "test"
    data = tifffile.imread(sorted(folder.glob("*_img.tif"))[0])
    url = make_image(f"{tmp_path}/embryo.zarr", data, "zyx", scale=(1.75, 0.8, 0.8)).image.url
    whole = labels_of(url, block=data.shape, keep_scratch=True)
    for block in ((16, 32, 32), (20, 50, 70), (64, 64, 64)):
        assert_same(whole, labels_of(url, block=block, keep_scratch=True, overwrite=True))
    assert_same(whole, labels_of(url, block=(32, 64, 64), name="fresh", cluster="local", workers=2))


SETS = {
    "dsb2018_fluo/test": "yx",
    "dsb2018_histology/test": "yx",
    "usiigaci_phase_cells/test": "yx",
    "bbbc050_mouse_embryo_nuclei/test": "zyx",
    "ovule_nuclei_3d/train": "zyx",
    "plantseg_ovule_cells/test": "zyx",
    "fib25_neurites/test": "zyx",
    "gala_fibsem_neurites/train": "zyx",
    "vnc_sstem/test": "zyx",
}


@pytest.mark.parametrize("name", SETS)
def test_every_image_set_runs(name: str, tmp_path: Path) -> None:
    data = tifffile.imread(sorted((DATA / name).glob("*_img.tif"))[0])
    data = data[..., 0] if data.ndim > len(SETS[name]) else data
    data = data[tuple(slice(0, 96) for _ in data.shape)] if data.ndim == 3 else data
    url = make_image(f"{tmp_path}/image.zarr", data, SETS[name]).image.url
    labels = labels_of(url, block=(64,) * data.ndim)
    assert labels.shape[-data.ndim :] == data.shape
