"""Networks are shown the intensities that were asked for, the same in every block."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bigseg
from bigseg.errors import ImageError
from bigseg.io.volume import Volume
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.plans.segment import plan_segment
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps
from bigseg.specs.segment import parse
from bigseg.stages import predict
from tests.worlds import make_image

Shown = Callable[..., np.ndarray]


def all_of(spec: predict.Spec, t: int = 0) -> tuple[slice, ...]:
    return (slice(t, t + 1), *(slice(0, n) for n in spec.shape[1:]))


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    """What a model is shown of an image: (c, z, y, x)."""

    def show(data: np.ndarray, axes: str, t: int = 0, **settings: Any) -> np.ndarray:
        image = make_image(f"{tmp_path}/image.zarr", data, axes, block=(8, 16, 16)).image.url
        url = f"{tmp_path}/run.bigseg"
        wanted = {"image": image, "model": "tests.models:flows", **settings}
        planned = plan_segment(parse(wanted), url)
        first = [step for step in planned if step.name in ("normalize", "refine")]
        steps = make_steps([(step.name, step.stage, step.spec) for step in first])
        run = Run(url, "test", {}, steps)
        run.save()
        run_steps(run, ALONE)
        spec = next(step.spec for step in planned if step.name == "predict")
        assert isinstance(spec, predict.Spec)
        whole = predict.read_image(spec, all_of(spec, t))
        assert whole is not None
        box = (slice(t, t + 1), *(slice(n // 3, n - n // 4) for n in spec.shape[1:]))
        part = predict.read_image(spec, box)
        np.testing.assert_allclose(part, whole[(slice(None), *box[1:])], atol=1e-5)
        return whole

    return show


def noise(*shape: int, dtype: Any = np.uint16, most: int = 900) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, shape).astype(dtype)


def normalised(data: np.ndarray, low: float = 1, high: float = 99) -> np.ndarray:
    low, high = np.percentile(data, (low, high))
    return (data - low) / (high - low)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.uint32])
def test_percentiles_become_0_and_1(shown: Shown, dtype: Any) -> None:
    data = noise(20, 33, 40, dtype=dtype, most=200)
    np.testing.assert_allclose(shown(data, "zyx")[0], normalised(data), atol=1e-5)


def test_other_percentiles_do_so(shown: Shown) -> None:
    data = noise(33, 40)
    found = shown(data, "yx", percentiles=(10, 70))
    np.testing.assert_allclose(found[0, 0], normalised(data, 10, 70), atol=1e-5)


def test_each_plane_has_a_range_of_its_own(shown: Shown) -> None:
    data = noise(6, 33, 40) * np.arange(1, 7, dtype=np.uint16)[:, None, None]
    found = shown(data, "zyx", normalize_per="plane", dims="2d")[0]
    for plane, given in zip(found, data, strict=True):
        np.testing.assert_allclose(plane, normalised(given), atol=1e-5)


@pytest.mark.parametrize("t", [0, 2])
def test_each_plane_of_each_frame_has_one(shown: Shown, t: int) -> None:
    factor = np.arange(1, 13).reshape(3, 4, 1, 1)
    data = (noise(3, 4, 33, 40) * factor).astype(np.float32)
    found = shown(data, "tzyx", t, normalize_per="plane")[0]
    for plane, given in zip(found, data[t], strict=True):
        np.testing.assert_allclose(plane, normalised(given), atol=1e-5)


@pytest.mark.parametrize("t", [0, 2])
def test_each_frame_has_one(shown: Shown, t: int) -> None:
    data = noise(3, 33, 40) * np.arange(1, 4, dtype=np.uint16)[:, None, None]
    for per in ("frame", "plane"):  # a frame of a movie is a plane
        found = shown(data, "tyx", t, normalize_per=per)[0, 0]
        np.testing.assert_allclose(found, normalised(data[t]), atol=1e-5)


def test_a_plane_of_nothing_is_nothing_and_spoils_no_other(shown: Shown) -> None:
    data = noise(3, 33, 40)
    data[1] = 7
    found = shown(data, "zyx", normalize_per="plane")[0]
    assert not found[1].any()
    np.testing.assert_allclose(found[2], normalised(data[2]), atol=1e-5)


@pytest.mark.parametrize("per", ["image", "plane"])
def test_grey_is_the_mean_and_so_are_its_percentiles(shown: Shown, per: str) -> None:
    data = noise(3, 5, 33, 40, dtype=np.uint8, most=256)
    data[1] //= 7
    mean = data.mean(0)
    found = shown(data, "czyx", channels=("grey",), normalize_per=per)
    assert found.shape == (1, 5, 33, 40)
    planes = mean if per == "plane" else mean[None]
    expected = np.stack([normalised(plane) for plane in planes]).reshape(mean.shape)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_each_channel_has_a_range_of_its_own(shown: Shown) -> None:
    data = noise(3, 33, 40)
    data[2] *= 50
    found = shown(data, "cyx", channels=(2, 0))
    for number, channel in enumerate((2, 0)):
        np.testing.assert_allclose(found[number, 0], normalised(data[channel]), atol=1e-5)


def test_given_intensities_need_no_counting(shown: Shown, tmp_path: Path) -> None:
    data = noise(33, 40)
    found = shown(data, "yx", intensity=(100, 300))
    np.testing.assert_allclose(found[0, 0], (data - 100.0) / 200, atol=1e-5)
    assert not (tmp_path / "run.bigseg" / "tables" / "intensity.json").exists()


def test_dark_objects_become_bright(shown: Shown) -> None:
    data = noise(33, 40)
    found = shown(data, "yx", invert=True)
    np.testing.assert_allclose(found[0, 0], 1 - normalised(data), atol=1e-5)


@pytest.mark.parametrize("channels", [None, ("grey",)])
def test_an_image_without_numbers_is_refused(shown: Shown, channels: Any) -> None:
    data = np.full((2, 33, 40), np.nan, np.float32)
    name = "The mean of all channels" if channels else "Channel 0"
    with pytest.raises(ImageError, match=f"{name} of .* has no finite value"):
        shown(data, "cyx", channels=channels)


@pytest.mark.parametrize("per", ["image", "plane"])
@pytest.mark.parametrize("diameter", [30, 22])
def test_restored_on_its_way_an_image_is_what_restoring_it_first_makes(
    shown: Shown, tmp_path: Path, per: str, diameter: float
) -> None:
    torch.manual_seed(0)
    model = str(tmp_path / "net.pt")
    torch.save(CellposeUNet((1, 4, 8, 8, 16), 1).state_dict(), model)
    data = noise(2, 60, 80)
    settings = {"normalize_per": per, "diameter": diameter}
    plain = shown(data, "zyx", **settings)
    found = shown(data, "zyx", **settings, restore=model)
    done = bigseg.restore(
        f"{tmp_path}/image.zarr",
        f"{tmp_path}/restored.zarr",
        model=model,
        values="network",
        cluster="serial",
        **settings,
    )
    restored = Volume.open(done.image).read(tuple(slice(0, n) for n in (1, 2, 60, 80)), (0,))[0]
    np.testing.assert_allclose(found, restored, atol=1e-4)
    assert abs(found - plain).max() > 0.1
