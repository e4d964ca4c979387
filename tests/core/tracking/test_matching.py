"""Objects meet by their masks or by their places."""

import numpy as np
import pytest

from bigseg.core.overlap import add_counts, contingency
from bigseg.core.tracking.matching import match_masks, match_points


def test_an_object_is_found_by_what_covers_more_than_half_of_it() -> None:
    true = np.array([[1, 1, 2, 2, 3, 3, 0, 4, 4, 4]], np.uint16)
    ours = np.array([[9, 9, 9, 9, 8, 7, 7, 4, 4, 0]], np.uint16)
    found = match_masks(*contingency(ours, true))
    assert found.pairs.tolist() == [[1, 9], [2, 9], [4, 4]]  # half of 3 is not more than half
    assert found.iou == pytest.approx([1 / 2, 1 / 2, 2 / 3])
    assert found.true.tolist() == [1, 2, 3, 4]
    assert found.result.tolist() == [4, 7, 8, 9]


def test_blocks_add_up_to_the_frame() -> None:
    random = np.random.default_rng(0)
    true, ours = random.integers(0, 5, (2, 12, 12)).astype(np.uint16)
    blocks = [contingency(ours[:, i : i + 3], true[:, i : i + 3]) for i in range(0, 12, 3)]
    one, other = match_masks(*add_counts(blocks)), match_masks(*contingency(ours, true))
    assert one.pairs.tolist() == other.pairs.tolist()
    assert one.iou.tolist() == other.iou.tolist()


def test_an_empty_frame_has_no_matches() -> None:
    empty = np.zeros((3, 3), np.uint8)
    found = match_masks(*contingency(empty, empty))
    assert len(found.pairs) == len(found.true) == len(found.result) == 0


def test_points_meet_once_and_within_the_distance() -> None:
    true = np.array([[0.0, 0, 0], [0, 0, 3], [0, 0, 9]])
    ours = np.array([[0.0, 0, 2], [0, 0, 4], [0, 0, 20]])
    pairs = match_points(np.zeros(3, int), true, np.zeros(3, int), ours, 2.5)
    assert pairs.tolist() == [[0, 0], [1, 1]]
    assert len(match_points(np.zeros(3, int), true, np.ones(3, int), ours, 2.5)) == 0
    assert len(match_points(np.zeros(3, int), true, np.zeros(3, int), ours, 0.5)) == 0


def test_points_at_the_same_place_meet() -> None:
    place = np.array([[1.0, 2, 3], [1, 2, 3]])
    assert len(match_points(np.zeros(2, int), place, np.zeros(2, int), place, 1.0)) == 2
