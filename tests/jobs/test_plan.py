"""What a run would take is known before it begins, and what cannot fit is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imread

import bigseg
from bigseg.errors import SpecError
from bigseg.jobs import reckon as reckoning
from bigseg.jobs import segment as pipeline
from bigseg.jobs.plan import plan_segmentation
from bigseg.jobs.planned import Plan
from bigseg.plans.segment import plan_segment
from bigseg.run.folder import open_run
from bigseg.specs.segment import parse
from tests.worlds import make_image

SAMPLES = Path(bigseg.__file__).parent / "samples"


def bytes_below(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def make(folder: Path, ndim: int) -> dict[str, Any]:
    """Settings of a run over a sample."""
    if ndim == 2:
        data, axes, block = imread(SAMPLES / "nuclei2d.tif")[:700, :700], "yx", (256, 256)
    else:
        data, axes, block = imread(SAMPLES / "embryo3d.tif"), "zyx", (32, 64, 64)
        data = data[12:44, 20:116, 20:116]
    image = make_image(f"{folder}/image.zarr", data, axes, block=(40, 64, 64)).image.url
    output = f"{folder}/labels.zarr"
    return {"image": image, "model": "nuclei", "block": block, "output": output}


def plan_of(settings: dict[str, Any], **how: Any) -> Plan:
    return plan_segmentation(parse(settings), cluster="serial", **how)


def near(found: float, real: float, share: float = 0.25) -> bool:
    return abs(found - real) <= share * real


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_plan_is_what_the_run_does(tmp_path: Path, ndim: int) -> None:
    settings = make(tmp_path, ndim)
    plan = plan_of(settings, calibrate=3.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["image.zarr"]
    pipeline.segment(**settings, cluster="serial", keep_scratch=True)
    run = open_run(plan.run)
    assert [(s.step, s.blocks) for s in plan.steps] == [
        (s.name, len(s.spec.grid)) for s in run.steps
    ]
    kept = {
        name: bytes_below(f"{plan.run}/{folder}")
        for name, folder in {
            "predictions": "scratch/predictions",
            "opinions": "graph/opinions",
        }.items()
    }
    kept["tables"] = bytes_below(f"{plan.run}/graph") + bytes_below(f"{plan.run}/tables")
    kept["tables"] -= kept["opinions"]
    kept["result"] = bytes_below(settings["output"])
    for name, size in kept.items():
        assert near(plan.stored[name], size), name
    assert plan.cpu_hours is not None
    assert plan.cpu_hours > 0
    assert plan.wall_hours is not None
    assert plan.calibration is not None
    assert plan.calibration["samples"] == 1  # all of it


RUN = """
import json, time
from bigseg.jobs.segment import segment
from bigseg.run.machine import peak_memory
segment(**json.loads({settings!r}), cluster="serial")
print(time.process_time(), peak_memory())
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("ndim", [2, 3])
def test_time_and_memory_are_those_of_the_run(tmp_path: Path, ndim: int) -> None:
    import json

    settings = make(tmp_path, ndim)
    code = (
        "import json; from bigseg.jobs.plan import plan_segmentation as p; "
        "from bigseg.specs.segment import parse; "
        f"print(json.dumps(p(parse(json.loads({json.dumps(settings)!r})), cluster='serial', "
        "calibrate=10).as_dict()))"
    )
    plan = json.loads(_python(code))
    seconds, peak = map(float, _python(RUN.format(settings=json.dumps(settings))).split())
    assert near(plan["worker_bytes"], peak)
    # Processors that others keep busy take up to a third longer for the same.
    assert near(plan["cpu_hours"] * 3600, seconds, 0.35)


def _python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_without_a_calibration_hours_are_left_out_and_said_to_be(tmp_path: Path) -> None:
    plan = plan_of(make(tmp_path, 2))
    assert (plan.cpu_hours, plan.stored, plan.calibration) == (None, {}, None)
    assert "not known without a calibration" in plan.text()
    assert plan.as_dict()["totals"]["gets"] > 0


def test_a_halo_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigseg.plans.lattice.LONGEST_BLOCK", {2: 128, 3: 448})
    settings = make(tmp_path, 2)
    plan = plan_of(settings)
    shown = next(s for s in plan_segment(parse(settings), plan.run) if s.name == "predict")
    read = 0
    for block in shown.spec.grid:
        y, x = (min(-(-s.stop // 64) * 64, 700) - s.start // 64 * 64 for s in block.read[2:])
        read += y * x
    assert plan.amplification == pytest.approx(read / 700**2, abs=0.001)
    assert plan.amplification > 2


def test_what_does_not_fit_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make(tmp_path, 2)
    with monkeypatch.context() as patch:
        patch.setattr("bigseg.run.cluster.memory", lambda: 300_000_000)
        with pytest.raises(SpecError, match=r"needs about .* of memory .*; use fewer --workers"):
            plan_of(settings)
    monkeypatch.setattr(reckoning, "free_disk", lambda url: 1000)
    with pytest.raises(SpecError, match=r"of disk for .*labels.zarr, where .* are free; put"):
        plan_of(settings)


def test_blocks_that_a_mask_leaves_out_are_neither_read_nor_counted(tmp_path: Path) -> None:
    settings = make(tmp_path, 2)
    mask = np.zeros((700, 700), np.uint8)
    mask[:200, :200] = 1
    url = make_image(f"{tmp_path}/mask.zarr", mask, "yx").image.url
    whole, part = (plan_of({**settings, **more}) for more in ({}, {"mask": url}))
    rows = [next(s for s in plan.steps if s.step == "label") for plan in (whole, part)]
    assert [row.skipped for row in rows] == [0, 8]
    assert rows[1].gets < rows[0].gets / 4
    assert "(8 skipped)" in part.text()
