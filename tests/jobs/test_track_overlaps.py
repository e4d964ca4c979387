"""Tracking of long thin cells, which are told by what they cover, from files to the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

import bigseg
from bigseg.errors import BigsegError, SpecError
from bigseg.io.tables import read_table
from bigseg.plans.track_steps import learning
from bigseg.specs.track import TrackSpec
from bigseg.stages import learn, overlap
from bigseg.stages.lineages import links_url
from tests.core.tracking.rods import rods

LABELS, NAMES = rods(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("rods"), LABELS)


def written(path: Path, labels: np.ndarray) -> str:
    for number, frame in enumerate(labels):
        tifffile.imwrite(path / f"mask{number}.tif", frame)
    return str(path)


def wrong(run: str, names: np.ndarray) -> int:
    """Links of a run that lead to another rod, or are missing."""
    links = read_table(links_url(run))
    rod = np.argsort(names, axis=1)
    ends = [
        rod[links[f"{side}_frame"], links[f"{side}_label"].astype(int) - 1]
        for side in ("source", "target")
    ]
    return int((ends[0] != ends[1]).sum()) + names[1:].size - len(ends[0])


def test_rods_that_slide_are_followed(folder: str, tmp_path: Path) -> None:
    done = bigseg.track(folder, str(tmp_path / "a.zarr"), cluster="serial", window=2)
    assert wrong(done.run, NAMES) == 0
    assert (done.tracks, done.divisions) == (NAMES.shape[1], 0)


def test_what_overlaps_is_told_once_the_image_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    labels, names = rods(0, slide=1, drift=(3, -40))
    folder = written(tmp_path / "a", labels)
    done = bigseg.track(folder, str(tmp_path / "a.zarr"), cluster="serial")
    assert wrong(done.run, names) == 0
    model = learn.read_model(done.run)
    assert np.diff(np.asarray(model.drift)[:, 2]).round().tolist() == [-40] * (len(labels) - 1)
    # Nearly all of each rod is covered by itself, and by nobody else.
    assert model.overlap is not None
    assert model.overlap.odds[-1] > 3
    assert model.overlap.odds[0] < -4


def test_what_was_counted_is_not_counted_again(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, counted, broken = overlap.block, [], [True]

    def block(spec, block, data):  # type: ignore[no-untyped-def]
        if block.write[0].start == 3 and broken:
            raise OSError("the disk is gone")
        counted.append(block.write[0].start)
        return count(spec, block, data)

    monkeypatch.setattr(overlap, "block", block)
    with pytest.raises(BigsegError):
        bigseg.track(folder, str(tmp_path / "a.zarr"), cluster="serial")
    assert sorted(counted) == [0, 1, 2, 4]
    broken.clear()
    done = bigseg.track(folder, str(tmp_path / "a.zarr"), cluster="serial")
    assert sorted(counted) == [0, 1, 2, 3, 4]
    assert wrong(done.run, NAMES) == 0


def test_brightness_needs_an_image(folder: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^These settings do not fit .* no image is given"):
        bigseg.track(folder, str(tmp_path / "a.zarr"), brightness=True)


def test_brightness_is_asked_for(folder: str) -> None:
    asked = TrackSpec(labels=folder, image="image.zarr", brightness=True)
    assert learning(asked, "run", 2).settings.brightness
    assert not learning(TrackSpec(labels=folder), "run", 2).settings.brightness
