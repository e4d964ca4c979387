"""Tracks are scored the same whatever form they come in."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from ctc_metrics import evaluate_sequence
from numpy.typing import NDArray

from bigseg.cli import main
from bigseg.errors import BigsegError
from bigseg.io.create import create_arrays
from bigseg.io.ctc import write_mask, write_result, write_rows
from bigseg.io.geff import About, write_geff
from bigseg.io.labels import create_labels
from bigseg.io.plan import plan_image
from bigseg.io.tables import write_table
from bigseg.io.volume import Volume
from bigseg.stages import evaluate_tracks as stage
from bigseg.stages.evaluate_tracks import evaluate_tracks
from tests.core.tracking import worlds

Array = NDArray[Any]


def folders(folder: Path, seed: int = 0, wrong: float = 0.05) -> tuple[str, str]:
    """A result and a truth with outlines."""
    true = worlds.truth(seed)
    result = worlds.tracked(true, seed + 10, wrong=wrong)
    masks, (_, rows) = worlds.painted(result), result.challenge()
    write_result(str(folder / "01_RES"), masks, rows, len(masks))
    truth, (_, rows) = worlds.painted(true), true.challenge()
    tra, seg = folder / "01_GT" / "TRA", folder / "01_GT" / "SEG"
    for t, plane in enumerate(truth):
        write_mask(str(tra), t, plane, rows, len(truth), prefix="man_track")
    write_rows(str(tra), rows, "man_track.txt")
    seg.mkdir()
    for t in (2, 5):
        tifffile.imwrite(seg / f"man_seg{t:03d}.tif", np.roll(truth[t], 1, axis=1))
    return str(folder / "01_RES"), str(folder / "01_GT")


@pytest.mark.parametrize("seed", range(3))
def test_folders_score_as_by_py_ctcmetrics(tmp_path: Path, seed: int) -> None:
    result, truth = folders(tmp_path, seed)
    found = evaluate_tracks(result, truth, workers=2)
    values = found.scores.values()
    metrics = ["DET", "SEG", "TRA", "LNK", "CT", "TF", "BC", "CCA"]
    expected = evaluate_sequence(result, truth, metrics=metrics, threads=1)
    compared = [name for name in values if name in expected]
    assert len(compared) == 17
    for name in compared:
        value = math.nan if expected[name] is None else expected[name]
        assert values[name] == pytest.approx(value, nan_ok=True), name
    assert 0 < values["SEG"] < 1
    assert f"TRA {values['TRA']:.4f}" in found.text()
    assert found.as_dict()["scores"]["TRA"] == values["TRA"]


def test_blocks_and_threads_change_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    result, truth = ngff(tmp_path, 0), ngff(tmp_path, 1)
    whole = evaluate_tracks(result, truth, workers=1).as_dict()
    monkeypatch.setattr(stage, "VOXELS", 64)
    assert evaluate_tracks(result, truth, workers=3).as_dict() == whole
    assert 0.5 < whole["scores"]["TRA"] < 1


def ngff(folder: Path, which: int) -> str:
    """Labels as NGFF, with a table of tracks beside them."""
    true = worlds.truth(4)
    world = true if which else worlds.tracked(true, 5, wrong=0.05)
    masks, (_, rows) = worlds.painted(world), world.challenge()
    url = str(folder / f"{which}.zarr")
    shape, scale = masks.shape, (1.0, 1.0, 1.0)
    plan = plan_image(url, ("t", "y", "x"), shape, np.uint32, scale, (1, 8, 8))
    create_labels(plan, None)
    create_arrays(plan, labels=True)
    whole = tuple(slice(0, n) for n in (shape[0], 1, *shape[1:]))
    Volume(plan, 0).write(whole, masks.astype(np.uint32)[:, None])
    lines = dict(zip(("track", "begin", "end", "parent"), rows.T, strict=True))
    write_table(f"{url}/tracks.parquet", lines)
    return url


def test_label_images_and_folders_are_the_same(tmp_path: Path) -> None:
    true = worlds.truth(4)
    masks, (_, rows) = worlds.painted(true), true.challenge()
    write_result(str(tmp_path / "01_RES"), masks, rows, len(masks))
    pair = ngff(tmp_path, 1), str(tmp_path / "01_RES")
    for one, other in (pair, pair[::-1]):
        found = evaluate_tracks(one, other)
        assert found.notes == ()
        assert all(v == 1 for v in found.scores.values().values() if not math.isnan(v))
        assert found.scores.seg == 1


def test_labels_without_a_table_have_no_parents(tmp_path: Path) -> None:
    url = ngff(tmp_path, 1)
    lines = str(tmp_path / "lines.parquet")
    Path(url, "tracks.parquet").rename(lines)
    found = evaluate_tracks(url, url, lines=lines)
    assert found.scores.operations.ED > 0
    assert found.scores.ct == 1
    assert "Nobody says what descends from what in" in found.notes[0]
    assert evaluate_tracks(url, url, lines=lines, true_lines=lines).scores.operations.tra == 1


def test_points_come_as_geff_or_tables(tmp_path: Path) -> None:
    true = worlds.truth(4)
    result = worlds.tracked(true, 5, wrong=0.05)
    urls = []
    for name, world in (("true", true), ("result", result)):
        place = np.stack([0 * world.slot, world.slot, 0 * world.slot], axis=1).astype(float)
        urls.append(str(tmp_path / f"{name}.geff"))
        write_geff(urls[-1], world.found, world.slot, place, About(axes="yx"))
        rows = np.arange(1, len(world.frame) + 1)
        parent = np.zeros(len(rows), int)
        parent[world.found.links[:, 1]] = rows[world.found.links[:, 0]]
        columns = {"id": rows, "t": world.frame, "y": world.slot, "x": 0 * rows, "parent": parent}
        urls.append(str(tmp_path / f"{name}.parquet"))
        write_table(urls[-1], columns)
    found = [
        evaluate_tracks(urls[a], urls[b], distance=0.5).scores for a, b in ((2, 0), (3, 1), (2, 1))
    ]
    assert str(found[0]) == str(found[1]) == str(found[2])  # nan is not equal to itself
    assert 0.5 < found[0].operations.tra < 1
    assert found[0].tracks == (len(result.found), len(true.found))


def test_outlines_of_a_volume_may_be_of_one_plane(tmp_path: Path) -> None:
    labels = np.zeros((2, 3, 6, 6), np.uint16)
    labels[:, :, 1:5, 1:5] = 1
    rows = np.array([[1, 0, 1, 0]])
    tra, seg = tmp_path / "01_GT" / "TRA", tmp_path / "01_GT" / "SEG"
    for t in range(2):
        write_mask(str(tra), t, labels[t], rows, 2, prefix="man_track")
    write_rows(str(tra), rows, "man_track.txt")
    ours = labels.copy()
    ours[0, 1, 1] = 0  # 12 of 16 voxels of the plane are left
    write_result(str(tmp_path / "01_RES"), ours, rows, 2)
    seg.mkdir()
    tifffile.imwrite(seg / "man_seg_000_001.tif", labels[0, 1])
    result, truth = str(tmp_path / "01_RES"), str(tmp_path / "01_GT")
    assert evaluate_tracks(result, truth).scores.seg == 12 / 16
    tifffile.imwrite(seg / "man_seg001.tif", labels[1], photometric="minisblack")
    assert evaluate_tracks(result, truth).scores.seg == pytest.approx((12 / 16 + 1) / 2)
    assert evaluate_tracks(result, f"{tra}/man_track.txt").scores.operations.tra == 1
    tifffile.imwrite(seg / "man_seg_001_002.tif", labels[0, 1, 1:])
    with pytest.raises(BigsegError, match=r"man_seg_001_002.tif has the shape \(1, 5, 6\), but"):
        evaluate_tracks(result, truth)


def changed(folder: Path, what: str) -> tuple[str, str]:
    result, truth = folders(folder)
    path = Path(result)
    if what == "frames":
        write_rows(result, np.array([[1, 0, 5, 0]]))
        for mask in sorted(path.glob("mask*.tif"))[6:]:
            mask.unlink()
    elif what == "shape":
        for mask in path.glob("mask*.tif"):
            tifffile.imwrite(mask, tifffile.imread(mask)[1:])
    elif what == "label":
        masks = tifffile.imread(path / "mask000.tif")
        masks[masks == masks.max()] = 999
        tifffile.imwrite(path / "mask000.tif", masks)
    elif what == "twice":
        text = (path / "res_track.txt").read_text()
        (path / "res_track.txt").write_text(text + "1 0 3 0\n")
    elif what == "points":
        result = str(folder / "p.csv")
        Path(result).write_text("id,t,y,x,parent\n1,0,1,1,0\n")
    elif what == "nothing":
        result = str(folder / "none.geff")
    return result, truth


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("frames", "01_RES has 6 frames, but .*01_GT has 12; tracks are compared frame by frame"),
        ("shape", r"01_RES has frames of \(z, y, x\) = \(1, 23, 40\) voxels, but .* \(1, 24, 40\)"),
        ("label", "01_RES: Label 999 in frame 0 has no line; add one"),
        ("twice", "Track 1 has 2 lines; each track needs one of its own"),
        ("points", r"p.csv holds points and .*01_GT masks; give both as masks or both as points"),
        ("nothing", "There is no GEFF graph at .*none.geff"),
    ],
)
def test_what_cannot_be_compared_is_named(tmp_path: Path, what: str, message: str) -> None:
    with pytest.raises(BigsegError, match=message):
        evaluate_tracks(*changed(tmp_path, what))


def test_points_need_a_distance_and_masks_none(tmp_path: Path) -> None:
    points, truth = changed(tmp_path, "points")
    with pytest.raises(BigsegError, match=r"hold points; give the distance, .*--distance"):
        evaluate_tracks(points, points)
    with pytest.raises(BigsegError, match="masks are matched by their overlap: leave it"):
        evaluate_tracks(truth, truth, distance=3)


def test_points_that_end_elsewhere_are_told(tmp_path: Path) -> None:
    for name, last in (("a", 1), ("b", 2)):
        rows = "".join(f"{t + 1},{t},1,1,{t}\n" for t in range(last + 1))
        (tmp_path / f"{name}.csv").write_text(f"id,t,y,x,parent\n{rows}")
    found = evaluate_tracks(str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), distance=1)
    assert found.notes == ("The last points are of frame 1, in the truth of frame 2.",)
    assert found.scores.links.recall == 0.5


def test_lines_are_tables(tmp_path: Path) -> None:
    url = ngff(tmp_path, 1)
    with pytest.raises(BigsegError, match=r"lines.tif is no table of tracks: that is CSV or"):
        evaluate_tracks(url, url, lines=str(tmp_path / "lines.tif"))


def test_a_table_of_other_labels_is_refused(tmp_path: Path) -> None:
    url = ngff(tmp_path, 1)
    lines = {"track": [1], "begin": [0], "end": [3], "parent": [0]}
    write_table(f"{url}/tracks.parquet", {k: np.array(v) for k, v in lines.items()})
    with pytest.raises(BigsegError, match=r"1.zarr: label \d+ in frame \d+ has no row in its"):
        evaluate_tracks(url, url)


def said(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_command_prints_a_table_or_json(tmp_path: Path, capsys: Any) -> None:
    result, truth = folders(tmp_path)
    code, out, _ = said(capsys, "--tracks", result, truth)
    assert code == 0
    assert "tracking    TRA 0." in out
    assert "division F1" in out
    code, out, _ = said(capsys, "--tracks", result, truth, "--json")
    assert 0 < json.loads(out)["scores"]["LNK"] < 1


def test_the_command_refuses_what_it_would_ignore(tmp_path: Path, capsys: Any) -> None:
    code, _, err = said(capsys, "a", "b", "--distance", "3")
    assert (code, err) == (
        2,
        "Error: --distance is of tracks; give --tracks, too; see 'bigseg evaluate --help'.\n",
    )
    code, _, err = said(capsys, "a", "b", "--tracks", "--across-frames")
    assert code == 2
    assert "--across-frames judges labels; leave it out with --tracks" in err
    code, _, err = said(capsys, str(tmp_path / "a"), str(tmp_path / "b"), "--tracks")
    assert code == 1
    assert err.startswith("Error: There is nothing at")
