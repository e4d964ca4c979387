"""Local intensity ranges and filters do the same to every block as to the whole image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg.core.filters import Filters
from bigseg.core.local_range import range_at, rescale_locally, smooth_ranges, window_ranges
from bigseg.errors import ImageError
from bigseg.io.volume import Volume
from bigseg.plans.segment import Step, plan_segment
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps
from bigseg.specs.segment import parse
from bigseg.stages import predict, windows
from bigseg.stages.normalize import Sight, look
from tests.worlds import make_image

WHOLE = (slice(0, 1), slice(0, 1), slice(0, 150), slice(0, 170))
PART = (slice(0, 1), slice(0, 1), slice(33, 97), slice(61, 170))


@pytest.fixture
def image(tmp_path: Path) -> Volume:
    y, x = np.mgrid[:150, :170]
    noise = np.random.default_rng(0).integers(0, 50, (150, 170))
    plane = ((np.sin(y / 5) * np.sin(x / 5) + 1) * (20 + x) + noise).astype(np.uint16)
    return make_image(f"{tmp_path}/image.zarr", plane, "yx")


def steps_of(image: Volume, run: str, **settings: Any) -> list[Step]:
    settings = {"image": image.image.url, "model": "nuclei", "output": f"{run}.zarr"} | settings
    return plan_segment(parse(settings), run)


def started(image: Volume, run: str, **settings: Any) -> predict.Spec:
    """Do the steps before `predict`, and say how the network is shown the image."""
    planned = steps_of(image, run, **settings)
    place = [step.name for step in planned].index("predict")
    first = make_steps([(s.name, s.stage, s.spec) for s in planned[:place]])
    made = Run(run, "0", {}, first)
    made.save()
    run_steps(made, ALONE)
    spec = planned[place].spec
    assert isinstance(spec, predict.Spec)
    return spec


@pytest.mark.parametrize(
    "settings",
    [
        {"window": 40},
        {"window": 40, "smooth": 1.5},
        {"smooth": 2.0},
        {"sharpen": 6.0},
        {"smooth": 1.0, "sharpen": 5.0, "invert": True},
        {"normalize_per": "plane"},
    ],
)
def test_a_part_is_shown_as_the_whole_is(
    image: Volume, tmp_path: Path, settings: dict[str, Any]
) -> None:
    spec = started(image, f"{tmp_path}/run", **settings)
    whole, part = predict.read_image(spec, WHOLE), predict.read_image(spec, PART)
    assert whole is not None
    np.testing.assert_allclose(part, whole[:, :, 33:97, 61:], atol=1e-5)


def test_windows_do_to_the_image_what_they_do_in_memory(image: Volume, tmp_path: Path) -> None:
    spec = started(image, f"{tmp_path}/run", window=40)
    data = image.read(WHOLE, (0,))[0, 0]
    smooth = smooth_ranges(window_ranges(data, (1, 40, 40), (1, 99)))
    expected = rescale_locally(data, *range_at(smooth, data.shape, (1, 40, 40), WHOLE[1:]))
    np.testing.assert_allclose(predict.read_image(spec, WHOLE)[0], expected, atol=1e-5)


def test_a_gradient_of_brightness_goes_away(image: Volume, tmp_path: Path) -> None:
    local = predict.read_image(started(image, f"{tmp_path}/one", window=40), WHOLE)[0, 0]
    all_alike = predict.read_image(started(image, f"{tmp_path}/all"), WHOLE)[0, 0]
    left, right = (shown[:, :40].std() / shown[:, -40:].std() for shown in (all_alike, local))
    assert left < 0.4
    assert right > 1.5 * left


def test_filters_see_beyond_the_box(image: Volume) -> None:
    sight = Sight(smooth=2.0, sharpen=5.0)
    expected = Filters(2.0, 5.0).apply(image.read(WHOLE, (0,))[0, 0])[:, 33:97, 61:]
    np.testing.assert_allclose(look(image, PART, (0,), sight)[0], expected, rtol=1e-5, atol=1e-4)


def test_nothing_to_see_is_said(tmp_path: Path) -> None:
    flat = make_image(f"{tmp_path}/flat.zarr", np.full((60, 60), 7, np.uint8), "yx")
    with pytest.raises(ImageError, match=r"No window of .*flat.zarr has an intensity range"):
        started(flat, f"{tmp_path}/run", window=20)


def test_windows_are_stored_once_for_all_blocks(image: Volume, tmp_path: Path) -> None:
    started(image, f"{tmp_path}/run", window=40)
    ((low, high),) = windows.usual_ranges(f"{tmp_path}/run")[0]
    assert 0 <= low < high < 600
    assert windows.usual_ranges(f"{tmp_path}/none") == []
