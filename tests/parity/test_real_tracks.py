"""Scores on real lineages: the truth is right, and a spoilt truth scores as its judges say."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg.core.tracking.challenge import challenge_tracks
from bigseg.core.tracking.filling import between, cut, gaps, paste
from bigseg.core.tracking.graph import of_lineages
from bigseg.core.tracking.lineage import Lineages, lineages
from bigseg.core.tracking.metrics import pairing
from bigseg.core.tracking.scores import track_scores
from bigseg.io.ctc import open_ctc, write_result
from bigseg.io.track_tables import read_points
from bigseg.stages.evaluate_tracks import evaluate_tracks
from tests.parity.test_tracks import PEER, original

DATA = Path(__file__).parents[3] / "shared" / "data"
EPIDERMIS = DATA / "epidermis_tracking_labels" / "train"
C2C12 = DATA / "c2c12_points" / "train"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not DATA.is_dir(), reason="the development data are not beside the checkout"
    ),
]

NEEDS_PEER = pytest.mark.skipif(
    not PEER.exists(), reason="python benchmarks/peers.py scorers makes what it needs"
)


def all_right(values: dict[str, float]) -> bool:
    return all(v == 1 for v in values.values() if not math.isnan(v))


def test_the_truth_of_masks_is_right() -> None:
    found = evaluate_tracks(str(EPIDERMIS), str(EPIDERMIS))
    assert found.scores.tracks == (1070, 1070)
    assert found.scores.divisions[0].true == 335
    assert all_right(found.scores.values())


def test_the_truth_of_points_is_right() -> None:
    table, lines = str(C2C12 / "points.csv.gz"), str(C2C12 / "man_track.txt")
    found = evaluate_tracks(table, table, lines=lines, true_lines=lines, distance=1)
    assert found.scores.detections == (4634, 4634)
    assert (found.scores.tracks[0], found.scores.divisions[0].true) == (211, 78)
    assert all_right(found.scores.values())


@pytest.mark.parametrize(("name", "divisions"), [("Pm02", 501), ("Pm05", 276), ("Pm07", 174)])
def test_the_truth_of_embryos_is_right(name: str, divisions: int) -> None:
    table = str(DATA / "astec_lineages" / f"{name}.csv.gz")
    found = evaluate_tracks(table, table, distance=0.5)
    assert found.scores.divisions[0].true == divisions
    assert all_right(found.scores.values())


def frames() -> list[Any]:
    series = open_ctc(str(EPIDERMIS)).masks
    whole = tuple(slice(0, n) for n in series.shape[1:])
    return [series.read((slice(t, t + 1), *whole)) for t in range(series.shape[0])]


def spoilt() -> tuple[Lineages, Any]:
    """Lineages of the epidermis: some objects missed and gaps closed, some links exchanged."""
    random = np.random.default_rng(0)
    rows = open_ctc(str(EPIDERMIS)).rows
    found = [np.unique(f[f > 0]).astype(np.int64) for f in frames()]
    frame = np.repeat(np.arange(len(found)), [len(f) for f in found])
    label = np.concatenate(found)
    last = {int(a): (frame[label == a].max(), a) for a in np.unique(label)}
    row = {(t, a): i for i, (t, a) in enumerate(zip(frame.tolist(), label.tolist(), strict=True))}
    source = np.full(len(frame), -1)
    for (t, a), i in row.items():
        source[i] = row.get((t - 1, a), -1)
    for a, begin, _, parent in rows.tolist():
        if parent:
            source[row[begin, a]] = row[last[parent]]
    keep = random.random(len(frame)) > 0.03
    for _ in range(2):
        hidden = (source >= 0) & ~keep[source]
        source[hidden] = source[source[hidden]]
    source[(source >= 0) & ~keep[source]] = -1
    for t in range(1, len(found)):
        some = np.flatnonzero((frame == t) & (random.random(len(frame)) < 0.05))
        source[some] = random.permutation(source[some])
    number = np.cumsum(keep) - 1
    links = [(number[s], number[i]) for i, s in enumerate(source) if keep[i] and s >= 0]
    table = np.array(links)
    order = np.argsort(table[:, 0], kind="stable")
    first = np.searchsorted(table[order, 0], table[order, 0])
    table = table[order[np.arange(len(order)) - first < 2]]
    return lineages(frame[keep], label[keep], table), label[keep]


def write(folder: Path, found: Lineages, label: Any, *, filled: bool) -> str:
    """As a result folder, with gaps filled or not."""
    images = frames()
    if filled:
        missed = gaps(found)
        made = [np.zeros(f.shape, np.int64) for f in images]
        for t, image in enumerate(made):
            here = found.frame == t
            lookup = np.zeros(int(images[t].max()) + 1, np.int64)
            lookup[label[here]] = found.track[here]
            image[...] = lookup[images[t]]
        pieces = [cut(image, found.track[found.frame == t]) for t, image in enumerate(made)]
        for t, track, a, b, part in zip(
            missed.frame, missed.track, missed.before, missed.after, missed.part, strict=True
        ):
            one, other = (pieces[found.frame[row]][int(track)] for row in (a, b))
            assert paste(made[t], between(one, other, part), int(track)) > 0
        begin, end = found.begin.astype(np.int64), found.end.astype(np.int64)
        rows = np.stack([np.arange(1, len(found) + 1), begin, end, found.parent], axis=1)
    else:
        own, rows = challenge_tracks(found)
        made = []
        for t, image in enumerate(images):
            here = found.frame == t
            lookup = np.zeros(int(image.max()) + 1, np.int64)
            lookup[label[here]] = own[here]
            made.append(lookup[image])
    assert write_result(str(folder), made, rows, len(made)) == ()
    return str(folder)


def test_filled_gaps_score_better(tmp_path: Path) -> None:
    found, label = spoilt()
    plain, filled = (
        evaluate_tracks(write(tmp_path / f"{f}", found, label, filled=f), str(EPIDERMIS)).scores
        for f in (False, True)
    )
    for name in ("DET", "TRA", "LNK", "CT", "edge F1"):
        assert filled.values()[name] > plain.values()[name], name
    assert 0.9 < plain.operations.tra < filled.operations.tra < 1


@pytest.mark.slow
@NEEDS_PEER
@pytest.mark.parametrize("filled", [False, True])
def test_a_spoilt_truth_scores_as_by_traccuracy_and_py_ctcmetrics(
    tmp_path: Path, filled: bool
) -> None:
    url = write(tmp_path / "01_RES", *spoilt(), filled=filled)
    scores = evaluate_tracks(url, str(EPIDERMIS)).scores
    values = scores.values()
    both = original("ctc", url, EPIDERMIS)
    assert both["valid"] == 1
    compared = [n for n, v in both["py-ctcmetrics"].items() if n in values and v is not None]
    assert len(compared) >= 14
    for name in compared:
        assert values[name] == pytest.approx(both["py-ctcmetrics"][name]), name
    theirs = both["traccuracy"]
    assert values["DET"] == pytest.approx(theirs["DET"])
    # Single children, of which this truth has some, are links along a track to traccuracy.
    counts = {"NS": "ns_nodes", "FN": "fn_nodes", "FP": "fp_nodes", "ED": "fp_edges"}
    for ours, name in (counts | {"EA": "fn_edges"}).items():
        assert getattr(scores.operations, ours) == theirs[name], name


@pytest.mark.slow
@NEEDS_PEER
def test_spoilt_points_score_as_by_traccuracy(tmp_path: Path) -> None:
    true = read_points(str(DATA / "astec_lineages" / "Pm07.csv.gz"))
    random = np.random.default_rng(0)
    one = of_lineages(true.lineages())
    links = one.links[random.random(len(one.links)) > 0.05]
    some = np.flatnonzero(random.random(len(links)) < 0.05)
    order = some[np.argsort(true.frame[links[some, 1]], kind="stable")]
    links[order[:-1:2], 1], links[order[1::2], 1] = (
        links[order[1 : len(order) // 2 * 2 : 2], 1].copy(),
        links[order[: len(order) // 2 * 2 : 2], 1].copy(),
    )
    forward = true.frame[links[:, 1]] > true.frame[links[:, 0]]
    found = lineages(true.frame, true.id, links[forward])
    other, n = of_lineages(found), len(true.frame)
    pairs = np.stack([np.arange(n)] * 2, axis=1)
    np.savez(
        tmp_path / "0.npz",
        true_frame=one.frame,
        true_links=one.links,
        result_frame=other.frame,
        result_links=other.links,
        pairs=pairs,
    )
    ours = track_scores(one, other, pairing(n, n, pairs))
    (theirs,) = original("graphs", tmp_path)
    assert ours.operations.tra == pytest.approx(theirs["ctc"]["TRA"])
    assert ours.operations.lnk == pytest.approx(theirs["ctc"]["LNK"])
    assert ours.links.f1 == pytest.approx(theirs["basic"]["Edge F1"])
    assert ours.gap_links.f1 == pytest.approx(theirs["relaxed"]["Edge F1"])
    for frames_off, found_divisions in enumerate(ours.divisions):
        expected = theirs["divisions"][f"Frame Buffer {frames_off}"]
        assert found_divisions.found == expected["True Positive Divisions"]
        assert found_divisions.f1 == pytest.approx(expected["Division F1"])
    assert 0.5 < ours.divisions[0].f1 < 1
