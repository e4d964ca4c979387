"""Scores equal those of py-ctcmetrics, and are what they say on cases small enough to count."""

import math
from typing import Any

import numpy as np
import pytest
from ctc_metrics.scripts.evaluate import calculate_metrics
from numpy.typing import NDArray

from bigseg.core.tracking.metrics import pairing
from bigseg.core.tracking.scores import TrackScores, track_scores
from tests.core.tracking import worlds

Array = NDArray[Any]


def merged(true: worlds.World, result: worlds.World, seed: int) -> Array:
    """Pairs, of which some hold a missed object besides their own."""
    random = np.random.default_rng(seed)
    found = worlds.pairs(true, result)
    more = []
    for row in np.setdiff1d(np.arange(len(true.frame)), found[:, 0]):
        there = np.flatnonzero(result.frame == true.frame[row])
        if len(there) and random.random() < 0.4:
            more.append((row, random.choice(there)))
    return np.concatenate([found, np.array(more, np.int64).reshape(-1, 2)])


def theirs(true: worlds.World, result: worlds.World, pairs: Array) -> dict[str, Any]:
    """Scores by py-ctcmetrics, which is given the pairs as it would find them in masks."""
    (true_label, true_rows), (label, rows) = true.challenge(), result.challenge()
    lists: dict[str, list[Any]] = {
        name: [] for name in ("labels_ref", "labels_comp", "mapped_ref", "mapped_comp")
    }
    for t in range(int(true.frame.max()) + 1):
        here = pairs[true.frame[pairs[:, 0]] == t]
        here = here[np.argsort(true_label[here[:, 0]])]
        lists["labels_ref"].append(np.sort(true_label[true.frame == t]).tolist())
        lists["labels_comp"].append(np.sort(label[result.frame == t]).tolist())
        lists["mapped_ref"].append(true_label[here[:, 0]].tolist())
        lists["mapped_comp"].append(label[here[:, 1]].tolist())
    metrics = ["DET", "TRA", "LNK", "CT", "TF", "BC", "CCA"]
    return dict(calculate_metrics(rows, true_rows, lists, {}, metrics, True))


def scored(true: worlds.World, result: worlds.World, pairs: Array) -> TrackScores:
    """Scores of the same as CTC tracks, whose detections are sorted by their labels."""
    places = []
    for world in (true, result):
        place = np.empty(len(world.frame), np.int64)
        place[np.lexsort((world.challenge()[0], world.frame))] = np.arange(len(place))
        places.append(place)
    pairs = np.stack([places[0][pairs[:, 0]], places[1][pairs[:, 1]]], axis=1)
    graphs = true.graph(), result.graph()
    return track_scores(*graphs, pairing(*(len(g.frame) for g in graphs), pairs))


@pytest.mark.parametrize("wrong", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(12))
def test_scores_are_those_of_py_ctcmetrics(seed: int, wrong: float) -> None:
    true = worlds.truth(seed)
    result = worlds.tracked(true, seed + 1000, wrong=wrong)
    pairs = merged(true, result, seed)
    expected = theirs(true, result, pairs)
    found = scored(true, result, pairs)
    values = found.values()
    compared = [name for name in values if name in expected]
    assert len(compared) == 14
    for name in compared:
        value = math.nan if expected[name] is None else expected[name]
        assert values[name] == pytest.approx(value, nan_ok=True), name
    for name in ("NS", "FN", "FP", "ED", "EA", "EC"):
        assert getattr(found.operations, name) == expected[f"AOGM_{name}"], name


@pytest.mark.parametrize("seed", range(5))
def test_the_truth_is_right_by_all_measures(seed: int) -> None:
    true = worlds.truth(seed)
    pairs = worlds.pairs(true, true)
    values = scored(true, true, pairs).values()
    assert all(v == 1 for v in values.values() if not math.isnan(v))
    assert math.isnan(values["SEG"])
    assert sum(math.isnan(v) for v in values.values()) <= 4  # no masks, perhaps no whole cycle


def test_nothing_scores_nothing() -> None:
    true = worlds.truth(0)
    none = worlds.made(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 2), int))
    values = track_scores(
        true.linked(), none.linked(), pairing(len(true.frame), 0, np.zeros((0, 2), int))
    ).values()
    assert all(v == 0 for v in values.values() if not math.isnan(v))
    nothing = track_scores(none.linked(), none.linked(), pairing(0, 0, np.zeros((0, 2), int)))
    assert all(math.isnan(v) for v in nothing.values().values())
    assert nothing.as_dict()["scores"]["TRA"] is None


def line(frames: list[int], links: list[list[int]], slots: list[int] | None = None) -> worlds.World:
    slot = np.array(slots or [1] * len(frames))
    return worlds.made(np.array(frames), slot, np.array(links, np.int64).reshape(-1, 2))


def test_a_missed_frame_costs_strict_links_but_no_step() -> None:
    true = line([0, 1, 2, 3], [[0, 1], [1, 2], [2, 3]])
    result = line([0, 1, 3], [[0, 1], [1, 2]])
    pairs = worlds.pairs(true, result)
    found = track_scores(true.linked(), result.linked(), pairing(4, 3, pairs))
    assert (found.links.found, found.links.true, found.links.result) == (1, 3, 2)
    assert (found.gap_links.f1, found.steps.f1) == (1, 1)
    assert found.operations.EA == 2
    assert found.operations.ED == 1
    assert found.operations.FN == 1


def test_steps_over_more_frames_than_allowed_are_not_asked_for() -> None:
    true = line([0, 1, 2, 3, 4], [[i, i + 1] for i in range(4)])
    result = line([0, 4], [[0, 1]])
    pairs = pairing(5, 2, worlds.pairs(true, result))
    for most, f1 in ((3, 0.0), (4, 1.0)):
        found = track_scores(true.linked(), result.linked(), pairs, most_frames=most)
        assert found.steps.f1 == f1


def test_a_division_one_frame_late_is_found_with_tolerance() -> None:
    true = line(
        [0, 1, 1, 2, 2, 3, 3],
        [[0, 1], [0, 2], [1, 3], [2, 4], [3, 5], [4, 6]],
        [1, 1, 2] + [1, 2] * 2,
    )
    late = line([0, 1, 2, 2, 3, 3], [[0, 1], [1, 2], [1, 3], [2, 4], [3, 5]], [1, 1, 1, 2, 1, 2])
    found = track_scores(
        true.linked(), late.linked(), pairing(7, 6, worlds.pairs(true, late)), tolerances=(0, 1)
    )
    assert [d.f1 for d in found.divisions] == [0, 1]
    assert [bc.f1 for bc in found.bc.values()] == [0, 1]


def test_an_exchange_of_two_cells_costs_two_links_each_way() -> None:
    frames, slots = [0, 0, 1, 1, 2, 2], [1, 2] * 3
    true = line(frames, [[0, 2], [1, 3], [2, 4], [3, 5]], slots)
    result = line(frames, [[0, 2], [1, 3], [2, 5], [3, 4]], slots)
    found = track_scores(true.linked(), result.linked(), pairing(6, 6, worlds.pairs(true, result)))
    assert (found.operations.ED, found.operations.EA, found.operations.EC) == (2, 2, 0)
    assert found.operations.lnk == pytest.approx(1 - 5 / 6)
    assert found.links.f1 == 0.5
    assert found.ct == 0
    assert found.tf == pytest.approx(2 / 3)
