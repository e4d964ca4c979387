"""Costs of links are fitted to known tracks, and used."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

import bigseg
from bigseg import files
from bigseg.cli.app import main
from bigseg.core.tracking.detections import gather
from bigseg.core.tracking.graph import Graph
from bigseg.errors import BigsegError, ImageError, NotFound, SpecError
from bigseg.io.track_costs import read_costs
from bigseg.jobs.calibrate_tracks import calibrate_tracks, true_links
from tests.cells import moving_cells, write_frames


@pytest.fixture(scope="module")
def world():
    return moving_cells()


@pytest.fixture(scope="module")
def truth(world, tmp_path_factory):
    """A truth of the Cell Tracking Challenge."""
    place = tmp_path_factory.mktemp("truth") / "01_GT" / "TRA"
    place.mkdir(parents=True)
    for number, frame in enumerate(world[1]):
        tifffile.imwrite(place / f"man_track{number:03d}.tif", frame)
    lines = [f"{n} 0 {3 if n == 5 else 7} 0" for n in range(1, 10)] + ["10 4 7 5", "11 4 7 5"]
    (place / "man_track.txt").write_text("\n".join(lines) + "\n")
    return str(place)


@pytest.fixture(scope="module")
def tracked(world, tmp_path_factory):
    place = tmp_path_factory.mktemp("run")
    folder = write_frames(place / "masks", world[0])
    return bigseg.track(folder, str(place / "a.zarr"), cluster="serial")


def test_true_links_are_found_and_fitted(tracked, truth):
    found = calibrate_tracks(tracked.run, truth)
    assert (found.objects, found.matched) == (76, 76)
    assert (found.links, found.divisions) == (8 * 7 + 3 + 2 + 2 * 3, 1)
    assert 0.5 < found.model.steps[0].scale < 2  # cells move by 1.5 per frame
    assert "share that divides" in found.text()


def test_what_was_fitted_is_used(world, tracked, truth, tmp_path, capsys):
    file = str(tmp_path / "costs.json")
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", tracked.run, "--truth", truth, "--out", file, "--json"])
    assert not ended.value.code
    said = json.loads(capsys.readouterr().out)
    model = read_costs(file)
    assert model.divides == said["model"]["divides"]
    folder = write_frames(tmp_path / "b", world[0])
    result = bigseg.track(folder, f"{tmp_path}/b.zarr", cluster="serial", costs=file, gap=5)
    assert (result.tracks, result.divisions) == (11, 1)
    page = files.get(result.report).decode()
    assert "Fitted to true tracks of a like series" in page


def test_points_need_a_distance(tracked, world, tmp_path):
    rows = ["t,y,x,track"]
    for t, frame in enumerate(world[1]):
        for cell in np.unique(frame)[1:]:
            y, x = (c.mean() for c in np.nonzero(frame == cell))
            rows.append(f"{t},{y},{x},{cell}")
    (tmp_path / "p.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(SpecError, match="give the distance, above 0 and in physical units"):
        calibrate_tracks(tracked.run, str(tmp_path / "p.csv"))
    found = calibrate_tracks(tracked.run, str(tmp_path / "p.csv"), distance=3)
    assert (found.matched, found.divisions) == (76, 0)


def test_a_truth_of_other_frames_is_refused(tracked, world, tmp_path):
    folder = write_frames(tmp_path / "t", world[1][:5])
    with pytest.raises(ImageError, match="give the truth of the same frames"):
        calibrate_tracks(tracked.run, folder)


def test_a_truth_without_links_is_refused(tracked, world, tmp_path):
    renamed = world[1] + 20 * np.arange(8, dtype=np.uint16)[:, None, None] * (world[1] > 0)
    folder = write_frames(tmp_path / "t", renamed)
    with pytest.raises(BigsegError, match="Only 0 true links are between objects"):
        calibrate_tracks(tracked.run, folder)


def test_files_that_hold_no_costs(tmp_path):
    with pytest.raises(NotFound, match="'bigseg calibrate' makes one"):
        read_costs(str(tmp_path / "a.json"))
    (tmp_path / "a.json").write_text('{"dimensions": 2}')
    with pytest.raises(SpecError, match=r"no file of costs \(density: Field required\)"):
        read_costs(str(tmp_path / "a.json"))


def test_links_go_over_what_was_missed_and_halves_of_divisions_tell_nothing():
    """A chain 0-1-2-3 of which 1 was missed, and a division of 3 of which one daughter was."""
    graph = Graph(
        np.array([0, 1, 2, 3, 4, 4], np.int32),
        np.array([0, 0, 0, 0, 1, 2]),
        np.array([[0, 1], [1, 2], [2, 3], [3, 4], [3, 5]]),
        np.array([False, False, False, True, True]),
    )
    objects = gather(np.array([0, 2, 3, 4]), np.ones(4, np.int64), np.arange(8.0).reshape(4, 2))
    links = true_links(graph, np.array([0, -1, 1, 2, 3, -1]), objects, 3)
    assert list(zip(links.source.tolist(), links.target.tolist(), strict=True)) == [(0, 1), (1, 2)]
    assert not links.division.any()
    short = true_links(graph, np.array([0, -1, 1, 2, 3, -1]), objects, 1)
    assert short.source.tolist() == [1]
