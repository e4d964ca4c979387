"""A run is laid out from what is asked, and what does not fit is refused before it begins."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bigseg.errors import NotFound, SpecError, WeightsError
from bigseg.nets.cellpose_sam import CellposeSam, Sizes
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.plans.segment import Step, plan_segment
from bigseg.specs.segment import parse
from bigseg.stages import label, normalize, objects, predict
from tests.worlds import make_image

TINY = Sizes(patch=8, tokens=8, width=16, hidden=16, head=8, neck=8, tables=(15, 15))


@pytest.fixture
def cyx(tmp_path: Path) -> str:
    data = np.zeros((3, 90, 100), np.uint16)
    return make_image(f"{tmp_path}/cyx.zarr", data, "cyx").image.url


@pytest.fixture
def zyx(tmp_path: Path) -> str:
    return make_image(f"{tmp_path}/zyx.zarr", np.zeros((9, 40, 50), np.float32), "zyx").image.url


def unet(folder: Path, channels: int = 2, outputs: int = 3) -> str:
    url = folder / f"{channels}-{outputs}.pt"
    torch.save(CellposeUNet((channels, 4, 8), outputs).state_dict(), url)
    return str(url)


def plan(image: str, **settings: Any) -> dict[str, Step]:
    steps = plan_segment(parse({"image": image, "model": "nuclei", **settings}), "run.bigseg")
    return {step.name: step for step in steps}


def shown(image: str, **settings: Any) -> predict.Spec:
    spec = plan(image, **settings)["predict"].spec
    assert isinstance(spec, predict.Spec)
    return spec


def labelled(image: str, **settings: Any) -> label.Spec:
    spec = plan(image, **settings)["label"].spec
    assert isinstance(spec, label.Spec)
    return spec


def names(image: str, **settings: Any) -> list[str]:
    return [name for name in plan(image, **settings) if not name.startswith("pyramid")]


def test_steps_follow_from_the_image_and_the_model(cyx: str, zyx: str) -> None:
    last = ["label", "merge", "components", "solve", "objects"]
    last += ["write", "publish", "seams", "report"]
    assert names(cyx) == ["normalize", "predict", *last]
    assert names(cyx, channels=("grey",)) == ["normalize", "refine", "predict", *last]
    assert names(zyx) == ["normalize", "refine", "predict", *last]
    assert names(cyx, intensity=(0, 1)) == ["predict", *last]
    assert names(cyx, model="tests.models:components") == ["normalize", *last]
    assert names(cyx, model="tests.models:components", intensity=(0, 1)) == last
    assert names(cyx, window=32)[0] == "windows"


def test_a_range_of_each_plane_is_counted_plane_by_plane(zyx: str) -> None:
    spec = plan(zyx, normalize_per="plane")["normalize"].spec
    assert isinstance(spec, normalize.Spec)
    assert spec.block[1] == 1


def test_classes_and_thresholds_are_those_of_the_model(cyx: str, tmp_path: Path) -> None:
    assert labelled(cyx).classes == 0
    assert labelled(cyx, model=unet(tmp_path, outputs=6)).classes == 3
    assert shown(cyx, model=unet(tmp_path, outputs=6)).maps == 4
    two = labelled(cyx, model=unet(tmp_path, outputs=2))
    assert (two.representation, two.cellprob_threshold, two.judge) == ("borders", 2.0, False)
    assert labelled(cyx, model="tests.models:hover", dims="2d").cellprob_threshold == 0.5
    assert labelled(cyx, cellprob_threshold=0.0).cellprob_threshold == 0.0
    chosen = labelled(cyx, model=unet(tmp_path), representation="hover", cellprob_threshold=0.0)
    assert (chosen.representation, chosen.cellprob_threshold) == ("hover", 0.0)


def test_cellpose_sam_is_shown_all_channels_in_tiles_of_its_size(cyx: str, tmp_path: Path) -> None:
    torch.save(CellposeSam(TINY).state_dict(), tmp_path / "sam.pt")
    spec = shown(cyx, model=str(tmp_path / "sam.pt"))
    assert (spec.channels, spec.tile, spec.fixed) == ((0, 1, 2), 64, True)
    assert shown(cyx, model=unet(tmp_path)).channels == (0,)


def test_several_models_are_shown_the_same(cyx: str, tmp_path: Path) -> None:
    one, other = unet(tmp_path, 2), unet(tmp_path, 2)
    spec = shown(cyx, model=f"{one}, {other}", channels=("nuclei=0", "cyto=2"))
    assert spec.models == (one, other)
    assert len(spec.digests) == 2
    assert spec.channels == (2, 0)


def test_blocks_of_labels_do_not_move_predictions(cyx: str) -> None:
    one, other = (shown(cyx, block=block, halo=20) for block in ((32, 32), (64, 80)))
    assert one == other
    assert labelled(cyx, block=(32, 32)).block == (1, 1, 32, 32)
    assert labelled(cyx, diameter=40).halo == (0, 0, 80, 80)


def test_flow_errors_are_for_flows_only(cyx: str) -> None:
    assert labelled(cyx).judge
    assert not labelled(cyx, flow_threshold=0).judge
    assert not labelled(cyx, model="tests.models:hover", dims="2d").judge
    judged = plan(cyx, max_size=99)["objects"].spec
    assert isinstance(judged, objects.Spec)
    assert judged.max_size == 99


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "cyto33"}, NotFound, r"a name like cyto3.*'bigseg models' lists all"),
        ({"model": "tests.models:nothing"}, NotFound, "has no function 'nothing'"),
        ({"model": "tests.models:not_a_function"}, NotFound, "has no function"),
        ({"channels": ("3",)}, NotFound, "no channel '3'"),
        ({"channels": ("0", "1")}, SpecError, r"takes 1 channel\(s\) \(nuclei\), but 2"),
        ({"dims": "3d"}, SpecError, "has a single z plane"),
        ({"block": (32, 32, 32, 32)}, SpecError, "must be two numbers"),
        ({"representation": "labels"}, WeightsError, "only functions make labels"),
        ({"restore": "nuclei"}, WeightsError, r"cannot restore: it makes 3 map\(s\) of 2"),
        ({"restore": "tests.models:flows"}, WeightsError, "cannot restore"),
    ],
)
def test_what_does_not_fit_is_refused(
    cyx: str, settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        plan(cyx, **settings)


def test_hover_maps_are_of_planes(zyx: str) -> None:
    for dims in (None, "3d"):
        with pytest.raises(SpecError, match="exist in planes only; use --dims 2d"):
            plan(zyx, model="tests.models:hover", dims=dims)
    assert labelled(zyx, model="tests.models:hover", dims="2d").ndim == 2


def test_a_published_model_that_is_not_here_says_how_to_fetch_it(
    cyx: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGSEG_MODELS", str(tmp_path / "models"))
    for settings in ({"model": "cyto3"}, {"restore": "denoise_cyto3"}):
        name = next(iter(settings.values()))
        with pytest.raises(NotFound, match=f"'bigseg models fetch {name}' downloads it there"):
            plan(cyx, **settings)
