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


def run(tmp_path, block, alternatives=()):
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
        alternatives=alternatives,
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


@pytest.fixture
def others(tmp_path, labels):
    """The first object of each frame in two pieces; one more where there were none."""
    found = labels.copy()
    found[0, :, 2:9, 10:17] = 3
    found[1, 1, 5:9, 5:9] = 8
    (tmp_path / "b").mkdir()
    for number, frame in enumerate(found):
        tifffile.imwrite(tmp_path / "b" / f"{number}.tif", frame)
    return found


def test_rivals_are_found_whatever_the_blocks(tmp_path, others):
    series = open_series(str(tmp_path / "b"))
    other = detect.Source(labels=series.url, frames=series.frames, ngff=False, unit=series.unit)
    (one, facts), (two, same) = (run(tmp_path, b, (other,)) for b in ((2, 20, 30), (1, 8, 7)))
    assert facts == same == {"detections": 6, "counts": [4, 1, 1], "empty": []}
    for frame in range(3):
        for read in (
            detections.read_frame,
            detections.read_names,
            lambda run, frame: next(detections.read_sets(run, [frame])),
        ):
            whole, parts = read(one, frame), read(two, frame)
            for name in whole:
                np.testing.assert_array_equal(whole[name], parts[name], name)


def test_who_is_called_what(tmp_path, others):
    series = open_series(str(tmp_path / "b"))
    other = detect.Source(labels=series.url, frames=series.frames, ngff=False, unit=series.unit)
    url, _ = run(tmp_path, (1, 8, 7), (other,))
    names = detections.read_names(url, 0)
    assert names["source"].tolist() == [0, 0, 1, 1, 1]
    assert names["id"].tolist() == [5, 70_000, 3, 5, 70_000]
    assert names["label"].tolist() == [5, 70_000, 70_001, 5, 70_003]  # object 5 is the same in both
    assert names["drawn"].tolist() == [True, True, True, False, True]
    table, sets = detections.read_frame(url, 0), next(detections.read_sets(url, [0]))
    assert table["label"].tolist() == [5, 70_000, 70_001, 70_003]
    np.testing.assert_allclose(table["claim"], [1, 1.5, 0.75, 0.75])
    assert sets["label"].tolist() == [70_000, 70_001, 70_000, 70_003]
    assert detections.read_frame(url, 1)["label"].tolist() == [1]


def test_rows_say_where_objects_are(tmp_path, labels):
    url, _ = run(tmp_path, (1, 8, 7))
    table = detections.read_frame(url, 0)
    assert table["label"].tolist() == [5, 70_000]
    assert table["voxels"].tolist() == [25, 196]
    assert table["touches_border"].tolist() == [True, True]  # both reach the last plane
    np.testing.assert_allclose(table["centroid_z"], [2.0, 1.0])
    np.testing.assert_allclose(table["centroid_x"], [13.5, 4.75])
    assert [table[name][1] for name in ("z0", "z1", "y0", "y1", "x0", "x1")] == [0, 2, 2, 9, 3, 17]
