"""What is planned of each kind of run is what the run does, and a plan writes nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg.jobs import restore as restoring
from bigseg.jobs import segment as segmenting
from bigseg.jobs import tiles as merging
from bigseg.jobs import track as tracking
from bigseg.jobs.plan import (
    plan_maps,
    plan_merging,
    plan_restoration,
    plan_segmentation,
    plan_tracking,
)
from bigseg.jobs.planned import Plan
from bigseg.plans.restore import RestoreSpec
from bigseg.run.folder import open_run
from bigseg.specs.maps import EmSpec
from bigseg.specs.segment import parse, parse_as
from bigseg.specs.tiles import MergeSpec
from bigseg.specs.track import TrackSpec
from tests.jobs.test_restore import saved
from tests.worlds import make_image


def moving(frames: int = 4) -> np.ndarray:
    """Squares that move, (t, y, x)."""
    data = np.zeros((frames, 96, 96), np.uint16)
    for frame in range(frames):
        for number, (y, x) in enumerate(np.ndindex(3, 3)):
            data[frame, 4 + 30 * y + frame :, 4 + 30 * x :][:14, :14] = number + 1
    return data


def assert_same_blocks(plan: Plan, run: str) -> None:
    steps = [(step.name, len(step.spec.grid)) for step in open_run(run).steps]
    assert [(row.step, row.blocks) for row in plan.steps] == steps


def sizes(plan: Plan, step: str) -> tuple[int, int]:
    row = next(row for row in plan.steps if row.step == step)
    return row.read, row.written


def test_labels_that_are_tracked(tmp_path: Path) -> None:
    url = make_image(f"{tmp_path}/labels.zarr", moving(), "tyx").image.url
    spec = parse_as(TrackSpec, {"labels": url, "output": f"{tmp_path}/out.zarr"})
    plan = plan_tracking(spec, cluster="serial")
    assert [path.name for path in tmp_path.iterdir()] == ["labels.zarr"]
    assert plan.sizes["result"] >= 4 * moving().size
    assert sizes(plan, "detect")[0] > 0
    assert "not known: a series is not tried before it is tracked" in plan.text()
    tracked = tracking.execute(spec, cluster="serial")
    assert_same_blocks(plan, tracked.run)


def test_a_timelapse_that_is_segmented_and_tracked(tmp_path: Path) -> None:
    image = (moving() > 0).astype(np.uint8) * 200
    url = make_image(f"{tmp_path}/image.zarr", image, "tyx").image.url
    spec = parse_as(TrackSpec, {"labels": url, "model": "nuclei"})
    plan = plan_tracking(spec, cluster="serial")
    rows = {row.step: row for row in plan.steps}
    assert {"predict", "label", "write", "detect", "write-tracks"} <= rows.keys()
    assert rows["detect"].read > rows["write-tracks"].read == 4 * image.size
    assert {"predictions", "opinions", "labels", "result"} == plan.sizes.keys()


def test_tiles_that_are_merged(tmp_path: Path) -> None:
    for y, x in np.ndindex(2, 2):
        np.save(tmp_path / f"a_y{y}_x{x}.npy", moving()[0, 40 * y :, 40 * x :][:56, :56])
    settings = {"tiles": (str(tmp_path),), "output": f"{tmp_path}/out.zarr", "grid": (2, 2)}
    spec = parse_as(MergeSpec, {**settings, "overlap": (16, 16)})
    plan = plan_merging(spec, cluster="serial")
    assert len(list(tmp_path.iterdir())) == 4
    assert sizes(plan, "tiles") == (4 * 2 * 56**2, 4 * 4 * 56**2)
    assert plan.sizes["result"] >= 4 * 96**2
    assert "not known: tiles are not tried before they are merged" in plan.text()
    merged = merging.execute(spec, cluster="serial")
    assert_same_blocks(plan, merged.run)


@pytest.mark.parametrize("calibrate", [0.0, 0.5])
def test_an_image_that_is_restored(tmp_path: Path, calibrate: float) -> None:
    noise = np.random.default_rng(0).integers(0, 200, (2, 3, 64, 80)).astype(np.uint8)
    url = make_image(f"{tmp_path}/image.zarr", noise, "czyx").image.url
    settings = {"image": url, "output": f"{tmp_path}/out.zarr"}
    spec = parse_as(RestoreSpec, {**settings, "model": saved(tmp_path / "net.pt")})
    before = sorted(tmp_path.rglob("*"))
    plan = plan_restoration(spec, cluster="serial", calibrate=calibrate)
    assert sorted(tmp_path.rglob("*")) == before
    assert plan.sizes["result"] >= noise.size
    assert bool(plan.cpu_hours) == bool(calibrate)
    restored = restoring.execute(spec, cluster="serial")
    assert_same_blocks(plan, restored.run)
    if calibrate:
        stored = sum(p.stat().st_size for p in Path(restored.image).rglob("*") if p.is_file())
        assert plan.stored["result"] == pytest.approx(stored, rel=0.25)


def test_planes_that_become_a_volume(tmp_path: Path) -> None:
    image = np.repeat((moving(1) > 0).astype(np.uint8) * 200, 6, axis=0)
    url = make_image(f"{tmp_path}/image.zarr", image, "zyx").image.url
    settings: dict[str, Any] = {"image": url, "model": "nuclei", "dims": "slices"}
    spec = parse({**settings, "output": f"{tmp_path}/out.zarr"})
    plan = plan_segmentation(spec, cluster="serial", calibrate=0.5)
    rows = {row.step: row for row in plan.steps}
    assert rows["stack"].read > 0
    assert rows["write"].written > 0
    assert rows["stack"].memory > rows["links"].memory
    assert plan.cpu_hours
    made = segmenting.execute(spec, cluster="serial")
    assert_same_blocks(plan, made.run)


def test_maps_of_boundaries(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).random((8, 64, 64)).astype(np.float32)
    image = make_image(f"{tmp_path}/maps.zarr", maps, "zyx").image.url
    spec = parse_as(EmSpec, {"image": image, "source": "boundaries", "block": (16, 32, 32)})
    plan = plan_maps(spec, cluster="serial", calibrate=0.5)
    rows = {row.step: row for row in plan.steps}
    assert rows["supervoxels"].blocks == 4
    assert rows["regions"].gets > rows["supervoxels"].gets
    assert plan.cpu_hours
