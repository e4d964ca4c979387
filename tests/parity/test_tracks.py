"""Scores of tracks against those of traccuracy and py-ctcmetrics, and files read by them and geff.

They run in an environment of their own, which `python benchmarks/peers.py scorers` makes.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg.core.tracking.matching import match_points
from bigseg.core.tracking.metrics import pairing
from bigseg.core.tracking.scores import TrackScores, track_scores
from bigseg.io.ctc import write_result, write_rows
from bigseg.io.geff import About, write_geff
from bigseg.stages.evaluate_tracks import evaluate_tracks
from tests.core.tracking import worlds

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "bench-env" / "scorers" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PEER.exists(), reason="python benchmarks/peers.py scorers makes what it needs"
    ),
]


def original(*arguments: object) -> Any:
    """Answer of the peers."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    script = ROOT / "tests" / "parity" / "original_tracks.py"
    command = [str(PEER), str(script), *map(str, arguments)]
    ended = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout.strip().splitlines()[-1])


def case(folder: Path, seed: int) -> TrackScores:
    """Store one pair of graphs, and score it."""
    true = worlds.truth(seed, frames=14)
    if seed % 4 == 3:  # a truth with links over frames
        true = worlds.tracked(true, seed, wrong=0.05)
    result = worlds.tracked(true, seed + 1000, wrong=(0.02, 0.05, 0.1)[seed % 3])
    pairs = worlds.pairs(true, result)
    if seed % 5 == 4:  # objects that hold two; of three or more traccuracy counts one split only
        missed = np.setdiff1d(np.arange(len(true.frame)), pairs[:, 0])
        _, first = np.unique(true.frame[missed], return_index=True)
        there = [(row, np.flatnonzero(result.frame == true.frame[row])) for row in missed[first]]
        more = [(row, at[0]) for row, at in there if len(at)]
        pairs = np.concatenate([pairs, np.array(more, np.int64).reshape(-1, 2)])
    one, other = true.linked(), result.linked()
    np.savez(
        folder / f"{seed}.npz",
        true_frame=one.frame,
        true_links=one.links,
        result_frame=other.frame,
        result_links=other.links,
        pairs=pairs,
    )
    return track_scores(one, other, pairing(len(one.frame), len(other.frame), pairs))


def test_scores_are_those_of_traccuracy(tmp_path: Path) -> None:
    found = [case(tmp_path, seed) for seed in range(60)]
    expected = original("graphs", tmp_path)
    shifted = 0
    for ours, theirs in zip(found, expected, strict=True):
        ctc, done = theirs["ctc"], ours.operations
        assert (done.tra, done.det, done.lnk, done.aogm) == pytest.approx(
            (ctc["TRA"], ctc["DET"], ctc["LNK"], ctc["AOGM"])
        )
        if "basic" not in theirs:
            continue
        for name, links in (("basic", ours.links), ("relaxed", ours.gap_links)):
            assert links.recall == pytest.approx(theirs[name]["Edge Recall"])
            assert links.precision == pytest.approx(theirs[name]["Edge Precision"])
            assert links.f1 == pytest.approx(theirs[name]["Edge F1"])
        for frames, divisions in enumerate(ours.divisions):
            counted = theirs["divisions"][f"Frame Buffer {frames}"]
            assert divisions.found == counted["True Positive Divisions"]
            assert divisions.true == counted["Total GT Divisions"]
            assert divisions.result == counted["Total Predicted Divisions"]
        shifted += ours.divisions[-1].found - ours.divisions[0].found
    assert shifted > 10


def test_points_are_matched_as_by_traccuracy(tmp_path: Path) -> None:
    cases = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        frames = [np.sort(random.integers(0, 4, n)) for n in (60, 70)]
        places = [random.random((len(f), 3)) * 10 for f in frames]
        cases.append(match_points(frames[0], places[0], frames[1], places[1], 2.5))
        np.savez(
            tmp_path / f"{seed}.npz",
            true_frame=frames[0],
            true_position=places[0],
            result_frame=frames[1],
            result_position=places[1],
            distance=2.5,
        )
    for ours, theirs in zip(cases, original("points", tmp_path), strict=True):
        assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_geff_validates_what_is_written(tmp_path: Path, zarr_format: Any) -> None:
    world = worlds.tracked(worlds.truth(1), 2)
    position = np.random.default_rng(0).random((len(world.frame), 3))
    url = str(tmp_path / "t.geff")
    about = About(
        units={"x": "micrometer"},
        labels=str(tmp_path / "labels"),
        nodes={"size": np.arange(len(world.frame))},
        edges={"gain": np.ones(len(world.found.links), np.float32)},
    )
    write_geff(url, world.found, world.slot, position, about, zarr_format=zarr_format)
    read = original("geff", url)
    assert read["ids"] == list(range(len(world.frame)))
    assert read["edges"] == world.found.links.tolist()
    assert read["props"]["tracklet"] == world.found.track.tolist()
    assert read["props"]["x"] == position[:, 2].tolist()
    assert read["metadata"]["related_objects"][0]["path"] == "../labels"


@pytest.mark.parametrize("seed", range(3))
def test_folders_are_read_and_scored_alike(tmp_path: Path, seed: int) -> None:
    true = worlds.truth(seed)
    result = worlds.tracked(true, seed + 10, wrong=0.05)
    for world, folder in ((true, "01_GT/TRA"), (result, "01_RES")):
        masks, (_, rows) = worlds.painted(world), world.challenge()
        write_result(str(tmp_path / folder), masks, rows, len(masks))
        if folder == "01_GT/TRA":
            write_rows(str(tmp_path / folder), rows, "man_track.txt")
            (tmp_path / folder / "res_track.txt").unlink()
            for mask in (tmp_path / folder).glob("mask*.tif"):
                mask.rename(mask.with_name(mask.name.replace("mask", "man_track")))
    both = original("ctc", tmp_path / "01_RES", tmp_path / "01_GT")
    found = evaluate_tracks(str(tmp_path / "01_RES"), str(tmp_path / "01_GT"))
    assert both["valid"] == 1
    values = found.scores.values()
    for name, value in both["py-ctcmetrics"].items():
        if name in values and value is not None:
            assert values[name] == pytest.approx(value), name
    assert values["DET"] == pytest.approx(both["traccuracy"]["DET"])
    assert both["traccuracy"]["fp_edges"] == found.scores.operations.ED
