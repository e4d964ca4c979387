"""Objects that become one are told of in tables, graphs and the report."""

from __future__ import annotations

import json

import numpy as np
import pytest

import bigseg
from bigseg import files
from bigseg.errors import SpecError
from bigseg.io.geff import read_geff
from bigseg.io.tables import read_table
from tests.cells import moving_cells, write_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Dividing cells, last frame first."""
    return write_frames(tmp_path_factory.mktemp("series"), moving_cells()[0][::-1])


def test_a_merge_is_in_all_results(folder, tmp_path):
    out = str(tmp_path / "a.zarr")
    found = bigseg.track(folder, out, cluster="serial", merging=True)
    tracks = read_table(found.table)
    fused = np.flatnonzero(tracks["other_parent"])
    assert found.merges == len(fused) > 0
    assert f"{found.merges} merges" in found.text()
    assert "merges" in files.get(found.report).decode()
    graph = json.loads(files.get(files.join(out, "napari", "graph.json")))
    links = read_geff(files.join(out, "tracks.geff")).links
    _, counts = np.unique(links[:, 1], return_counts=True)
    assert (counts == 2).sum() == found.merges
    for row in fused:
        pair = [int(tracks[name][row]) for name in ("parent", "other_parent")]
        assert graph[str(tracks["track"][row])] == pair
        assert (tracks["end"][np.array(pair) - 1] < tracks["begin"][row]).all()
        assert len(set(tracks["lineage"][[row, *(p - 1 for p in pair)]])) == 1


def test_unless_it_is_asked_for_nothing_merges(folder, tmp_path):
    found = bigseg.track(folder, str(tmp_path / "a.zarr"), cluster="serial")
    assert found.merges == 0
    assert not read_table(found.table)["other_parent"].any()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"mode": "fast"}, "only merge in mode global"),
        ({"ctc": "01_RES"}, "one parent for a track"),
    ],
)
def test_what_cannot_be_is_refused(folder, tmp_path, more, message):
    with pytest.raises(SpecError, match=message):
        bigseg.track(folder, str(tmp_path / "a.zarr"), cluster="serial", merging=True, **more)
    assert not (tmp_path / "a.zarr").exists()
