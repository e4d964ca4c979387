"""Corrections of tracks are respected, and only what they touch is solved again."""

from __future__ import annotations

import numpy as np
import pytest

import bigseg
from bigseg.errors import SpecError
from bigseg.io.tables import read_table
from tests.cells import FRAMES, moving_cells, write_frames


@pytest.fixture(scope="module")
def world():
    return moving_cells()


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("series"), world[0])


def label(world, frame: int, cell: int) -> int:
    """Label of a true cell in a frame."""
    return int(world[0][frame][world[1][frame] == cell][0])


def ids(url: str) -> np.ndarray:
    return np.asarray(bigseg.open_labels(url).data)


def track_of(world, found: np.ndarray, frame: int, cell: int) -> int:
    return int(found[frame][world[1][frame] == cell][0])


def run(folder: str, out, text: str, name: str = "e.toml", **settings) -> bigseg.Tracked:
    file = out.parent / name
    file.write_text(text)
    return bigseg.track(folder, str(out), cluster="serial", edits=str(file), **settings)


def test_each_kind_is_respected_and_others_stay(world, folder, tmp_path):
    out = tmp_path / "a.zarr"
    first = bigseg.track(folder, str(out), cluster="serial", window=2)
    before = ids(first.labels)
    a, b = (label(world, t, 1) for t in (5, 6))
    mother = label(world, 3, 2), label(world, 4, 2), label(world, 4, 3)
    text = (
        f"delete = [[2, {label(world, 2, 9)}]]\n"
        f"[[unlink]]\nfrom = [5, {a}]\nto = [6, {b}]\n"
        f"[[link]]\nfrom = [1, {label(world, 1, 7)}]\nto = [4, {label(world, 4, 8)}]\n"
        f"[[divide]]\nmother = [3, {mother[0]}]\n"
        f"daughters = [[4, {mother[1]}], [4, {mother[2]}]]\n"
    )
    result = run(folder, out, text, window=2, overwrite=True)
    found = ids(result.labels)
    assert track_of(world, found, 5, 1) != track_of(world, found, 6, 1)
    assert track_of(world, found, 1, 7) == track_of(world, found, 4, 8)
    assert track_of(world, found, 3, 8) != track_of(world, found, 4, 8)
    assert (found[2][world[1][2] == 9] == 0).all()
    assert track_of(world, found, 1, 9) == track_of(world, found, 3, 9)  # over the gap
    parents = read_table(result.table)["parent"]
    family = [int(parents[track_of(world, found, 4, cell) - 1]) for cell in (2, 3)]
    assert family == [track_of(world, found, 3, 2)] * 2
    for cell in (4, 5, 6, 10, 11):
        there = world[1] == cell
        assert len(np.unique(found[there])) == len(np.unique(before[there])) == 1


def test_only_touched_parts_are_solved_again(world, folder, tmp_path):
    out, settings = tmp_path / "a.zarr", {"window": 2, "gap": 1}
    first = bigseg.track(folder, str(out), cluster="serial", **settings)
    assert (first.parts, first.solved) == (4, 4)
    a, b = (label(world, t, 1) for t in (6, 7))
    text = f"[[unlink]]\nfrom = [6, {a}]\nto = [7, {b}]\n"
    events = []
    second = run(folder, out, text, overwrite=True, listener=events.append, **settings)
    skipped = [e.step for e in events if getattr(e, "skipped", False)]
    assert skipped == ["detect", "detections", "overlap", "overlaps", "learn"]
    assert second.parts == 4
    assert 1 <= second.solved <= 2  # that of frames 6 and 7, and the one that sees both
    assert "of 4 parts linked anew" in second.text()
    third = run(folder, out, "", overwrite=True, **settings)
    assert third.solved == 0
    assert third.tracks == first.tracks


def test_frame_by_frame_they_are_respected_too(world, folder, tmp_path):
    a, b, c = label(world, 6, 1), label(world, 7, 1), label(world, 7, 2)
    text = f"[[unlink]]\nfrom = [6, {a}]\nto = [7, {b}]\n"
    text += f"[[link]]\nfrom = [5, {label(world, 5, 3)}]\nto = [7, {c}]\n"
    result = run(folder, tmp_path / "a.zarr", text, mode="fast")
    found = ids(result.labels)
    assert track_of(world, found, 6, 1) != track_of(world, found, 7, 1)
    assert track_of(world, found, 5, 3) == track_of(world, found, 7, 2)
    assert len(np.unique(found[world[1] == 4])) == 1


def test_a_link_may_be_longer_than_any_gate(world, folder, tmp_path):
    a, b = label(world, 0, 1), label(world, FRAMES - 1, 9)
    text = f"[[link]]\nfrom = [0, {a}]\nto = [{FRAMES - 1}, {b}]\n"
    result = run(folder, tmp_path / "a.zarr", text, window=2)
    found = ids(result.labels)
    assert track_of(world, found, 0, 1) == track_of(world, found, FRAMES - 1, 9)
    assert track_of(world, found, 1, 1) != track_of(world, found, 0, 1)


def test_objects_are_found_at_a_place(world, folder, tmp_path):
    y, x = (int(c.mean()) for c in np.nonzero(world[1][2] == 9))
    text = f"[[delete]]\nframe = 2\ny = {y}\nx = {x}\n"
    result = run(folder, tmp_path / "a.zarr", text)
    assert (ids(result.labels)[2][world[1][2] == 9] == 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("delete = [[8, 1]]", "speaks of label 1 of frame 8, but .* has 8 frames, counted from 0"),
        ("delete = [[3, 77]]", "label 77 of frame 3, but there is none; frame 3 has labels from 1"),
        ("delete = [{frame = 3, y = 0, x = 0}]", "at z, y, x = 0, 0, 0, but there is none"),
        ("delete = [{frame = 3, y = 900, x = 0}]", "= 0, 900, 0, but the labels have"),
    ],
)
def test_what_is_not_there_is_named_and_replaces_nothing(folder, tmp_path, text, message):
    out = tmp_path / "a.zarr"
    first = bigseg.track(folder, str(out), cluster="serial")
    with pytest.raises(SpecError, match=message):
        run(folder, out, text, overwrite=True)
    assert ids(first.labels).max() == first.tracks


def test_two_names_of_one_object_are_one(world, folder, tmp_path):
    y, x = (int(c.mean()) for c in np.nonzero(world[1][2] == 9))
    a, b = label(world, 1, 9), label(world, 2, 9)
    text = f"delete = [{{frame = 2, y = {y}, x = {x}}}]\n[[link]]\nfrom = [1, {a}]\nto = [2, {b}]\n"
    out = tmp_path / "a.zarr"
    bigseg.track(folder, str(out), cluster="serial")
    with pytest.raises(SpecError, match=f"label {b} of frame 2 is deleted, but linked"):
        run(folder, out, text, overwrite=True)
