"""Graphs come back from GEFF as they were; tests/parity has geff itself read and validate them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from bigseg.core.tracking.lineage import LineageError
from bigseg.errors import ImageError, NotFound, OutputExists
from bigseg.io.geff import About, is_geff, read_geff, write_geff
from tests.core.tracking import worlds


def example(seed: int = 0) -> Any:
    world = worlds.tracked(worlds.truth(seed), seed + 1)
    position = np.random.default_rng(seed).random((len(world.frame), 3))
    return world.found, world.slot, position


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_graph_comes_back(tmp_path: Path, zarr_format: Any) -> None:
    found, label, position = example()
    gain = np.arange(len(found.links), dtype=np.float32)
    about = About(
        units={"z": "micrometer"}, nodes={"size": np.arange(len(label))}, edges={"gain": gain}
    )
    url = str(tmp_path / "t.geff")
    write_geff(url, found, label, position, about, zarr_format=zarr_format)
    assert is_geff(url)
    read = read_geff(url)
    again = read.lineages()
    np.testing.assert_array_equal(again.track, found.track)
    np.testing.assert_array_equal(again.links, found.links)
    np.testing.assert_array_equal(read.position, position)
    np.testing.assert_array_equal(read.properties["seg_id"], label)
    np.testing.assert_array_equal(read.properties["tracklet"], found.track)
    np.testing.assert_array_equal(read.properties["size"], np.arange(len(label)))
    assert read.units == {"t": "frame", "z": "micrometer"}


def test_planes_have_no_z_and_name_their_labels(tmp_path: Path) -> None:
    found, label, position = example()
    url = str(tmp_path / "tracks" / "t.geff")
    about = About(axes="yx", labels=str(tmp_path / "image.zarr" / "labels" / "cells"))
    write_geff(url, found, label, position, about)
    metadata = json.loads(Path(url, ".zattrs").read_text())["geff"]
    assert [a["name"] for a in metadata["axes"]] == ["t", "y", "x"]
    assert metadata["related_objects"] == [
        {"type": "labels", "path": "../../image.zarr/labels/cells", "label_prop": "seg_id"}
    ]
    read = read_geff(url)
    assert (read.position[:, 0] == 0).all()
    np.testing.assert_array_equal(read.position[:, 1:], position[:, 1:])


def test_nothing_is_a_graph_too(tmp_path: Path) -> None:
    none = worlds.made(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2), int))
    url = f"memory://{tmp_path.name}/none.geff"
    write_geff(url, none.found, none.slot, np.zeros((0, 3)))
    assert len(read_geff(url).frame) == 0


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    found, label, position = example()
    url = str(tmp_path / "t.geff")
    write_geff(url, found, label, position)
    with pytest.raises(OutputExists, match="There is something at"):
        write_geff(url, found, label, position)
    write_geff(url, found, label, position, About(axes="yx"), overwrite=True)
    assert "z" not in read_geff(url).properties
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(OutputExists, match="mine is no GEFF, so it is not overwritten"):
        write_geff(str(tmp_path / "mine"), found, label, position, overwrite=True)


def test_properties_must_fit(tmp_path: Path) -> None:
    found, label, position = example()
    for nodes, message in (
        ({"t": label}, "cannot be called 't'"),
        ({"size": label[:-1]}, "'size' needs one number for each of"),
        ({"size": label.astype(str)}, "'size' needs one number for each of"),
    ):
        with pytest.raises(ImageError, match=message):
            write_geff(str(tmp_path / "t"), found, label, position, About(nodes=nodes))
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"geff_version": "2.0"}, "is GEFF 2.0; versions 1.x can be read"),
        ({"directed": False}, "is not directed"),
        ({"axes": [{"name": "t", "type": "time"}]}, r"axes y, x or z, y, x of space; it has t"),
        ({"node_props_metadata": {}}, "have no values for the axis 't'"),
    ],
)
def test_graphs_that_are_no_tracks_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    url = str(tmp_path / "t.geff")
    write_geff(url, *example())
    place = Path(url, ".zattrs")
    place.write_text(json.dumps({"geff": json.loads(place.read_text())["geff"] | change}))
    with pytest.raises(ImageError, match=message):
        read_geff(url)


@pytest.mark.parametrize("left", ["", "nodes/ids", "nodes/ids .zgroup"])
def test_what_a_killed_writer_left_is_replaced(tmp_path: Path, left: str) -> None:
    found, label, position = example()
    url = tmp_path / "t.geff"
    write_geff(str(url), found, label, position)
    for path in [p for p in url.rglob("*") if p.is_file()]:
        if not str(path.relative_to(url)).startswith(tuple(left.split()) or " "):
            path.unlink()
    assert not is_geff(str(url))
    write_geff(str(url), found, label, position, overwrite=True)
    assert len(read_geff(str(url)).frame) == len(found.frame)


def test_edges_of_unknown_nodes_are_refused(tmp_path: Path) -> None:
    found, label, position = example()
    url = str(tmp_path / "t.geff")
    write_geff(url, found, label, position)
    edges: Any = zarr.open_array(f"{url}/edges/ids", mode="r+")
    edges[0] = [0, 99_999]
    with pytest.raises(LineageError, match="names point 99999, which is not there"):
        read_geff(url)
    ids: Any = zarr.open_array(f"{url}/nodes/ids", mode="r+")
    ids[1] = 0
    with pytest.raises(LineageError, match="has the id 0 2 times; each point needs"):
        read_geff(url)
    with pytest.raises(NotFound, match="There is no GEFF graph at"):
        read_geff(str(tmp_path))
