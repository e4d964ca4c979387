"""Tracking of a series of label images, from files to the published result."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

import bigseg
from bigseg import files
from bigseg.core.tiles import Tiling
from bigseg.errors import OutputExists, SpecError
from bigseg.events import StageEnded
from bigseg.io.convert import convert
from bigseg.io.ctc import open_ctc
from bigseg.io.geff import read_geff
from bigseg.io.labels import label_names
from bigseg.io.ome import describe
from bigseg.io.tables import read_table
from bigseg.io.validate import validate
from bigseg.stages.lineages import read_lineages
from tests.jobs.movies import moving_nuclei

FRAMES, SIDE = 8, 120


def draw(frame: np.ndarray, label: int, y: float, x: float, radius: float = 5) -> None:
    yy, xx = np.mgrid[: frame.shape[0], : frame.shape[1]]
    frame[(yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = label


@pytest.fixture(scope="module")
def world():
    """Nine cells that drift to the right; the one in the middle divides in frame 4.

    In each frame labels are dealt out anew, and one cell is missed in frame 3.
    """
    rng = np.random.default_rng(0)
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint16)
    truth = np.zeros_like(labels)
    for t in range(FRAMES):
        cells = [(n + 1, 20 + 40 * (n // 3), 15 + 38 * (n % 3) + 1.5 * t) for n in range(9)]
        if t >= 4:
            _, y, x = cells.pop(4)
            cells += [(10, y - 3 - t + 1, x), (11, y + 3 + t - 1, x)]
        names = rng.permutation(len(cells)) + 1
        for (cell, y, x), name in zip(cells, names, strict=True):
            if (cell, t) != (1, 3):
                radius = 4 if cell >= 10 else 5
                draw(labels[t], name, y, x, radius)
                draw(truth[t], cell, y, x, radius)
    return labels, truth


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("series")
    for number, frame in enumerate(world[0]):
        tifffile.imwrite(path / f"mask{number:03d}.tif", frame)
    return str(path)


@pytest.fixture(scope="module")
def tracked(folder, tmp_path_factory):
    return bigseg.track(folder, str(tmp_path_factory.mktemp("a") / "out.zarr"), cluster="serial")


def ids(url: str) -> np.ndarray:
    return np.asarray(bigseg.open_labels(url).data)


def test_tracks_are_those_of_the_world(world, tracked):
    found = ids(tracked.labels)
    pairs = {(int(a), int(b)) for a, b in zip(world[1].ravel(), found.ravel(), strict=True)}
    assert len(pairs) == 12  # one id for each of 11 cells, and background
    assert (tracked.tracks, tracked.divisions, tracked.lineages) == (11, 1, 9)


def test_a_cell_that_was_missed_is_found_again(world, tracked):
    cell = np.unique(ids(tracked.labels)[world[1] == 1])
    table = read_table(tracked.table)
    row = {name: column[cell[0] - 1] for name, column in table.items()}
    assert (row["begin"], row["end"], row["missed"]) == (0, FRAMES - 1, 1)


def test_a_missed_cell_is_drawn_on_request(world, folder, tracked, tmp_path):
    filled = bigseg.track(folder, str(tmp_path / "g.zarr"), cluster="serial", fill_gaps=True)
    before, after = ids(tracked.labels), ids(filled.labels)
    new = (before == 0) & (after > 0)
    assert np.unique(np.nonzero(new)[0]).tolist() == [3]
    y, x = (c.mean() for c in np.nonzero(new[3]))
    assert (abs(y - 20), abs(x - 19.5)) <= (1, 1)
    assert abs(new.sum() - (before[2] == before[2, 20, 18]).sum()) <= 2
    np.testing.assert_array_equal(after[~new], before[~new])


def test_daughters_know_their_mother(world, tracked):
    found, table = ids(tracked.labels), read_table(tracked.table)
    mother, *daughters = (int(np.unique(found[world[1] == cell])[0]) for cell in (5, 10, 11))
    assert [table["parent"][d - 1] for d in daughters] == [mother, mother]
    assert table["division"][mother - 1] == 3
    assert table["generation"][daughters[0] - 1] == 1


def test_the_result_is_valid_ngff(tracked):
    validate(tracked.labels)
    assert describe(tracked.labels).axes == ("t", "y", "x")


def test_tables_tell_the_lineages_again(tracked):
    table, found = read_lineages(tracked.run)
    np.testing.assert_array_equal(table["track"], found.track)
    assert len(found) == tracked.tracks


def test_the_graph_says_the_same(tracked):
    table, found = read_lineages(tracked.run)
    graph = read_geff(f"{tracked.labels}/tracks.geff")
    assert len(graph.lineages()) == len(found)
    np.testing.assert_array_equal(graph.properties["seg_id"], table["track"])
    np.testing.assert_allclose(graph.position[:, 2], table["x"])
    data = np.loadtxt(f"{tracked.labels}/napari/tracks.csv", delimiter=",", skiprows=1)
    assert len(np.unique(data[:, 0])) == tracked.tracks


@pytest.mark.parametrize("fill", [False, True])
def test_a_folder_of_the_challenge(world, folder, tmp_path, fill):
    out = str(tmp_path / "01_RES")
    result = bigseg.track(
        folder, str(tmp_path / "d.zarr"), cluster="serial", ctc=out, fill_gaps=fill
    )
    found = open_ctc(out)
    assert len(found.rows) == result.tracks + (not fill)  # a missed frame ends a track there
    assert (found.rows[:, 3] > 0).sum() == 2 + (not fill)
    whole = tuple(slice(0, n) for n in found.masks.shape)
    for t in range(FRAMES):
        frame = found.masks.read((slice(t, t + 1), *whole[1:]))[0]
        inside = world[1][t] > 0
        assert (frame[inside] > 0).all()


def test_a_folder_that_is_not_empty_is_left_alone(folder, tmp_path):
    with pytest.raises(OutputExists, match="is not empty; choose another for --ctc"):
        bigseg.track(folder, str(tmp_path / "h.zarr"), cluster="serial", ctc=folder)


def test_windows_and_blocks_make_no_difference(folder, tracked, tmp_path):
    other = bigseg.track(
        folder, str(tmp_path / "b.zarr"), cluster="serial", window=3, objects_per_block=100
    )
    np.testing.assert_array_equal(ids(other.labels), ids(tracked.labels))


def test_labels_of_an_image_get_tracks_beside_them(world, tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, world[0], imagej=True, metadata={"axes": "TYX"})
    convert([str(file)], str(tmp_path / "a.zarr"))
    result = bigseg.track(str(tmp_path / "a.zarr"), cluster="serial")
    assert result.labels == str(tmp_path / "a-tracks.zarr")
    assert result.tracks == 11


def test_fast_mode(folder, tmp_path):
    result = bigseg.track(folder, str(tmp_path / "f.zarr"), cluster="serial", mode="fast")
    assert 11 <= result.tracks <= 13


def test_an_interrupted_run_goes_on(folder, tracked, tmp_path, monkeypatch):
    def stop(event):
        if getattr(event, "step", "") == "link":
            raise KeyboardInterrupt

    out = str(tmp_path / "c.zarr")
    with pytest.raises(KeyboardInterrupt, match="continues"):
        bigseg.track(folder, out, cluster="serial", listener=stop)
    result = bigseg.track(folder, out, cluster="serial")
    np.testing.assert_array_equal(ids(result.labels), ids(tracked.labels))


def test_a_finished_result_is_not_replaced_unasked(folder, tracked):
    with pytest.raises(OutputExists, match="is finished already"):
        bigseg.track(folder, tracked.labels, cluster="serial")


def test_nothing_at_all(tmp_path):
    (tmp_path / "empty").mkdir()
    for number in range(3):
        tifffile.imwrite(tmp_path / "empty" / f"{number}.tif", np.zeros((20, 20), np.uint8))
    result = bigseg.track(str(tmp_path / "empty"), str(tmp_path / "e.zarr"), cluster="serial")
    assert (result.tracks, result.divisions) == (0, 0)
    assert ids(result.labels).max() == 0


def test_the_output_must_not_lie_in_the_labels(folder):
    with pytest.raises(OutputExists, match="must not lie in each other"):
        bigseg.track(folder, f"{folder}/out.zarr", cluster="serial")


def test_other_settings_measure_nothing_again(folder, tracked, tmp_path):
    out = str(tmp_path / "i.zarr")
    bigseg.track(folder, out, cluster="serial")
    done = []
    result = bigseg.track(
        folder,
        out,
        cluster="serial",
        min_length=4,
        overwrite=True,
        listener=lambda event: done.append(event),
    )
    skipped = [e.step for e in done if isinstance(e, StageEnded) and e.skipped]
    assert skipped == ["detect", "detections", "overlap", "overlaps", "learn", "link"]
    np.testing.assert_array_equal(ids(result.labels), ids(tracked.labels))


def test_short_tracks_without_relatives_are_dropped(tmp_path):
    labels = np.zeros((5, 60, 60), np.uint8)
    for t in range(5):
        draw(labels[t], 1, 15, 15 + t)
    draw(labels[2], 2, 45, 45)
    (tmp_path / "a").mkdir()
    for t in range(5):
        tifffile.imwrite(tmp_path / "a" / f"{t}.tif", labels[t])
    out = str(tmp_path / "b.zarr")
    result = bigseg.track(str(tmp_path / "a"), out, cluster="serial", min_length=2)
    assert result.tracks == 1
    np.testing.assert_array_equal(ids(result.labels), labels == 1)


@pytest.fixture
def movie(tmp_path, monkeypatch):
    monkeypatch.setattr("bigseg.plans.lattice.TILINGS", {2: Tiling(128, 16)})
    return moving_nuclei(str(tmp_path / "movie.zarr"))


def test_an_image_is_segmented_and_tracked_in_one_run(movie):
    settings = {"cluster": "serial", "model": "nuclei", "segment": {"block": (64, 64)}}
    result = bigseg.track(movie, **settings)
    assert result.labels == f"{movie}/labels/cells-tracks"
    assert label_names(movie) == ["cells", "cells-tracks"]
    first, _, last = ids(result.labels)
    inner = first[20:-20, 20:-20], last[20:-20, 24:-16]
    assert len(np.unique(inner[0])) > 4
    assert (inner[0] == inner[1]).mean() > 0.95
    assert not np.isnan(read_table(f"{result.labels}/detections.parquet")["intensity"]).any()
    assert "<span>tracks</span>" in files.get(result.report).decode()
    with pytest.raises(OutputExists, match="is finished already"):
        bigseg.track(movie, **settings)
    again = bigseg.track(movie, overwrite=True, **settings)
    np.testing.assert_array_equal(ids(again.labels)[0], first)


def test_what_was_segmented_to_be_tracked_serves_again(movie):
    settings = {"cluster": "serial", "model": "nuclei", "segment": {"block": (64, 64)}}
    first = bigseg.track(movie, **settings)
    before = ids(first.labels)
    events = []
    again = bigseg.track(movie, min_length=3, overwrite=True, listener=events.append, **settings)
    done = [e.step for e in events if isinstance(e, StageEnded) and not e.skipped]
    assert done[0] == "lineages"
    assert label_names(movie) == ["cells", "cells-tracks"]
    assert again.tracks <= first.tracks
    assert (ids(again.labels) > 0).sum() <= (before > 0).sum()


def test_labels_of_others_are_not_replaced(movie):
    bigseg.segment(movie, model="nuclei", cluster="serial", block=(48, 48))
    with pytest.raises(OutputExists, match="exists already; track it without a model"):
        bigseg.track(movie, model="nuclei", cluster="serial")


def test_settings_of_a_segmentation_need_a_model(folder):
    with pytest.raises(SpecError, match="settings of a segmentation are given, but no model"):
        bigseg.track(folder, segment={"diameter": 12})
