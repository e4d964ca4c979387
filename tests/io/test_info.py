"""What is said about an image."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bigseg.errors import NotFound
from bigseg.io.create import create_image
from bigseg.io.info import describe_text, info
from bigseg.io.labels import create_labels
from bigseg.io.plan import plan_image, plan_labels

TEXT = """\
{url}
format      OME-Zarr 0.5, zarr v3
axes        t c y x
shape       1 x 2 x 300 x 600, uint16, 360000 voxels
voxel size  t 1, y 0.5 um, x 0.5 micrometer
levels      0: 1 x 2 x 300 x 600 in chunks of 1 x 1 x 256 x 256
            1: 1 x 2 x 150 x 300 in chunks of 1 x 1 x 150 x 256
            2: 1 x 2 x 75 x 150 in chunks of 1 x 1 x 75 x 150
channels    DAPI, GFP
labels      cells
valid       no, as NGFF 0.5:
            - Axis y has the non-standard unit 'um'; NGFF calls it 'micrometer'."""


def url_of(path: Path) -> str:
    plan = plan_image(
        str(path), ("t", "c", "y", "x"), (1, 2, 300, 600), "u2", (1, 1, 0.5, 0.5), (1, 256, 256)
    )
    plan = replace(plan, units={"y": "um", "x": "micrometer"}, channels=("DAPI", "GFP"))
    create_image(plan)
    create_labels(plan_labels(plan, f"{path}/labels/cells", "u4", (1, 256, 256)))
    return str(path)


def test_people_read_lines(tmp_path: Path) -> None:
    url = url_of(tmp_path)
    lines = describe_text(info(url)).splitlines()
    assert lines == TEXT.format(url=url).splitlines()


def test_machines_read_json(tmp_path: Path) -> None:
    found = json.loads(json.dumps(asdict(info(url_of(tmp_path)))))
    assert found["voxel_size"] == {"t": 1, "y": 0.5, "x": 0.5}
    assert found["levels"][1]["shape"] == [1, 2, 150, 300]
    assert found["labels"] == ["cells"]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is nothing at"):
        info(str(tmp_path / "gone"))
