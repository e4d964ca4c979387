"""Voxels that objects of successive frames share, counted in blocks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg.grid import Index
from bigseg.io.series import open_series
from bigseg.stages import detect, detections, overlap, overlaps
from tests.core.tracking.rods import rods

SHAPE = (3, 90, 100)
Pairs = dict[tuple[int, int], int]


def write(folder: Path, labels: np.ndarray) -> str:
    folder.mkdir()
    for number, frame in enumerate(labels):
        tifffile.imwrite(folder / f"{number}.tif", frame, photometric="minisblack")
    return str(folder)


def cells(drift: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """Three frames of boxes with large ids here and there, displaced as a whole."""
    rng = np.random.default_rng(0)
    labels = np.zeros((3, *SHAPE), np.uint32)
    lattice = np.stack(np.meshgrid([0], range(16, 76, 10), range(4, 84, 10)), -1).reshape(-1, 3)
    places = lattice + rng.integers(-2, 3, lattice.shape) * (0, 1, 1)
    for t in range(3):
        names = rng.permutation(len(places)) + 1000
        for name, place in zip(names, places, strict=True):
            low = place + rng.integers(-1, 2, 3) * (0, 1, 1) + t * np.array(drift)
            high = low + np.array((1, 5, 6))
            labels[t][tuple(map(slice, low, high))] = name
    return labels


def brute(a: np.ndarray, b: np.ndarray, drift: tuple[int, int, int]) -> Pairs:
    """Pairs of objects that share voxels, voxel by voxel."""
    found: Counter[tuple[int, int]] = Counter()
    for place in np.argwhere(a):
        there = place + drift
        if (there >= 0).all() and (there < a.shape).all() and b[tuple(there)]:
            found[int(a[tuple(place)]), int(b[tuple(there)])] += 1
    return dict(found)


def spec_of(url: str, run: Path, block: Index, others: tuple[str, ...] = ()) -> overlaps.Spec:
    series = open_series(url)
    more = [open_series(one) for one in others]
    found = detect.Spec(
        run=str(run), labels=series.url, frames=series.frames, ngff=False, shape=series.shape,
        unit=series.unit, block=(1, *block), spacing=(2.0, 0.5, 0.5),
        alternatives=tuple(
            detect.Source(labels=o.url, frames=o.frames, ngff=False, unit=o.unit) for o in more
        ),
    )  # fmt: skip
    return overlaps.Spec(counted=overlap.Spec(found=found))


def pairs_of(spec: overlaps.Spec) -> list[Pairs]:
    counted = spec.counted
    stages = (
        (counted.found, detect), (detections.Spec(found=counted.found), detections),
        (counted, overlap), (spec, overlaps),
    )  # fmt: skip
    for one, stage in stages:
        facts = [stage.block(one, block, stage.read(one, block)) for block in one.grid]
    run, found = counted.found.run, []
    labels = [detections.read_frame(run, t)["label"] for t in range(counted.found.shape[0])]
    o = overlaps.read_overlaps(run, range(len(labels)), labels)
    names, frame = np.concatenate(labels), np.repeat(np.arange(len(labels)), [*map(len, labels)])
    for t in range(len(labels) - 1):
        here = frame[o.source] == t
        ends = zip(names[o.source[here]].tolist(), names[o.target[here]].tolist(), strict=True)
        found.append(dict(zip(ends, o.voxels[here].astype(int).tolist(), strict=True)))
    assert stages[-1][1].finish(spec, facts) == {"pairs": sum(map(len, found))}
    return found


@pytest.mark.parametrize("block", [SHAPE, (1, 32, 32), (2, 17, 100)])
@pytest.mark.parametrize("drift", [(0, 0, 0), (0, -6, 4)])
def test_pairs_are_those_of_all_voxels_whatever_the_blocks(tmp_path, block, drift):
    labels = cells(drift)
    spec = spec_of(write(tmp_path / "a", labels), tmp_path / "run", block)
    found = pairs_of(spec)
    for t in range(2):
        assert overlap.drift(spec.counted, t) == drift
        assert found[t] == brute(labels[t], labels[t + 1], drift)
        assert len(found[t]) >= 40


def test_an_empty_frame_shares_nothing(tmp_path):
    labels = cells()
    labels[1] = 0
    spec = spec_of(write(tmp_path / "a", labels), tmp_path / "run", (1, 16, 16))
    assert pairs_of(spec) == [{}, {}]


def test_objects_that_compete_are_called_as_they_are_tracked(tmp_path):
    labels, _ = rods(0, frames=2, rows=4, columns=2)
    other = labels.copy()
    left = other[:, :, :70]
    left[left > 0] += 500  # the same objects under other names, and of the rest nothing
    other[:, :, 70:] = 0
    other[:, 2:5, 5:20] = 900  # what the first has not
    urls = write(tmp_path / "a", labels), write(tmp_path / "b", other)
    alone = pairs_of(spec_of(urls[0], tmp_path / "one", (1, 64, 64)))
    both = pairs_of(spec_of(urls[0], tmp_path / "two", (1, 64, 64), urls[1:]))
    names = [detections.read_names(str(tmp_path / "two"), t) for t in (0, 1)]
    new = tuple(int(n["label"][(n["id"] == 900)][0]) for n in names)
    assert both[0] == alone[0] | {new: 45}
