"""Scores from the sparse table equal those from dense masks, and hand-made examples."""

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linear_sum_assignment

from bigseg.core.metrics import (
    adapted_rand_error,
    aji,
    aji_cellpose,
    average_precision,
    error_rate,
    match,
    merge_contingencies,
    score,
    true_positives,
    variation_of_information,
)
from bigseg.core.overlap import contingency

IMAGES = arrays(np.uint32, (5, 6), elements=st.integers(0, 4))
COARSE = arrays(np.uint32, (2, 3), elements=st.integers(0, 3)).map(
    lambda a: np.kron(a, np.ones((2, 2), np.uint32))
)
ANY = st.one_of(st.tuples(IMAGES, IMAGES), st.tuples(COARSE, COARSE))


def dense(prediction, truth):
    """Intersections and unions of all predicted (rows) and true (columns) objects."""
    masks = [[x == i for i in np.unique(x[x > 0])] for x in (prediction, truth)]
    shape = (len(masks[0]), len(masks[1]))
    inter = np.array([[(p & t).sum() for t in masks[1]] for p in masks[0]], int).reshape(shape)
    union = np.array([[(p | t).sum() for t in masks[1]] for p in masks[0]], int).reshape(shape)
    return inter, union, masks


def assigned(prediction, truth, threshold):
    """Rows and columns that Cellpose's dense assignment pairs."""
    inter, union, _ = dense(prediction, truth)
    iou = inter / np.maximum(union, 1)
    return linear_sum_assignment(-1.0 * (iou >= threshold) - iou / (2 * max(min(iou.shape), 1)))


def reference_aji(prediction, truth) -> float:
    inter, union, masks = dense(prediction, truth)
    shared, whole, used = 0, 0, set()
    for t, mask in enumerate(masks[1]):
        ranked = sorted(
            range(len(masks[0])), key=lambda p: (-inter[p, t] / union[p, t], -inter[p, t], p)
        )
        if not ranked or inter[ranked[0], t] == 0:
            whole += mask.sum()
            continue
        used.add(ranked[0])
        shared += inter[ranked[0], t]
        whole += union[ranked[0], t]
    whole += sum(p.sum() for i, p in enumerate(masks[0]) if i not in used)
    return shared / whole


@given(ANY, st.sampled_from([0.1, 0.3, 0.5, 0.55, 0.75]))
@settings(deadline=None, max_examples=150)
def test_true_positives_are_those_of_the_dense_assignment(images, threshold) -> None:
    inter, union, _ = dense(*images)
    at = assigned(*images, threshold)
    expected = int((inter[at] >= threshold * union[at]).sum())
    assert true_positives(match(*contingency(*images)), threshold) == expected


def possible_shared_voxels(inter, iou) -> set[int]:
    """Shared voxels of every assignment that is best by number of IoU >= 0.5, then IoU sum."""
    padded = np.zeros((2, 4, 4))
    padded[0, : inter.shape[0], : inter.shape[1]] = inter
    padded[1, : inter.shape[0], : inter.shape[1]] = iou
    ranked = []
    for order in permutations(range(4)):
        shared, each = padded[:, range(4), order]
        ranked.append(((each >= 0.5).sum(), each.sum().round(9), int(shared.sum())))
    best = max(ranked)[:2]
    return {shared for *rank, shared in ranked if tuple(rank) == best}


@given(ANY)
@settings(deadline=None, max_examples=100)
def test_both_aji_are_those_of_dense_masks(images) -> None:
    prediction, truth = images
    foreground = ((prediction > 0) | (truth > 0)).sum()
    assume(foreground)
    matches = match(*contingency(prediction, truth))
    assert aji(matches) == pytest.approx(reference_aji(prediction, truth))
    inter, union, _ = dense(prediction, truth)
    possible = possible_shared_voxels(inter, inter / np.maximum(union, 1))
    assert round(aji_cellpose(matches) * foreground) in possible


def entropy(labels) -> float:
    p = np.unique(labels, return_counts=True)[1] / len(labels)
    return float(-(p * np.log2(p)).sum())


@given(IMAGES, IMAGES)
@settings(deadline=None, max_examples=50)
def test_voi_and_rand_are_those_of_all_pairs_of_voxels(prediction, truth) -> None:
    assume((truth > 0).sum() > 1)
    p, t = prediction[truth > 0], truth[truth > 0]
    joint = entropy(p * 100 + t)
    expected = pytest.approx((joint - entropy(t), joint - entropy(p)), abs=1e-9)
    assert variation_of_information(*contingency(prediction, truth)) == expected
    apart = ~np.eye(len(t), dtype=bool)
    of_p, of_t = ((x[:, None] == x[None]) & apart for x in (p, t))
    together = of_p.sum() + of_t.sum()
    error = 1 - 2 * (of_p & of_t).sum() / together if together else np.nan
    found = adapted_rand_error(*contingency(prediction, truth))
    assert found == pytest.approx(error, nan_ok=True)


@given(IMAGES, IMAGES, st.permutations(range(1, 5)), st.permutations(range(1, 5)))
@settings(deadline=None, max_examples=50)
def test_names_of_objects_do_not_matter(prediction, truth, first, second) -> None:
    renamed = [np.array([0, *names])[x] for names, x in ((first, prediction), (second, truth))]
    one, other = (score(*contingency(*pair)).as_dict() for pair in ((prediction, truth), renamed))
    for name in set(one) - {"aji", "aji_cellpose"}:  # these pick by id between equals
        assert one[name] == pytest.approx(other[name]), name


@given(IMAGES, IMAGES, st.integers(1, 4))
@settings(deadline=None, max_examples=30)
def test_blocks_score_like_the_whole(prediction, truth, at) -> None:
    parts = [contingency(prediction[:, at:], truth[:, at:])]
    parts.append(contingency(prediction[:, :at], truth[:, :at]))
    whole = score(*contingency(prediction, truth))
    assert score(*merge_contingencies(parts)).as_dict() == whole.as_dict()


# Three true objects of 4 voxels. Prediction 1 covers two of them, 2 is the third but for a
# voxel, 3 is one voxel in the background.
TRUTH = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 0, 3, 3, 3, 3, 0, 0]])
GUESS = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 2, 2, 0, 0, 3]])


def test_aji_of_kumar_on_three_objects() -> None:
    # 1 and 2 both pick prediction 1 (4 of 8), 3 picks 2 (3 of 4), prediction 3 is wrong (1).
    assert aji(match(*contingency(GUESS, TRUTH))) == (4 + 4 + 3) / (8 + 8 + 4 + 1)


def test_aji_of_cellpose_on_three_objects() -> None:
    # Prediction 1 goes to one of its two; the union of the foregrounds is 8 + 4 + 1.
    assert aji_cellpose(match(*contingency(GUESS, TRUTH))) == (4 + 3) / 13


def test_aji_of_cellpose_prefers_a_pair_of_half_to_two_of_less() -> None:
    # IoU 5/10 of the first two, against 2/8 and 2/7, whose sum is larger.
    guess = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 2, 2]])
    truth = np.array([[1, 1, 1, 1, 1, 2, 2, 0, 1, 1]])
    assert aji_cellpose(match(*contingency(guess, truth))) == 5 / 10


def test_a_chain_of_objects_too_long_for_a_table_is_scored_in_no_time() -> None:
    # Each true object has 4 voxels with one prediction and 3 with the next, all IoU < 0.5.
    chain = np.arange(1, 30_001, dtype=np.uint64)
    pairs = np.concatenate([np.stack([chain, chain]), np.stack([chain[1:], chain[:-1]])], axis=1).T
    counts = np.repeat([4, 3], [30_000, 29_999])
    assert aji_cellpose(match(pairs, counts)) == pytest.approx(4 / 7, abs=1e-4)


def test_precision_and_errors_on_three_objects() -> None:
    matches = match(*contingency(GUESS, TRUTH))
    assert average_precision(matches, 0.5) == 2 / 4
    assert average_precision(matches, 0.75) == 1 / 5
    assert error_rate(matches, 0.5) == 2 / 3
    assert error_rate(matches, 0.9) == 6 / 3


def test_the_truth_scores_full_marks() -> None:
    scores = score(*contingency(TRUTH, TRUTH))
    assert scores.average_precision == (1, 1, 1)
    assert scores.mean_average_precision == scores.aji == scores.aji_cellpose == 1
    assert scores.voi_split == scores.voi_merge == scores.rand_error == 0
    assert (scores.predicted, scores.true) == (3, 3)


def test_nothing_found_and_nothing_there_have_no_value_and_are_json() -> None:
    nothing = np.zeros((3, 3), int)
    false = score(*contingency(np.ones((3, 3), int), nothing)).as_dict()
    assert false["error_rate"] == [None, None, None]
    assert false["average_precision"] == [0, 0, 0]
    assert score(*contingency(nothing, nothing)).as_dict()["mean_average_precision"] is None
    missed = score(*contingency(nothing, np.ones((3, 3), int)))
    assert (missed.aji, missed.aji_cellpose, missed.error_rate) == (0, 0, (1, 1, 1))
    assert json.loads(json.dumps(false)) == false
