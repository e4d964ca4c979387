"""From an image to a restored one: without seams, with its metadata, refused in time, continued."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ome_zarr_models import open_ome_zarr

from bigseg import files
from bigseg.core.restoring import restore_planes
from bigseg.errors import BigsegError, NotFound, OutputExists, SpecError, WeightsError
from bigseg.events import BlockDone, Event
from bigseg.io.create import create_arrays, publish
from bigseg.io.ome import describe
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs import restore as restoration
from bigseg.jobs.begin import Interrupted
from bigseg.nets import restorer, weights
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.plans import restore as restoration_plan
from bigseg.run.folder import open_run
from bigseg.run.worker import run_block
from bigseg.stages import restore

SHAPE = (2, 2, 2, 90, 110)
SCALE = (1.0, 1.0, 2.0, 0.5, 0.5)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small tiles and blocks."""
    monkeypatch.setattr(restoration_plan, "TILE", 64)
    monkeypatch.setattr(restoration_plan, "MARGIN", 8)
    monkeypatch.setattr(restoration_plan, "restore_block", lambda shape: (1, 2, 64, 64))
    yield
    restorer.load.cache_clear()


@pytest.fixture
def model(tmp_path: Path) -> str:
    return saved(tmp_path / "denoise.pt")


def saved(path: Path, channels: int = 1, outputs: int = 1) -> str:
    torch.manual_seed(0)
    net = CellposeUNet((channels, 4, 8, 8, 16), outputs)
    torch.save(net.state_dict(), path)
    return str(path)


def voxels(dtype: str = "uint16") -> np.ndarray:
    noise = np.random.default_rng(0).gamma(2.0, 300.0, SHAPE)
    return (noise + 800 * (np.sin(np.arange(SHAPE[-1]) / 9) > 0)).astype(dtype)


@pytest.fixture
def image(tmp_path: Path) -> str:
    return make_image(str(tmp_path / "image.zarr"), voxels())


def make_image(url: str, data: np.ndarray, version: Any = "0.5") -> str:
    plan = plan_image(url, tuple("tczyx"), SHAPE, data.dtype, SCALE, (3, 64, 64), version)
    levels = tuple(replace(one, translation=(0, 0, 10.0, 5.0, 7.0)) for one in plan.levels)
    units = dict.fromkeys("zyx", "micrometer")
    plan = replace(plan, levels=levels, units=units, channels=("DAPI", "actin"), name="embryo")
    create_arrays(plan)
    publish(plan)
    volume = Volume.open(url)
    for channel in range(SHAPE[1]):
        volume.write(everything(volume), data[:, channel], channel)
    return url


def everything(volume: Volume) -> tuple[slice, ...]:
    t, _, z, y, x = volume.shape
    return tuple(slice(0, n) for n in (t, z, y, x))


def pixels(url: str) -> np.ndarray:
    volume = Volume.open(url)
    return volume.read(everything(volume), tuple(range(volume.shape[1])))


def run_restore(
    image: str, *args: Any, **settings: Any
) -> tuple[restoration.Restored, list[Event]]:
    events: list[Event] = []
    settings = {"cluster": "serial", **settings}
    result = restoration.restore(image, *args, listener=events.append, **settings)
    return result, events


def whole(data: np.ndarray, model: str, plane: restore.Plane) -> np.ndarray:
    """Every plane restored in one piece, as the network gives it: float32 (t, c, z, y, x)."""
    net = restorer.load(model, weights.digest(model))
    result = np.empty((*data.shape[:3], *plane.result), np.float32)
    wanted = ((0, plane.result[0]), (0, plane.result[1]))
    for c in range(data.shape[1]):
        low, high = np.percentile(data[:, c], (1, 99))
        scaled = ((data[:, c] - low) / (high - low)).astype(np.float32)
        for t in range(len(data)):
            result[t, c] = restore_planes(net, scaled[t], plane.axes, wanted)
    return result


@pytest.mark.parametrize("diameter", [None, 24.0, 41.0])
def test_blocks_show_no_seam(
    image: str, model: str, tmp_path: Path, diameter: float | None
) -> None:
    out = str(tmp_path / "out.zarr")
    result, events = run_restore(image, out, model=model, diameter=diameter, values="network")
    assert sum(isinstance(e, BlockDone) and e.step == "restore" for e in events) == 2 * 2 * 2
    plane = open_run(result.run).step("restore").spec.plane
    found = pixels(out)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, whole(voxels(), model, plane), atol=1e-5)


def test_metadata_are_those_of_the_image(image: str, model: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out.zarr")
    result, _ = run_restore(image, out, model=model)
    given, made = describe(image), describe(out)
    assert (made.axes, made.units, made.channels, made.name) == (
        given.axes, given.units, given.channels, given.name,
    )  # fmt: skip
    assert made.dtype == np.uint16
    assert made.levels[0].scale == SCALE
    assert made.levels[0].translation == (0, 0, 10.0, 5.0, 7.0)
    assert result.shape == SHAPE
    assert open_ome_zarr(out) is not None


def test_values_keep_the_scale_of_the_image(image: str, model: str, tmp_path: Path) -> None:
    run_restore(image, str(tmp_path / "a.zarr"), model=model, values="network")
    run_restore(image, str(tmp_path / "b.zarr"), model=model)
    raw, scaled = pixels(str(tmp_path / "a.zarr")), pixels(str(tmp_path / "b.zarr"))
    for c in range(2):
        low, high = np.percentile(voxels()[:, c], (1, 99))
        expected = np.clip(raw[:, c].astype(np.float64) * (high - low) + low, 0, 65535)
        np.testing.assert_allclose(scaled[:, c], expected, atol=0.51)


@pytest.mark.parametrize("per", ["frame", "plane"])
def test_frames_and_planes_may_have_ranges_of_their_own(
    model: str, tmp_path: Path, per: str
) -> None:
    brightness = np.array([1, 3])[:, None, None, None, None] * np.array([1, 2])[:, None, None]
    data = (voxels() * brightness).astype(np.uint16)
    image, out = make_image(str(tmp_path / "image.zarr"), data), str(tmp_path / "out.zarr")
    run_restore(image, out, model=model, channels=(0,), normalize_per=per, values="network")
    found, net = pixels(out), restorer.load(model, weights.digest(model))
    plane = open_run(f"{out}.bigseg").step("restore").spec.plane
    for t, z in np.ndindex(2, 2):
        ranged = data[t, 0, z] if per == "plane" else data[t, 0]
        low, high = np.percentile(ranged, (1, 99))
        scaled = ((data[t, 0, z] - low) / (high - low)).astype(np.float32)[None]
        expected = restore_planes(net, scaled, plane.axes, ((0, 90), (0, 110)))[0]
        np.testing.assert_allclose(found[t, 0, z], expected, atol=1e-5)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_upsampling_model_makes_a_finer_grid(tmp_path: Path, version: str) -> None:
    image = make_image(str(tmp_path / "image.zarr"), voxels(), version)
    model, out = saved(tmp_path / "upsample_cyto3.pt"), str(tmp_path / "out.zarr")
    result, _ = run_restore(
        image, out, model=model, diameter=12, channels=("actin",), values="network"
    )
    made = describe(out)
    assert made.version == version
    assert made.channels == ("actin",)
    assert result.shape == (2, 1, 2, 225, 275)
    assert made.levels[0].scale == pytest.approx((1, 1, 2, 0.2, 0.2))
    # The image began 0.25 before the centre of its first voxel; so does the result by 0.1.
    assert made.levels[0].translation == pytest.approx((0, 0, 10, 5 - 0.15, 7 - 0.15))
    assert made.levels[1].scale == pytest.approx((1, 1, 2, 0.4, 0.4))
    assert made.levels[1].translation == pytest.approx((0, 0, 10, 4.95, 6.95))
    plane = open_run(result.run).step("restore").spec.plane
    expected = whole(voxels()[:, 1:], model, plane)
    np.testing.assert_allclose(pixels(out), expected, atol=1e-5)
    means = expected[..., :224, :274].reshape(2, 1, 2, 112, 2, 137, 2).mean((4, 6))
    level = Volume.open(out, 1)
    np.testing.assert_allclose(level.read(everything(level))[..., :112, :137], means, atol=1e-5)


def test_objects_as_large_as_in_training_are_not_enlarged(image: str, tmp_path: Path) -> None:
    model = saved(tmp_path / "upsample_cyto3.pt")
    assert (
        run_restore(image, str(tmp_path / "out.zarr"), model=model, diameter=30)[0].shape == SHAPE
    )


@pytest.mark.parametrize("cluster", ["threads", pytest.param("local", marks=pytest.mark.slow)])
def test_any_executor_gives_the_same(image: str, model: str, tmp_path: Path, cluster: str) -> None:
    for name in ("serial", cluster):
        run_restore(image, str(tmp_path / name), model=model, cluster=name, workers=2)
    np.testing.assert_array_equal(pixels(str(tmp_path / "serial")), pixels(str(tmp_path / cluster)))


def test_an_interrupted_restoration_goes_on(
    image: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, count, original = str(tmp_path / "out.zarr"), iter(range(100)), restore.block

    def block(*args: Any) -> Any:
        if next(count) >= 3:
            raise KeyboardInterrupt
        return original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(restore, "block", block)
        with pytest.raises(Interrupted, match=r"out.zarr.bigseg' continues"):
            run_restore(image, out, model=model)
    with pytest.raises(BigsegError):
        describe(out)  # it is no image yet
    assert run_block(f"{out}.bigseg", "restore", "7").status == "done"
    events: list[Event] = []
    restoration.resume(f"{out}.bigseg", cluster="serial", listener=events.append)
    assert sum(isinstance(e, BlockDone) and e.step == "restore" for e in events) == 8 - 4
    run_restore(image, str(tmp_path / "other.zarr"), model=model)
    np.testing.assert_array_equal(pixels(out), pixels(str(tmp_path / "other.zarr")))
    assert not files.exists(f"{out}.bigseg/scratch")


def test_a_result_is_replaced_only_if_asked(image: str, model: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out.zarr")
    run_restore(image, out, model=model)
    with pytest.raises(OutputExists, match=r"finished already; .*--overwrite"):
        run_restore(image, out, model=model)
    with pytest.raises(OutputExists, match=r"other settings; .*--overwrite"):
        run_restore(image, out, model=model, diameter=20)
    run_restore(image, out, model=model, channels=(1,), overwrite=True)
    assert describe(out).channels == ("actin",)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_no_restoration_made_is_never_replaced(
    image: str, model: str, tmp_path: Path, overwrite: bool
) -> None:
    other = make_image(str(tmp_path / "other.zarr"), voxels())
    with pytest.raises(OutputExists, match=r"other.zarr exists already, and no run beside it"):
        run_restore(image, other, model=model, overwrite=overwrite)
    np.testing.assert_array_equal(pixels(other), voxels())


def test_a_run_that_segments_is_not_taken_over(image: str, model: str, tmp_path: Path) -> None:
    files.put(str(tmp_path / "run/run.json"), b'{"bigseg": "1", "settings": {}, "steps": []}')
    with pytest.raises(SpecError, match="holds a run of another kind"):
        run_restore(image, str(tmp_path / "out.zarr"), model=model, run=str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"channels": (4,)}, NotFound, r"has no channel 4; it has channels 0 to 1 \(DAPI, actin\)"),
        ({"channels": ("GFP",)}, NotFound, "has no channel 'GFP'"),
        ({"diameter": -1}, SpecError, "'diameter' is -1"),
        ({"diametre": 3}, SpecError, "'diametre' is not a setting; the settings are"),
        ({"percentiles": (99, 1)}, SpecError, "'percentiles' is .* must rise"),
        ({"level": 7}, NotFound, "level 7"),
        ({"model": "nuclei"}, WeightsError, r"cannot restore: it makes 3 map\(s\) of 2 channel"),
        ({"model": "denoise"}, NotFound, "Model 'denoise' is neither .* denoise_"),
        ({"enlarge": True}, SpecError, r"enlarges the image until .* give it with --diameter"),
        ({"cluster": "cloud"}, SpecError, "Cluster 'cloud' is unknown"),
    ],
)
def test_what_is_refused_writes_nothing(
    image: str, model: str, tmp_path: Path, settings: dict[str, Any], error: type, message: str
) -> None:
    before = set(tmp_path.rglob("*"))
    with pytest.raises(error, match=message):
        run_restore(image, str(tmp_path / "out.zarr"), **{"model": model, **settings})
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("place", ["image.zarr", "image.zarr/0", "image.zarr/0/out"])
def test_the_image_is_never_written(image: str, model: str, tmp_path: Path, place: str) -> None:
    with pytest.raises(BigsegError, match=r"choose another"):
        run_restore(image, str(tmp_path / place), model=model)
    np.testing.assert_array_equal(pixels(image), voxels())


def test_too_little_memory_is_refused(
    image: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bigseg.run.cluster.memory", lambda: 10**8)
    with pytest.raises(SpecError, match=r"'restore' needs about 0.8 GB .* fewer --workers"):
        run_restore(image, str(tmp_path / "out.zarr"), model=model)


def test_an_image_that_is_all_nan_leaves_no_trace(model: str, tmp_path: Path) -> None:
    image = make_image(str(tmp_path / "nan.zarr"), np.full(SHAPE, np.nan, np.float32))
    before = set(tmp_path.rglob("*"))
    with pytest.raises(BigsegError, match="no finite value"):
        run_restore(image, str(tmp_path / "out.zarr"), model=model)
    assert set(tmp_path.rglob("*")) == before
