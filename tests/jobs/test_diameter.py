"""The diameter of an image's objects is estimated from samples of it, at any scale."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg.core.planes import positions, resample
from bigseg.errors import ImageError, WeightsError
from bigseg.io.volume import Volume
from bigseg.jobs.diameter import estimate_diameter
from bigseg.jobs.sampling import CANDIDATES, View, candidate_boxes, draw_samples
from bigseg.nets import weights
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.stages.normalize import Sight
from tests.worlds import make_image

SAMPLES = Path(__file__).resolve().parents[2] / "bigseg" / "samples"


def sample(name: str) -> np.ndarray:
    return tifffile.imread(SAMPLES / f"{name}.tif")


def median_diameter(truth: np.ndarray) -> float:
    """Of all sections of all objects."""
    planes = truth if truth.ndim == 3 else truth[None]
    areas = np.concatenate([np.bincount(plane.ravel())[1:] for plane in planes])
    return float(np.median(2 * np.sqrt(areas[areas > 0] / np.pi)))


def scaled(image: np.ndarray, factor: float) -> np.ndarray:
    """Resize y and x."""
    image = image.astype(np.float32)
    for axis in (-2, -1):
        length = image.shape[axis]
        at = positions(0, round(length * factor), 1 / factor)
        image = resample(image, image.ndim + axis, at)
    return image


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_estimate_follows_the_scale_of_a_plane(tmp_path: Path, factor: float) -> None:
    image, truth = (sample(name)[100:612, 300:812] for name in ("nuclei2d", "nuclei2d_truth"))
    expected = median_diameter(truth) * factor
    make_image(str(tmp_path / "image.zarr"), scaled(image, factor), "yx", block=(1, 256, 256))
    found = estimate_diameter(str(tmp_path / "image.zarr"), "nuclei")
    assert found.diameter == pytest.approx(expected, rel=0.2)
    assert found.objects > 40


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_the_estimate_follows_the_scale_of_a_volume(tmp_path: Path, factor: float) -> None:
    expected = median_diameter(sample("embryo3d_truth")) * factor
    image = scaled(sample("embryo3d"), factor)
    make_image(str(tmp_path / "image.zarr"), image, "zyx", (2.2, 1.0, 1.0), block=(51, 64, 64))
    found = estimate_diameter(str(tmp_path / "image.zarr"), "nuclei")
    assert found.diameter == pytest.approx(expected, rel=0.2)
    assert found.samples == 8


def test_a_size_model_makes_the_first_guess(tmp_path: Path) -> None:
    image = sample("nuclei2d")[:256, :256]
    make_image(str(tmp_path / "image.zarr"), image, "yx")
    size = style_width()
    values = {"A": np.zeros(size), "smean": np.zeros(size), "diam_mean": 18.0, "ymean": 0.1}
    np.save(tmp_path / "size.npy", values, allow_pickle=True)
    found = estimate_diameter(
        str(tmp_path / "image.zarr"), "nuclei", size_model=str(tmp_path / "size.npy")
    )
    plain = estimate_diameter(str(tmp_path / "image.zarr"), "nuclei")
    assert found.diameter == pytest.approx(plain.diameter, rel=0.1)


def test_a_size_model_of_another_network_is_refused(tmp_path: Path) -> None:
    make_image(str(tmp_path / "image.zarr"), sample("nuclei2d")[:64, :64], "yx")
    values = {"A": np.zeros(9), "smean": np.zeros(9), "diam_mean": 18.0, "ymean": 0.1}
    np.save(tmp_path / "size.npy", values, allow_pickle=True)
    with pytest.raises(WeightsError, match="made for styles of 9 numbers"):
        estimate_diameter(
            str(tmp_path / "image.zarr"), "nuclei", size_model=str(tmp_path / "size.npy")
        )


def style_width() -> int:
    from bigseg.nets import network

    module = network.load("nuclei", weights.digest("nuclei")).module
    assert isinstance(module, CellposeUNet)
    return module.widths[-1]


@pytest.mark.parametrize("fill", [0.0, np.nan])
def test_an_empty_image_is_a_sentence(tmp_path: Path, fill: float) -> None:
    make_image(str(tmp_path / "image.zarr"), np.full((64, 64), fill, np.float32), "yx")
    with pytest.raises(ImageError, match=r"nothing to measure; give .*--diameter"):
        estimate_diameter(str(tmp_path / "image.zarr"), "nuclei")


def test_samples_are_where_something_is_to_be_seen(tmp_path: Path) -> None:
    image = np.zeros((30, 64, 64), np.uint8)
    image[12:18] = np.random.default_rng(0).integers(0, 255, (6, 64, 64))
    make_image(str(tmp_path / "image.zarr"), image, "zyx")
    everything = View(percentiles=(0.0, 100.0))
    drawn = draw_samples(Volume.open(str(tmp_path / "image.zarr")), (0,), everything)
    assert len(drawn) == 8
    assert sum(each.any() for each in drawn) >= 3


def test_pixels_of_a_sample_are_as_high_as_wide(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 80), np.uint8)
    make_image(str(tmp_path / "image.zarr"), image, "yx", (2.0, 1.0))
    drawn = draw_samples(Volume.open(str(tmp_path / "image.zarr")), (0,))
    assert [each.shape for each in drawn] == [(1, 80, 80)]


def test_samples_are_shown_as_the_image_will_be(tmp_path: Path) -> None:
    planes = np.zeros((2, 40, 40), np.uint8)
    planes[0, :20], planes[1, :20] = 100, 10
    make_image(str(tmp_path / "image.zarr"), planes, "zyx")
    volume = Volume.open(str(tmp_path / "image.zarr"))

    def tops(view: View) -> list[float]:
        return sorted(float(each[0, :10].mean()) for each in draw_samples(volume, (0,), view))

    assert tops(View(percentiles=(0, 100))) == pytest.approx([0.1, 1])
    assert tops(View(percentiles=(0, 100), per="plane")) == pytest.approx([1, 1])
    assert tops(View(intensity=(0, 200))) == pytest.approx([0.05, 0.5])
    assert tops(View(intensity=(0, 200), invert=True)) == pytest.approx([0.5, 0.95])


def test_samples_have_windows_of_their_own(tmp_path: Path) -> None:
    plane = np.zeros((40, 80), np.uint8)
    plane[::2, :40], plane[::2, 40:] = 200, 20
    make_image(str(tmp_path / "image.zarr"), plane, "yx")
    volume = Volume.open(str(tmp_path / "image.zarr"))
    (together,) = draw_samples(volume, (0,), View(percentiles=(0, 100)))
    (apart,) = draw_samples(volume, (0,), View(percentiles=(0, 100), window=5))
    assert together[0, ::2, 60:].max() == pytest.approx(0.1)
    assert apart[0, ::2, 60:].min() == pytest.approx(1, abs=0.05)
    assert apart[0, ::2, :20].max() == pytest.approx(1, abs=0.05)


def test_samples_are_restored_at_the_scale_of_each_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nuclei are dark here; what restores them, makes them bright where they have its size."""
    image = sample("nuclei2d")[100:356, 300:556]
    make_image(str(tmp_path / "image.zarr"), image, "yx")
    make_image(str(tmp_path / "dark.zarr"), image.max() - image, "yx")
    plain = estimate_diameter(str(tmp_path / "image.zarr"), "nuclei")
    shown: list[tuple[int, ...]] = []

    def brighten(tiles: np.ndarray) -> np.ndarray:
        shown.append(tiles.shape[2:])
        return 1 - tiles

    known = replace(weights.describe("nuclei"), channels=1, outputs=1)
    monkeypatch.setattr("bigseg.stages.restore.describe_restorer", lambda _: known)
    monkeypatch.setattr("bigseg.stages.restore.load", lambda _: brighten)
    view = View(restore="brighten")
    found = estimate_diameter(str(tmp_path / "dark.zarr"), "nuclei", view=view)
    assert found.diameter == pytest.approx(plain.diameter, rel=0.1)
    assert len(set(shown)) >= 2


def test_samples_are_smoothed_and_mixed_as_the_image_will_be(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (2, 40, 40)).astype(np.uint8)
    make_image(str(tmp_path / "image.zarr"), image, "cyx")
    volume, plain = Volume.open(str(tmp_path / "image.zarr")), View(intensity=(0.0, 1.0))
    (mixed,) = draw_samples(volume, (0, 1), replace(plain, sight=Sight(mix=True)))
    np.testing.assert_allclose(mixed, image.mean(0, dtype=np.float32)[None])
    (smooth,) = draw_samples(volume, (0,), replace(plain, sight=Sight(smooth=2)))
    assert smooth.std() < image[0].std() / 2


def nothing(tiles: np.ndarray) -> np.ndarray:
    """A model that is sure of there being no object."""
    maps = np.zeros((len(tiles), 3, *tiles.shape[2:]), np.float32)
    maps[:, 2] = -100
    return maps


def test_models_are_averaged(tmp_path: Path) -> None:
    image, _ = (sample(name)[100:356, 300:556] for name in ("nuclei2d", "nuclei2d_truth"))
    make_image(str(tmp_path / "image.zarr"), image, "yx")
    url = str(tmp_path / "image.zarr")
    alone, twice = (estimate_diameter(url, name) for name in ("nuclei", "nuclei,nuclei"))
    assert alone == twice
    with pytest.raises(ImageError, match="No object"):
        estimate_diameter(url, "nuclei,tests.jobs.test_diameter:nothing")


def test_candidates_are_all_over_the_image_and_none_twice() -> None:
    boxes = candidate_boxes((50, 100, 5000, 4000))
    assert len(boxes) == CANDIDATES
    for axis, length in enumerate((50, 100, 5000, 4000)):
        middles = [(box[axis].start + box[axis].stop) / 2 / length for box in boxes]
        assert {int(3 * middle) for middle in middles} == {0, 1, 2}
        assert all(0 <= box[axis].start < box[axis].stop <= length for box in boxes)
    assert len(candidate_boxes((1, 1, 300, 200))) == 1
    assert len(candidate_boxes((1, 4, 300, 200))) == 4
