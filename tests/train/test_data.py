"""Training crops: what the network sees and what it should answer."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg.errors import NotFound
from bigseg.train.data import Source, crops, load, median_diameter


def disc(shape: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.indices(shape)
    return ((y - shape[0] // 2) ** 2 + (x - shape[1] // 2) ** 2 <= radius**2).astype(np.uint16)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    for n in range(3):
        mask = disc((80, 100), 12)
        tifffile.imwrite(tmp_path / "set" / f"{n}_img.tif", mask * 200 + 10)
        tifffile.imwrite(tmp_path / "set" / f"{n}_mask.tif", mask)
    return tmp_path


def test_the_diameter_is_that_of_a_disc_of_equal_area() -> None:
    assert median_diameter(disc((64, 64), 12)) == pytest.approx(24, abs=0.5)


def test_a_folder_without_pairs_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing holds no pair NAME_img\.tif"):
        load(tmp_path, Source("nothing", 1.0))


def test_crops_repeat_with_the_seed_and_targets_fit_the_image(root: Path) -> None:
    samples = [load(root, Source("set", 1.0))]
    first, again = (list(islice(crops(samples, [1.0], 64, seed=3), 4)) for _ in range(2))
    for (image, target), (image_again, _) in zip(first, again, strict=True):
        np.testing.assert_array_equal(image, image_again)
        assert image.shape == (2, 64, 64)
        assert not image[1].any()
        length = np.hypot(target[0], target[1])
        assert (length[target[2] == 0] == 0).all()
        assert length.max() <= 1.0001


def test_planes_of_volumes_are_cut_along_all_axes(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    volume = np.zeros((10, 40, 40), np.uint16)
    volume[3:7, 10:30, 10:30] = 1
    tifffile.imwrite(tmp_path / "set" / "a_img.tif", volume * 100, photometric="minisblack")
    tifffile.imwrite(tmp_path / "set" / "a_mask.tif", volume, photometric="minisblack")
    samples = [load(tmp_path, Source("set", 1.0, anisotropy=2.0))]
    views = list(islice(crops(samples, [1.0], 64, seed=0), 6))
    assert all(target[2].any() for _, target in views)
