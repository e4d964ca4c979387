"""Points are tracked as objects without outlines: tables, graph and report, but no labels."""

from __future__ import annotations

import numpy as np
import pytest

import bigseg
from bigseg import files
from bigseg.errors import ImageError, SpecError
from bigseg.io.geff import read_geff
from bigseg.io.tables import read_table, write_table
from tests.cells import moving_cells


@pytest.fixture(scope="module")
def cells():
    """Frame, y, x and true cell of all objects, in some order."""
    truth = moving_cells()[1]
    rows = []
    for t, frame in enumerate(truth):
        for cell in np.unique(frame)[1:]:
            y, x = (c.mean() for c in np.nonzero(frame == cell))
            rows.append((t, y, x, cell))
    return np.random.default_rng(0).permutation(np.array(rows))


@pytest.fixture(scope="module")
def table(cells, tmp_path_factory):
    url = tmp_path_factory.mktemp("points") / "spots.csv"
    lines = ["frame,y,x", *(f"{t:.0f},{y},{x}" for t, y, x, _ in cells)]
    url.write_text("\n".join(lines) + "\n")
    return str(url)


@pytest.fixture(scope="module")
def tracked(table):
    return bigseg.track(table, cluster="serial")


def test_points_are_tracked(cells, table, tracked):
    assert tracked.labels == table.replace(".csv", "-tracks")
    assert (tracked.tracks, tracked.divisions, tracked.lineages) == (11, 1, 9)
    found = read_table(f"{tracked.labels}/detections.parquet")
    true = cells[found["id"] - 1, 3]
    assert len(set(zip(true, found["track"], strict=True))) == 11
    np.testing.assert_allclose(found["y"], cells[found["id"] - 1, 1])


def test_others_can_read_them(tracked):
    graph = read_geff(f"{tracked.labels}/tracks.geff")
    assert len(graph.lineages()) == 11
    rows = np.loadtxt(f"{tracked.labels}/napari/tracks.csv", delimiter=",", skiprows=1)
    assert len(np.unique(rows[:, 0])) == 11
    page = files.get(tracked.report).decode()
    assert "<span>tracks</span>" in page
    assert "What was learned" in page


def test_a_graph_of_others_is_tracked_anew(tracked, tmp_path):
    again = bigseg.track(f"{tracked.labels}/tracks.geff", str(tmp_path / "a"), cluster="serial")
    assert (again.tracks, again.divisions) == (11, 1)


def test_parquet_with_sizes_and_a_unit(cells, tmp_path):
    t, y, x, cell = cells.T
    url = str(tmp_path / "a.parquet")
    size = np.where(cell >= 10, 50.0, 80.0)
    write_table(url, {"t": t.astype(int), "y": y, "x": x, "id": np.arange(len(t)), "area": size})
    result = bigseg.track(url, cluster="serial", voxel_size=(0.5, 0.5))
    found = read_table(f"{result.labels}/detections.parquet")
    assert result.tracks == 11
    np.testing.assert_allclose(found["y"], y[found["id"]] / 2)  # ids from 0 stay as they are
    np.testing.assert_array_equal(found["voxels"], size[found["id"]])


def test_corrections_name_points_by_frame_and_number(cells, table, tracked, tmp_path):
    row = int(np.flatnonzero((cells[:, 0] == 2) & (cells[:, 3] == 9))[0]) + 1
    edits = tmp_path / "e.toml"
    edits.write_text(f"delete = [[2, {row}]]\n")
    result = bigseg.track(table, str(tmp_path / "b"), cluster="serial", edits=str(edits))
    assert row not in read_table(f"{result.labels}/detections.parquet")["id"]
    edits.write_text("delete = [{frame = 2, y = 3, x = 3}]\n")
    again = {"cluster": "serial", "edits": str(edits), "overwrite": True}
    with pytest.raises(SpecError, match="points have no extent; name a point by its frame"):
        bigseg.track(table, str(tmp_path / "b"), **again)
    assert len(read_table(f"{result.labels}/tracks.parquet")["track"]) == result.tracks
    edits.write_text("")
    assert bigseg.track(table, str(tmp_path / "b"), **again).solved == 1
    edits.write_text(f"delete = [[2, {row}]]\n")
    assert bigseg.track(table, str(tmp_path / "b"), **again).solved == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,y\n0,1\n", "has no column 'x'; points need t, y and x"),
        ("t,y,x\n0,1,1\n0,5,5\n", r"has points in 1 frame\(s\), so there is nothing to track"),
        ("t,y,x,id\n0,1,1,7\n1,5,5,7\n", "has the id 7 2 times; each point needs an id of its own"),
        ("t,y,x\n0,1,1\n1,,5\n", "gives point 2 the position"),
        ("t,y,x\n0,1,1\n1.5,3,5\n", "has the frame 1.5; frames are whole numbers from 0"),
        ("t,y,x\n0,1,a\n1,3,5\n", "Column 'x' of .* holds something else than numbers"),
    ],
)
def test_tables_that_hold_no_points(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises((ImageError, ValueError), match=message):
        bigseg.track(str(tmp_path / "a.csv"), cluster="serial")
    assert not (tmp_path / "a-tracks").exists()


@pytest.mark.parametrize("more", [{"fill_gaps": True}, {"ctc": "x"}, {"model": "nuclei"}])
def test_points_have_no_outlines(table, more):
    with pytest.raises(SpecError, match="needs outlines of objects, but points have none"):
        bigseg.track(table, **more)
