"""Every face is accounted for, and what is doubtful is found."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from bigseg.io.tables import read_table, write_table
from bigseg.jobs import tiles as merging
from bigseg.run.execute import ALONE, run_steps
from bigseg.stages import components, doubtful, label, merge, seams
from bigseg.stages.graph import edges_url, ids_url, write_nodes_array
from bigseg.stages.opinions import read_opinion, write_opinion
from bigseg.types import Facts
from tests.worlds import Cut, ball, balls, in_plane, plan_world

FLAT = Cut((1, 32, 32), (0, 20, 20), ndim=2)


def segmented(folder: Path, truth: np.ndarray, cut: Cut) -> seams.Spec:
    run = plan_world(str(folder), truth, cut)
    run_steps(run, ALONE)
    joined, labelled = run.step("components").spec, run.step("label").spec
    assert isinstance(joined, components.Spec)
    assert isinstance(labelled, label.Spec)
    return seams.Spec(joined=joined, opinions=labelled)


def counted(spec: seams.Spec) -> Facts:
    facts = [seams.block(spec, block, seams.read(spec, block)) for block in spec.grid]
    return seams.finish(spec, facts)


def tables(spec: seams.Spec) -> tuple[dict[str, Any], dict[str, Any]]:
    run = spec.joined.run
    return read_table(seams.seams_url(run)), read_table(doubtful.doubtful_url(run))


def test_every_face_has_a_row_and_perfect_opinions_leave_no_doubt(tmp_path: Path) -> None:
    truth = balls((40, 44, 48), 14, (4, 7), seed=3)[None]
    spec = segmented(tmp_path, truth, Cut((16, 22, 24), (14, 14, 14)))
    facts = counted(spec)
    faces, worst = tables(spec)
    assert len(faces["a"]) == 2 * 2 * 2 + 3 * 2 + 3 * 2 == facts["faces"]["count"]
    assert faces["axis"].tolist()[:3] == [3, 2, 1], "in the order of both blocks"
    assert set(faces["position"][faces["axis"] == 1]) == {16, 32}
    assert (faces["b"] - faces["a"])[faces["axis"] == 2].tolist() == [2] * 6
    whole = edges_of(spec)
    assert sum(facts[kind]["edges"] for kind in ("faces", "edges", "corners")) == whole
    assert facts["faces"]["matched"] > 0
    assert [facts["faces"][name] for name in ("doubtful", "split", "alone")] == [0, 0, 0]
    assert len(worst["u"]) == 0


def edges_of(spec: seams.Spec) -> int:
    blocks = spec.opinions.grid if spec.opinions else ()
    return sum(len(read_table(edges_url(spec.joined.run, b.id))["u"]) for b in blocks)


def two_blocks(tmp_path: Path) -> seams.Spec:
    """One disc across the face between two blocks."""
    truth = in_plane(ball((32, 64), (16, 32), 9).astype(np.uint32))
    return segmented(tmp_path, truth, FLAT)


def test_a_disc_cut_against_evidence_is_split_and_doubtful(tmp_path: Path) -> None:
    spec = two_blocks(tmp_path)
    assert counted(spec)["faces"]["matched"] == 1
    write_nodes_array(ids_url(spec.joined.run), np.array([1, 2], np.uint64))
    facts = counted(spec)["faces"]
    assert [facts[n] for n in ("matched", "doubtful", "outvoted", "split")] == [0, 1, 1, 2]
    faces, worst = tables(spec)
    assert faces["position"].tolist() == [32]
    assert facts["cut_voxels"] == worst["n_uv"][0] > 100
    assert faces["margin"][0] == worst["margin"][0] < -2
    assert [int(worst[name][0]) for name in ("id_u", "id_v", "t", "z", "y")] == [1, 2, 0, 0, 16]
    assert 24 < worst["x"][0] < 40


def test_an_object_that_the_block_beyond_does_not_see_is_alone(tmp_path: Path) -> None:
    spec = two_blocks(tmp_path)
    assert spec.opinions is not None
    block = spec.opinions.grid[1]
    write_opinion(spec.opinions, block, 0 * read_opinion(spec.opinions, block))
    facts = again(spec)
    assert facts["faces"]["edges"] == 0
    assert facts["faces"]["alone"] == 2, "each side's part of the disc"
    faces, _ = tables(spec)
    assert np.isinf(faces["margin"][0])


def again(spec: seams.Spec) -> Facts:
    """Compare opinions again, without changing objects."""
    assert spec.opinions is not None
    compared = merge.Spec(opinions=spec.opinions)
    facts = [merge.block(compared, b, merge.read(compared, b)) for b in compared.grid]
    merge.finish(compared, facts)
    return counted(spec)


def test_groups_and_unknown_places_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = in_plane(balls((96, 96), 20, (4, 9), seed=8))
    spec = segmented(tmp_path, truth, FLAT)
    ids = np.arange(1, 200, dtype=np.uint64)
    write_nodes_array(ids_url(spec.joined.run), ids[: read_table(offsets(spec))["offset"][-1]])
    facts = counted(spec)
    before = tables(spec)
    monkeypatch.setattr(seams, "GROUP", 2)
    monkeypatch.setattr(seams, "CHUNK", 7)
    assert len(spec.grid) == 5
    assert counted(spec) == facts
    for old, new in zip(before, tables(spec), strict=True):
        for name in old:
            np.testing.assert_array_equal(old[name], new[name])
    anywhere = counted(seams.Spec(joined=spec.joined))
    assert anywhere["faces"]["edges"] == edges_of(spec)
    assert set(tables(spec)[1]["z"]) == {-1}


def offsets(spec: seams.Spec) -> str:
    return f"{spec.joined.run}/graph/offsets.parquet"


def test_weak_evidence_is_doubtful_even_where_it_was_followed(tmp_path: Path) -> None:
    spec = two_blocks(tmp_path)
    url = edges_url(spec.joined.run, "0-0-0-0")
    table = read_table(url)
    write_table(url, {**table, "n_uv": table["n_uv"] // 2})
    facts = counted(spec)["faces"]
    assert (facts["matched"], facts["doubtful"], facts["outvoted"]) == (0, 1, 0)
    assert 0 < tables(spec)[1]["margin"][0] < 1


def test_tiles_that_disagree_are_found_where_they_do(tmp_path: Path) -> None:
    disc = ball((32, 40), (14, 20), 6).astype(np.uint16)
    parts = disc * np.where(np.arange(40) < 23, 1, 2).astype(np.uint16)
    tifffile.imwrite(tmp_path / "tile_y000_x000.tif", disc[:, :32])
    tifffile.imwrite(tmp_path / "tile_y000_x008.tif", parts[:, 8:])
    merging.merge(
        str(tmp_path / "*.tif"),
        f"{tmp_path}/all.zarr",
        pattern="tile_y{y}_x{x}.tif",
        cluster="serial",
    )
    run = f"{tmp_path}/all.zarr.bigseg"
    faces, worst = read_table(seams.seams_url(run)), read_table(doubtful.doubtful_url(run))
    assert faces["edges"].tolist() == [2]
    assert (faces["matched"].tolist(), faces["doubtful"].tolist()) == ([1], [1])
    assert all(disc[y, x] for y, x in zip(worst["y"], worst["x"], strict=True))
    assert worst["kept"].tolist() == [True]
    assert worst["x"][0] >= 23, "the smaller part"
