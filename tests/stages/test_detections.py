"""Objects of a series, measured in blocks."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from bigseg.io.series import open_series
from bigseg.stages import detect, detections


@pytest.fixture
def labels(tmp_path):
    """Three frames of two planes, with ids that are neither dense nor small; one is empty."""
    found = np.zeros((3, 2, 20, 30), np.uint32)
    found[0, :, 2:9, 3:17] = 70_000
    found[0, 1, 15:, 25:] = 5
    found[2, 0, 0:4, 0:2] = 5
    (tmp_path / "a").mkdir()
    for number, frame in enumerate(found):
        tifffile.imwrite(tmp_path / "a" / f"{number}.tif", frame)
    return found


def run(tmp_path, block):
    series = open_series(str(tmp_path / "a"))
    found = detect.Spec(
        run=str(tmp_path / f"run{block[-1]}"),
        labels=series.url,
        frames=series.frames,
        ngff=False,
        shape=series.shape,
        unit=series.unit,
        block=(1, *block),
        spacing=(2.0, 0.5, 0.5),
    )
    for spec, stage in ((found, detect), (detections.Spec(found=found), detections)):
        facts = [stage.block(spec, block, stage.read(spec, block)) for block in spec.grid]
        last = stage.finish(spec, facts)
    return found.run, last


def test_blocks_make_no_difference(tmp_path, labels):
    (one, facts), (other, same) = run(tmp_path, (2, 20, 30)), run(tmp_path, (1, 8, 7))
    assert facts == same == {"detections": 3, "counts": [2, 0, 1], "empty": [1]}
    for frame in range(3):
        whole, parts = (detections.read_frame(url, frame) for url in (one, other))
        assert whole.keys() == parts.keys()
        for name in whole:
            np.testing.assert_array_equal(whole[name], parts[name], name)


def test_rows_say_where_objects_are(tmp_path, labels):
    url, _ = run(tmp_path, (1, 8, 7))
    table = detections.read_frame(url, 0)
    assert table["label"].tolist() == [5, 70_000]
    assert table["voxels"].tolist() == [25, 196]
    assert table["touches_border"].tolist() == [True, True]  # both reach the last plane
    np.testing.assert_allclose(table["centroid_z"], [2.0, 1.0])
    np.testing.assert_allclose(table["centroid_x"], [13.5, 4.75])
    assert [table[name][1] for name in ("z0", "z1", "y0", "y1", "x0", "x1")] == [0, 2, 2, 9, 3, 17]
