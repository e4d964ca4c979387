"""Masks in missed frames lie between their neighbours and overwrite nothing."""

import numpy as np

from bigseg.core.tracking.filling import Piece, between, cut, gaps, paste
from bigseg.core.tracking.lineage import lineages

DISC = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)


def test_every_missed_frame_of_a_track_is_listed() -> None:
    frame = np.array([0, 1, 1, 4, 4, 5])
    label = np.array([1, 1, 2, 1, 2, 1])
    # 0 divides into 1 and 2; 1 goes on to 3 over two frames, 4 is on its own, 2 is back in 5.
    found = lineages(frame, label, np.array([[0, 1], [0, 2], [1, 3], [2, 5]]))
    missed = gaps(found)
    assert missed.frame.tolist() == [2, 2, 3, 3, 4]
    assert missed.track.tolist() == [2, 3, 2, 3, 3]
    assert missed.before.tolist() == [1, 2, 1, 2, 2]
    assert missed.after.tolist() == [3, 5, 3, 5, 5]
    np.testing.assert_allclose(missed.part, [1 / 3, 1 / 4, 2 / 3, 1 / 2, 3 / 4])


def test_nothing_is_missing_between_a_mother_and_her_daughters() -> None:
    found = lineages(np.array([0, 3, 3]), np.array([1, 1, 2]), np.array([[0, 1], [0, 2]]))
    assert len(gaps(found).frame) == 0


def test_pieces_are_cut_by_label_however_large() -> None:
    labels = np.zeros((5, 6), np.uint64)
    labels[1:4, 2:5][DISC] = 2**63 + 5
    labels[0, 0] = 3
    found = cut(labels, [2**63 + 5, 77])
    assert list(found) == [2**63 + 5]
    piece = found[2**63 + 5]
    assert piece.corner == (1, 2)
    assert (piece.mask == DISC).all()
    assert piece.centre.tolist() == [2, 3]
    assert cut(labels, []) == {}


def test_the_nearer_shape_moves_by_its_part_of_the_way() -> None:
    before, after = Piece((0, 0, 0), DISC[None]), Piece((0, 4, 8), np.ones((1, 3, 3), bool))
    early, late = between(before, after, 0.25), between(before, after, 0.75)
    assert (early.corner, late.corner) == ((0, 1, 2), (0, 3, 6))
    assert (early.mask == DISC).all()
    assert late.mask.all()


def test_what_is_there_stays_and_what_is_outside_is_left_out() -> None:
    labels = np.zeros((4, 4), np.uint32)
    labels[1, 1] = 9
    assert paste(labels, Piece((0, 0), DISC), 5) == 4
    assert labels[1, 1] == 9
    assert (labels == 5).sum() == 4
    assert paste(labels, Piece((-1, 2), np.ones((2, 5), bool)), 6) == 2
    assert labels[0].tolist() == [0, 5, 6, 6]
    assert paste(labels, Piece((7, 0), DISC), 7) == 0
    assert paste(labels, Piece((0, 0), DISC), 8) == 0
