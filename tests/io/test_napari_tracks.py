"""Tables and graphs are what napari.layers.Tracks takes."""

from pathlib import Path

import numpy as np
import pytest

from bigseg.core.tracking.lineage import lineages
from bigseg.io.napari_tracks import napari_tracks, read_graph, write_napari
from tests.core.tracking import worlds


@pytest.mark.parametrize("axes", ["zyx", "yx"])
def test_rows_are_sorted_and_the_graph_names_tracks_that_are_there(axes: str) -> None:
    world = worlds.tracked(worlds.truth(3), 4)
    data, graph = napari_tracks(world.found, np.ones((len(world.frame), 3)), axes=axes)
    assert data.shape == (len(world.frame), 2 + len(axes))
    assert (np.lexsort((data[:, 1], data[:, 0])) == np.arange(len(data))).all()
    assert len(np.unique(data[:, :2], axis=0)) == len(data)
    ids = set(data[:, 0])
    assert set(graph) <= ids
    assert {p for parents in graph.values() for p in parents} <= ids
    assert len(graph) == (world.found.parent > 0).sum() > 0


def test_merges_have_two_parents_and_files_come_back(tmp_path: Path) -> None:
    frame, label = np.array([0, 0, 1]), np.array([1, 2, 1])
    found = lineages(frame, label, np.array([[0, 2], [1, 2]]), merging=True)
    position = np.array([[0.1, 1 / 3, 2], [3, 4, 5], [6, 7, 1e-9]])
    data, graph = napari_tracks(found, position)
    assert graph == {3: [1, 2]}
    table, tree = write_napari(str(tmp_path), data, graph)
    assert Path(table).read_text().startswith("track_id,t,z,y,x\n1,0,")
    assert (np.loadtxt(table, delimiter=",", skiprows=1) == data).all()
    assert read_graph(tree) == graph
