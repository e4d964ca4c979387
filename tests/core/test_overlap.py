"""Counting is exact, canonical, and adds up over blocks."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bigseg.core.overlap import add_counts, contingency, overlap_counts, zone_edges
from bigseg.errors import ImageError

LABELS = arrays(np.uint32, (4, 5, 6), elements=st.integers(0, 4))


def brute_force(a, b, background):
    counts = Counter(zip(a.ravel().tolist(), b.ravel().tolist(), strict=True))
    return sorted((p, n) for p, n in counts.items() if background or all(p))


@given(LABELS, LABELS, st.booleans())
@settings(deadline=None, max_examples=50)
def test_counts_are_those_of_a_dictionary(a, b, background) -> None:
    pairs, counts = overlap_counts(a, b, background=background)
    found = [(tuple(p), n) for p, n in zip(pairs.tolist(), counts.tolist(), strict=True)]
    assert found == brute_force(a, b, background)


def test_more_pairs_than_the_first_table_holds() -> None:
    a = np.arange(100_000, dtype=np.uint64) * 0x1_0000_0001
    pairs, counts = overlap_counts(a, a[::-1], background=True)
    assert (pairs[:, 0] == a).all()
    assert (pairs[:, 1] == a[::-1]).all()
    assert (counts == 1).all()


def test_small_signed_and_strided_labels_are_taken() -> None:
    a = np.array([[1, 0, 2], [1, 0, 2]], np.int16)
    pairs, counts = overlap_counts(a[:, ::2], a[:, ::2].astype(np.uint8))
    assert pairs.tolist() == [[1, 1], [2, 2]]
    assert counts.tolist() == [2, 2]


@given(LABELS, LABELS, st.integers(1, 3), st.booleans())
@settings(deadline=None, max_examples=25)
def test_blocks_add_up_to_the_whole_in_any_order(a, b, at, swap) -> None:
    parts = [contingency(a[:at], b[:at]), contingency(a[at:], b[at:])]
    pairs, counts = add_counts(parts[::-1] if swap else parts)
    whole_pairs, whole_counts = contingency(a, b)
    assert pairs.tolist() == whole_pairs.tolist()
    assert counts.tolist() == whole_counts.tolist()


def test_no_tables_add_up_to_nothing() -> None:
    pairs, counts = add_counts([])
    assert pairs.shape == (0, 2)
    assert counts.shape == (0,)


def test_edges_count_each_object_in_the_whole_zone() -> None:
    a = np.array([[1, 1, 1, 0, 2]], np.uint32)
    b = np.array([[3, 3, 4, 4, 0]], np.uint32)
    edges = zone_edges(a, b)
    columns = {name: values.tolist() for name, values in edges.columns().items()}
    assert columns == {"u": [1, 1], "v": [3, 4], "n_u": [3, 3], "n_v": [2, 2], "n_uv": [2, 1]}
    assert len(edges) == 2


def test_a_zone_without_objects_has_no_edges() -> None:
    assert len(zone_edges(np.zeros((2, 3), np.uint32), np.ones((2, 3), np.uint64))) == 0
    assert len(zone_edges(np.zeros((0, 3), np.uint32), np.zeros((0, 3), np.uint32))) == 0


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), r"\(2, 3\) and \(3, 2\) do not"),
        (np.zeros(2), np.zeros(2), "dtype float64; labels are whole numbers"),
        (np.zeros(2, bool), np.zeros(2, bool), "dtype bool; labels are whole numbers"),
        (np.array([-3, 0]), np.array([0, 0]), "labels go down to -3"),
    ],
)
def test_what_is_no_label_image_is_refused(a, b, message) -> None:
    with pytest.raises(ImageError, match=message):
        overlap_counts(a, b)
