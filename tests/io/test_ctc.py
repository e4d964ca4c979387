"""Folders of the Cell Tracking Challenge are written as its programs want them, and read back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from ctc_metrics import validate_sequence
from ctc_metrics.utils.filesystem import parse_masks, read_tracking_file
from numpy.typing import NDArray

from bigseg.core.tracking.graph import of_rows
from bigseg.core.tracking.lineage import LineageError
from bigseg.errors import ImageError, NotFound
from bigseg.io.ctc import (
    Outlines,
    check_writable,
    is_ctc,
    mask_url,
    open_ctc,
    outlines,
    read_rows,
    write_mask,
    write_result,
    write_rows,
)
from tests.core.tracking import worlds

Array = NDArray[Any]


def written(folder: Path, seed: int = 0) -> tuple[str, Array, Array]:
    world = worlds.tracked(worlds.truth(seed), seed + 1, closing=True)
    masks, (_, rows) = worlds.painted(world), world.challenge()
    write_result(str(folder / "01_RES"), masks, rows, len(masks))
    return str(folder / "01_RES"), masks, rows


@pytest.mark.parametrize("seed", range(3))
def test_results_are_valid_to_py_ctcmetrics_and_come_back(tmp_path: Path, seed: int) -> None:
    url, masks, rows = written(tmp_path, seed)
    assert validate_sequence(url, threads=1)["Valid"] == 1
    assert (read_tracking_file(f"{url}/res_track.txt") == rows).all()
    assert Path(parse_masks(url)[0]).name == "mask000.tif"
    found = open_ctc(url)
    assert (found.rows == rows).all()
    assert found.masks.shape == (len(masks), 1, *masks.shape[1:])
    whole = tuple(slice(0, n) for n in found.masks.shape[1:])
    for t, plane in enumerate(masks):
        assert (found.masks.read((slice(t, t + 1), *whole)) == plane).all()
    assert tifffile.imread(f"{url}/mask000.tif").dtype == np.uint16


def test_volumes_keep_their_planes(tmp_path: Path) -> None:
    labels = np.zeros((2, 3, 4, 5), np.uint32)
    labels[:, 1, 2, 3] = 1
    rows = np.array([[1, 0, 1, 0]])
    assert write_result(str(tmp_path), labels, rows, 2) == ()
    assert tifffile.imread(tmp_path / "mask001.tif").shape == (3, 4, 5)
    assert open_ctc(str(tmp_path)).masks.shape == (2, 3, 4, 5)


def test_empty_frames_are_written_and_told(tmp_path: Path) -> None:
    labels = np.zeros((3, 4, 4), np.uint16)
    labels[[0, 2], 1, 1] = [1, 2]
    rows = np.array([[1, 0, 0, 0], [2, 2, 2, 1]])
    assert write_result(str(tmp_path), labels, rows, 3) == (1,)
    assert len(open_ctc(str(tmp_path)).masks.frames) == 3
    with pytest.warns(UserWarning, match="Empty frame"):
        assert validate_sequence(str(tmp_path), threads=1)["Valid"] == 1


def test_a_truth_is_found_with_its_outlines(tmp_path: Path) -> None:
    tra, seg = tmp_path / "01_GT" / "TRA", tmp_path / "01_GT" / "SEG"
    rows, labels = np.array([[1, 0, 1, 0]]), np.ones((4, 4), np.uint16)
    for t in range(2):
        write_mask(str(tra), t, labels, rows, 2, prefix="man_track")
    write_rows(str(tra), rows, "man_track.txt")
    seg.mkdir()
    for name in ("man_seg_001_017.tif", "man_seg001.tif", "man_seg000.tif", "note.txt"):
        tifffile.imwrite(seg / name, labels)
    for url in (tmp_path / "01_GT", tra):
        found = open_ctc(str(url))
        assert found.url == str(tra)
        assert found.seg == str(seg)
    assert outlines(str(seg)) == [
        Outlines(0, None, f"{seg}/man_seg000.tif"),
        Outlines(1, None, f"{seg}/man_seg001.tif"),
        Outlines(1, 17, f"{seg}/man_seg_001_017.tif"),
    ]


def test_long_series_have_four_digits() -> None:
    assert mask_url("r", 7, 1000) == "r/mask007.tif"
    assert mask_url("r", 7, 1001) == "r/mask0007.tif"


def test_what_16_bits_cannot_number_is_refused(tmp_path: Path) -> None:
    ids = np.arange(1, 65_537)
    rows = np.stack([ids, 0 * ids, 0 * ids, 0 * ids], axis=1)
    with pytest.raises(
        ImageError, match=r"65,536 tracks, but .* 65,535 tracks at most; write GEFF"
    ):
        write_result(str(tmp_path / "r"), [], rows, 1)
    assert not (tmp_path / "r").exists()
    check_writable(rows[:-1], 1)
    with pytest.raises(ImageError, match=r"10,001 frames, but .* 10,000 at most; write GEFF"):
        check_writable(rows[:1], 10_001)
    with pytest.raises(LineageError, match="Track 5 has the parent 9, which has no line"):
        check_writable(np.array([[5, 0, 1, 9]]), 2)


def test_masks_that_are_not_what_lines_say_are_refused(tmp_path: Path) -> None:
    labels, rows = np.array([[0, 1], [2, 0]]), np.array([[1, 0, 0, 0]])
    with pytest.raises(ImageError, match="Frame 0 has the label 2, but no line says so"):
        write_mask(str(tmp_path), 0, labels, rows, 1)
    rows = np.array([[1, 0, 0, 0], [2, 0, 0, 0], [3, 0, 1, 0]])
    with pytest.raises(ImageError, match="Frame 0 lacks the label 3, which its line promises"):
        write_mask(str(tmp_path), 0, labels, rows, 1)
    with pytest.raises(ImageError, match=r"There were 1 frames to write to .*, not 2"):
        write_result(str(tmp_path), [labels], rows[:2], 2)


def damaged(folder: Path, what: str) -> str:
    url, _, _ = written(folder)
    path = Path(url)
    if what == "missing":
        (path / "mask003.tif").unlink()
    elif what == "first":
        (path / "mask000.tif").unlink()
    elif what == "float":
        tifffile.imwrite(path / "mask000.tif", np.zeros((24, 40), np.float32))
    elif what == "shape":
        tifffile.imwrite(path / "mask002.tif", np.zeros((24, 41), np.uint16))
    elif what == "line":
        (path / "res_track.txt").write_text("1 0 3\n")
    elif what == "late":
        (path / "res_track.txt").write_text("1 0 12 0\n")
    elif what == "text":
        (path / "res_track.txt").unlink()
    return url


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", "has no frame 3; a series needs one file for each frame"),
        ("first", "begin with mask001.tif; frames are counted from 0"),
        ("float", "mask000.tif holds float32, but labels are whole numbers"),
        ("shape", r"mask002.tif has .*\(1, 24, 41\) voxels, but the first frame has \(1, 24, 40\)"),
        ("line", "Line 1 of .*res_track.txt is '1 0 3'; each line has four whole numbers"),
        ("late", "speaks of frame 12, but the last of the 12 masks is 11"),
    ],
)
def test_damaged_folders_are_named(tmp_path: Path, what: str, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        open_ctc(damaged(tmp_path, what))


def test_folders_of_other_things_are_no_ctc(tmp_path: Path) -> None:
    url = damaged(tmp_path, "text")
    assert not is_ctc(url)
    with pytest.raises(NotFound, match=r"holds neither man_track.txt nor res_track.txt, nor"):
        open_ctc(url)
    with pytest.raises(NotFound, match="There is no text file at"):
        read_rows(str(tmp_path / "none.txt"))


def test_a_label_in_a_frame_of_which_its_line_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="Label 1 is in frame 1, but its line says frames 0 to"):
        of_rows(np.array([0, 1]), np.array([1, 1]), np.array([[1, 0, 0, 0]]))
