"""What was decided of pairs of objects is held against what evidence said of them."""

import numpy as np

from bigseg.core.seams import decide, sizes, split_objects, tally

# Kept surely, kept against evidence, parted surely, parted against evidence, undecided, vanished.
IDS = (np.array([1, 2, 3, 4, 5, 0]), np.array([1, 2, 9, 8, 5, 0]))
ODDS = np.array([3.0, -2.0, -3.0, 2.0, 0.5, 4.0])


def test_a_decision_is_doubtful_if_evidence_is_weak_or_outvoted() -> None:
    found = decide(IDS, 10 * ODDS, np.full(6, 10.0))
    np.testing.assert_array_equal(found.kept, [True, True, False, False, True, False])
    np.testing.assert_allclose(found.margin[:5], [3, -2, 3, -2, 0.5])
    np.testing.assert_allclose(found.doubt, [0, 30, 0, 30, 5, 0])


def test_decisions_are_counted_for_each_pair_of_blocks() -> None:
    found = decide(IDS, 10 * ODDS, np.full(6, 10.0))
    n_u, n_v, n_uv = np.array([[8, 8, 8, 8, 8, 8], [8, 8, 8, 20, 8, 8], [7, 3, 1, 6, 5, 8]])
    split = split_objects((n_u, n_v, n_uv), found)
    assert split.nonzero()[0].tolist() == [3], "v keeps most of its voxels elsewhere"
    rows = tally(np.array([0, 0, 0, 2, 2, 2]), 3, found, split, n_uv)
    assert rows.edges.tolist() == [3, 0, 2]
    assert rows.matched.tolist() == [1, 0, 0]
    assert rows.doubtful.tolist() == [1, 0, 2]
    assert rows.outvoted.tolist() == [1, 0, 1]
    assert rows.split.tolist() == [0, 0, 1]
    assert rows.cut_voxels.tolist() == [1, 0, 6]
    assert rows.margin.tolist() == [-2, np.inf, -2]


def test_sizes_are_those_of_zone_or_face_or_contact() -> None:
    ends = {"u": np.ones(2), "n_u": np.array([4, 0]), "n_v": np.array([8, 0])}
    faces = {"face_u": np.array([1, 3]), "face_v": np.array([1, 5])}
    assert sizes(ends).tolist() == [6, 1]
    assert sizes(ends | faces).tolist() == [6, 4]
    assert sizes({"u": np.ones(2), "contact": np.array([0, 7])}).tolist() == [1, 7]
    assert sizes({"u": np.ones(2)}).tolist() == [1, 1]
