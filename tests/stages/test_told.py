"""Runs that segment no image with a model have pages, too: merged tiles, and objects of maps."""

from pathlib import Path

import numpy as np
import pytest

from bigseg.corrections.correct import correct
from bigseg.errors import BlocksFailed
from bigseg.io.tables import read_table
from bigseg.jobs.maps import segment_maps
from bigseg.jobs.tiles import merge
from bigseg.specs.maps import EmSpec
from bigseg.stages import publish, report, tile_publish
from tests.maps import boundary, cells
from tests.stages.test_report import page_of, pictures
from tests.tiled import displaced, save, voronoi
from tests.worlds import make_image


def merged(folder: Path, **settings: object) -> str:
    """Six tiles that are up to two voxels off; the run of the merge."""
    truth = voronoi((120, 150), 40, 2.0)
    tiles = save(folder / "tiles", displaced(truth, (66, 80), 12, most=2))
    done = merge(tiles, f"{folder}/all.zarr", cluster="serial", **settings)
    assert done.report == report.url(done.run)
    assert f"report  {done.report}" in done.text()
    return done.run


def test_merged_tiles_are_shown_without_an_image(tmp_path: Path) -> None:
    run = merged(tmp_path)
    page = page_of(run)
    count = len(read_table(publish.table_url(f"{tmp_path}/all.zarr"))["id"])
    assert "<h1>all.zarr</h1>" in page
    assert f"<b>{count}</b><span>objects</span>" in page
    assert "lie across tile faces" in page
    assert "Labels of tiles, merged by bigseg" in page
    assert "<figcaption>Image</figcaption>" not in page
    assert page.count("<figcaption>Objects found</figcaption>") == 1
    assert "Tiles touch over" in page
    assert "tile_y0_x0.npy | tile_y0_x68.npy" in page
    assert "<td>edges</td>" not in page, "tiles have faces only"
    assert page.count("<figcaption>What both tiles said</figcaption>") >= 2
    assert "Certificate" in page
    assert "Flow error" not in page
    for step in ("tiles", "merge", "write", "publish", "seams"):
        assert f"<td>{step}</td>" in page
    assert "<td>6, the first " in page
    assert "All settings have defaults" not in page, "tiles were named"


def test_pictures_of_merged_tiles_show_objects_and_the_faces_of_tiles(tmp_path: Path) -> None:
    page = page_of(merged(tmp_path, voxel_size=(0.5, 0.5), unit="micrometer"))
    found, seams = (np.array(p.convert("RGB")) for p in pictures(page)[:2])
    assert (found.max(-1) > 60).mean() > 0.6, "cells fill most of the picture"
    rows, columns = (np.flatnonzero((seams == 255).all(-1).sum(1 - n) > 100) for n in (0, 1))
    # Tiles end at 66 and begin at 54 along y; end at 80 and begin at 68 along x.
    zoom = seams.shape[1] / 150
    assert {round(r / zoom) for r in rows} >= {54, 66}
    assert {round(c / zoom) for c in columns} >= {68, 80}
    assert "µm²" in page


def test_tiles_that_cannot_be_read_are_reported_on(tmp_path: Path, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no voxels here")

    monkeypatch.setattr("bigseg.stages.write_tiles.block", broken)
    with pytest.raises(BlocksFailed):
        merged(tmp_path)
    page = page_of(report.renew(f"{tmp_path}/all.zarr.bigseg").removesuffix("/report/report.html"))
    assert "no voxels here" in page
    assert "The run has not written its labels." in page


def test_a_correction_is_told_and_faces_are_counted_again(tmp_path: Path) -> None:
    run = merged(tmp_path)
    before = page_of(run)
    origins = read_table(tile_publish.origins_url(f"{tmp_path}/all.zarr"))
    ids, tiles = np.unique(origins["id"][origins["id"] > 0], return_counts=True)
    lone = ids[tiles == 1][:2].tolist()
    correct(run, {"merge": [{"ids": lone}]})
    page = page_of(run)
    assert "Corrected by hand" in page
    assert f"{lone[0]} + {lone[1]} into {lone[0]}" in page
    assert "Faces were counted anew" in page
    assert "Corrected by hand" not in before


def segmented(folder: Path, maps: np.ndarray, **settings: object) -> str:
    make_image(f"{folder}/maps.zarr", maps, "czyx")
    spec = EmSpec(image=f"{folder}/maps.zarr", block=(16, 16, 16), halo=12, **settings)
    done = segment_maps(spec, cluster="serial")
    assert done.report == report.url(done.run)
    assert f"report  {done.report}" in done.text()
    return page_of(done.run)


def test_objects_of_boundaries_are_filled_and_contacts_told(tmp_path: Path) -> None:
    maps = boundary(cells((20, 24, 28), 10, 3).astype(np.uint32))
    page = segmented(tmp_path, maps[None], source="boundaries")
    table = read_table(publish.table_url(f"{tmp_path}/maps.zarr/labels/segments"))
    across = np.zeros(len(table["id"]), bool)
    for axis in "zyx":
        across |= table[f"{axis}0"] // 16 != (table[f"{axis}1"] - 1) // 16
    assert "<h1>maps.zarr: segments</h1>" in page
    assert f"{across.sum()} of {len(across)} objects" in page
    assert "Each object is filled with a colour of its own" in page
    assert "supervoxels of an object" in page
    assert "voxels in contact" in page
    assert "split objects" not in page, "there are no overlaps"
    assert "faces (12)" in page
    assert "Certificate" in page
    assert 'scope="row">Maps of</th><td>boundaries</td>' in page


def test_affinities_are_shown_as_colours(tmp_path: Path) -> None:
    maps = boundary(cells((8, 24, 28), 6, 3).astype(np.uint32))
    affinities = np.repeat(255 - np.uint8(255 * maps)[None], 4, 0)
    page = segmented(
        tmp_path,
        affinities,
        source="affinities",
        offsets=((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, -4, 0)),
    )
    assert 'scope="row">Channels</th><td>0, 1, 2</td>' in page
    shown = np.array(pictures(page)[0].convert("RGB")).astype(int)
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 10
