"""Classes of objects: votes are counted per object, and add up over blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bigseg.core.classes import combine_votes, count_mapped_votes, count_votes, majority
from bigseg.errors import ImageError

LABELS = np.array([[1, 1, 1, 0], [2, 2, 4, 4]], np.uint32)
CLASSES = np.array([[2, 2, 0, 1], [0, 0, 1, 2]])
VOTES = [[1, 0, 2], [2, 0, 0], [0, 0, 0], [0, 1, 1]]


def as_logits(classes: np.ndarray, n: int) -> np.ndarray:
    return (np.arange(n).reshape(-1, *[1] * classes.ndim) == classes).astype(np.float32) - 3


def test_votes_are_counted_by_object_and_class() -> None:
    assert count_mapped_votes(LABELS, CLASSES, 3).tolist() == VOTES
    assert count_votes(LABELS, as_logits(CLASSES, 3)).tolist() == VOTES
    assert count_votes(LABELS, as_logits(CLASSES, 3), count=5)[4].tolist() == [0, 0, 0]


def test_quantised_logits_vote_and_equal_ones_are_the_lower_class() -> None:
    logits = np.array([[[-9, 5, 5]], [[-9, 5, 6]], [[-8, 5, 6]]], np.int8)
    assert count_votes(np.array([[1, 1, 1]], np.uint32), logits).tolist() == [[1, 1, 1]]


def test_majority_names_the_class_of_most_voxels() -> None:
    votes = np.array([[1, 0, 2], [9, 8, 0], [0, 3, 3], [0, 0, 0]])
    assert majority(votes).tolist() == [2, 0, 1, 0]


def test_background_need_not_vote_as_in_the_paper() -> None:
    votes = np.array([[9, 1, 2], [9, 0, 0], [0, 0, 0]])
    assert majority(votes, background=False).tolist() == [2, 0, 0]


def test_votes_of_parts_become_those_of_final_objects() -> None:
    blocks = [np.array([[1, 5], [0, 2]]), np.zeros((0, 2), np.int64), np.array([[4, 0], [7, 7]])]
    total = combine_votes(iter(blocks), np.array([2, 1, 2, 0], np.uint64), 2)
    assert total.tolist() == [[0, 2], [5, 5]]
    assert combine_votes([], np.zeros(0, np.uint64), 2).shape == (0, 2)


@given(
    labels=arrays.arrays(np.uint32, (3, 4, 5), elements=st.integers(0, 6)),
    classes=arrays.arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 3)),
    axis=st.integers(0, 2),
    at=st.integers(0, 3),
)
@settings(deadline=None, max_examples=50)
def test_votes_add_up_over_any_split(
    labels: np.ndarray, classes: np.ndarray, axis: int, at: int
) -> None:
    n = int(labels.max())
    parts = [np.s_[:at], np.s_[at:]]
    votes = []
    for part in parts:
        box = (slice(None),) * axis + (part,)
        votes.append(count_votes(labels[box], as_logits(classes[box], 4), n))
    whole = count_mapped_votes(labels, classes, 4)
    assert np.array_equal(votes[0] + votes[1], whole)
    ids = np.tile(np.arange(1, n + 1), 2)
    assert np.array_equal(combine_votes(votes, ids, 4), whole)
    assert whole.sum() == np.count_nonzero(labels)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ImageError, match=r"expected \(classes, 2, 4\)"):
        count_votes(LABELS, np.zeros((3, 2, 5)))
    with pytest.raises(ImageError, match=r"class map of shape \(2, 5\)"):
        count_mapped_votes(LABELS, np.zeros((2, 5), int), 3)


@pytest.mark.parametrize("strange", [3, -1])
def test_unknown_classes_are_refused(strange: int) -> None:
    with pytest.raises(ImageError, match=f"class {strange}, but there are only classes 0 to 2"):
        count_mapped_votes(LABELS, np.full(LABELS.shape, strange), 3)


def test_blocks_that_are_missing_are_noticed() -> None:
    with pytest.raises(ImageError, match="votes of 1 objects but 2 final ids"):
        combine_votes([np.zeros((1, 2), np.int64)], np.array([1, 2]), 2)
