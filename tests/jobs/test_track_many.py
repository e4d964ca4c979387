"""Many series on one cluster: each a run of its own, and one that fails stops no other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

import bigseg
from bigseg.cli.app import main
from bigseg.errors import NotFound, SpecError
from bigseg.io.convert import convert
from bigseg.jobs.track_series import specifications
from tests.cells import moving_cells, write_frames


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """Three series, of which the one in the middle lacks a frame."""
    place = tmp_path_factory.mktemp("plate")
    for number in range(3):
        write_frames(place / f"well{number}", moving_cells(number)[0][:5])
    (place / "well1" / "mask002.tif").unlink()
    return place


def test_one_that_fails_is_named_and_the_others_go_on(plate, tmp_path):
    result = bigseg.track_many([f"{plate}/well*"], str(tmp_path), cluster="serial")
    assert [one.result is not None for one in result.series] == [True, False, True]
    assert [Path(one.series).name for one in result.failed] == ["well1"]
    assert "has no frame 2" in result.failed[0].error
    assert "2 of 3 series are tracked" in result.text()
    for number in (0, 2):
        assert np.asarray(bigseg.open_labels(f"{tmp_path}/well{number}.zarr").data).max() == 11


@pytest.fixture
def timelapses(tmp_path):
    """Raw images of four wells, of which one has a single frame, and one a damaged chunk."""
    for number, frames in enumerate((3, 1, 3, 3)):
        bright = np.where(moving_cells(number)[0][:frames] > 0, 200, 0).astype(np.uint8)
        np.save(tmp_path / "image.npy", bright)
        convert([f"{tmp_path}/image.npy"], f"{tmp_path}/well{number}.zarr", axes="tyx")
    stored = sorted((tmp_path / "well2.zarr" / "0").rglob("[0-9]"))
    next(path for path in stored if path.is_file()).write_bytes(b"damaged")
    return tmp_path


def test_raw_timelapses_are_segmented_and_tracked_but_for_the_bad_ones(timelapses):
    segment = {"representation": "labels", "intensity": (0, 255), "block": (120, 120)}
    result = bigseg.track_many(
        [f"{timelapses}/*.zarr"], f"{timelapses}/out", workers=1,
        model="tests.end_to_end.bright:objects", segment=segment,
    )  # fmt: skip
    first, single, damaged, last = result.series
    assert (first.result.tracks, last.result.tracks) == (9, 9)
    assert "well1.zarr has a single frame, so there is nothing to track" in single.error
    assert "1 block(s) of stage 'label' failed" in damaged.error
    assert "well2.zarr" in damaged.error
    assert "2 of 4 series are tracked" in result.text()
    masks = np.asarray(bigseg.open_labels(f"{timelapses}/well3.zarr").data)
    np.testing.assert_array_equal(masks > 0, moving_cells(3)[0][:3] > 0)


def test_what_is_finished_is_not_done_again(plate, tmp_path):
    first = bigseg.track_many([f"{plate}/well0"], str(tmp_path), cluster="serial")
    told = []
    again = bigseg.track_many(
        [f"{plate}/well0"], str(tmp_path), cluster="serial", listeners=lambda _: told.append
    )
    assert not [event for event in told if hasattr(event, "step")]
    assert again.series[0].result.tracks == first.series[0].result.tracks


def test_side_by_side_on_workers_gives_the_same(plate, tmp_path):
    alone = bigseg.track_many([f"{plate}/well0", f"{plate}/well2"], f"{tmp_path}/a", workers=1)
    one = bigseg.track(f"{plate}/well2", f"{tmp_path}/b.zarr", cluster="serial")
    found = [np.asarray(bigseg.open_labels(r.labels).data) for r in (alone.series[1].result, one)]
    np.testing.assert_array_equal(*found)


def test_ctrl_c_ends_all_and_the_same_call_goes_on(plate, tmp_path):
    def stop(event):
        if getattr(event, "step", "") == "link":
            raise KeyboardInterrupt

    series = [f"{plate}/well0", f"{plate}/well2"]
    with pytest.raises(KeyboardInterrupt, match="The same command continues"):
        bigseg.track_many(series, str(tmp_path), cluster="serial", listeners=lambda _: stop)
    result = bigseg.track_many(series, str(tmp_path), cluster="serial")
    assert not result.failed


def test_a_table_names_series_and_their_settings(plate, tmp_path, capsys):
    table = tmp_path / "plate.csv"
    table.write_text(
        f'labels,output,voxel_size,gap\n{plate}/well0,{tmp_path}/own.zarr,"0.5,0.5",3\n'
        f"{plate}/well1,,,\n{plate}/well2,,,\n"
    )
    with pytest.raises(SystemExit) as ended:
        main(["track", "--series", str(table), str(tmp_path), "--cluster", "serial", "--json"])
    assert ended.value.code == 1
    out = json.loads(capsys.readouterr().out)
    assert [bool(one["error"]) for one in out["series"]] == [False, True, False]
    assert out["failed"] == 1
    first = bigseg.open_labels(f"{tmp_path}/own.zarr")
    assert first.coords["x"].values[1] == 0.5
    assert (tmp_path / "well2.zarr").is_dir()


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["track", *arguments])
    return ended.value.code or 0


def test_arguments_as_a_shell_expands_them(plate, tmp_path, capsys):
    wells = [f"{plate}/well{n}" for n in (0, 2)]
    assert command(*wells, str(tmp_path), "--cluster", "serial") == 0
    said = capsys.readouterr()
    assert "2 of 2 series are tracked" in said.out
    assert "well0  link: done in" in said.err


def test_series_are_made_ready_for_job_arrays(plate, tmp_path, capsys):
    assert command(f"{plate}/well*", str(tmp_path), "--prepare", "--json") == 1
    ready = json.loads(capsys.readouterr().out)
    assert [Path(one["run"]).name for one in ready if not one["error"]] == [
        "well0.zarr.bigseg",
        "well2.zarr.bigseg",
    ]
    assert (tmp_path / "well0.zarr.bigseg" / "run.json").exists()
    assert command(f"{plate}/well*", str(tmp_path / "x"), "--dry-run") == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Give the labels that are tracked"),
        (("a", "b", "c", "--run", "r"), "--run is the folder of one run"),
        (("a", "b", "c", "--edits", "e"), "--edits is of one series; for several, give a table"),
        (("--series", "no.csv", "a", "b"), "only the folder of the results"),
        (("--series", "no.csv"), "There is no table at no.csv"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    assert command(*arguments) != 0
    assert message in capsys.readouterr().err


def test_two_series_do_not_write_to_one_place():
    with pytest.raises(SpecError, match="2 series would be written to "):
        specifications(["a/cells.zarr", "b/cells.zarr"], "out", {})


def test_a_pattern_that_matches_nothing(tmp_path):
    with pytest.raises(NotFound, match="Nothing matches"):
        specifications([f"{tmp_path}/*.zarr"], None, {})


def test_files_of_one_frame_each_are_one_series(tmp_path):
    tifffile.imwrite(tmp_path / "t0.tif", np.zeros((4, 4), np.uint8))
    assert len(specifications([f"{tmp_path}/t*.tif"], "out", {})) == 1


def test_a_table_without_labels_is_refused(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("output\nx\n")
    assert command("--series", str(tmp_path / "a.csv")) == 1
    assert "has no column 'labels'" in capsys.readouterr().err
