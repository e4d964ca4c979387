"""Final ids are consecutive and canonical; applying them keeps background and range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.relabel import dense_offsets, final_ids, relabel
from bigseg.errors import ImageError


def test_offsets_are_where_blocks_start_and_end() -> None:
    assert dense_offsets([3, 0, 2]).tolist() == [0, 3, 3, 5]
    assert dense_offsets([]).tolist() == [0]
    with pytest.raises(ValueError, match="block 1 has -1 objects"):
        dense_offsets([0, -1])


def test_ids_follow_the_first_node_that_owns_voxels() -> None:
    component = np.array([4, 0, 4, 2, 3])
    owns = np.array([False, True, True, True, False])
    assert final_ids(component, owns, None).tolist() == [2, 1, 2, 3, 0]


def test_dropped_nodes_get_no_id_and_leave_no_gap() -> None:
    component = np.array([0, 1, 0, 2])
    keep = np.array([True, False, True])[component]
    assert final_ids(component, np.ones(4, bool), keep).tolist() == [1, 0, 1, 2]


def test_nothing_to_number() -> None:
    assert final_ids(np.zeros(0, np.uint64), np.zeros(0, bool), None).tolist() == []


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1), st.randoms())
@settings(deadline=None, max_examples=50)
def test_names_of_components_do_not_matter(nodes, random) -> None:
    component = np.array([c for c, _ in nodes])
    owns = np.array([o for _, o in nodes])
    names = np.array(random.sample(range(100), 7))
    ids = final_ids(component, owns, None)
    assert ids.tolist() == final_ids(names[component], owns, None).tolist()
    assert set(ids.tolist()) - {0} == set(range(1, len(set(component[owns].tolist())) + 1))


def test_labels_become_final_ids_and_background_stays() -> None:
    labels = np.array([[0, 1], [3, 2]], np.uint64)
    out = relabel(labels, np.array([7, 0, 9], np.uint64))
    assert out.tolist() == [[0, 7], [9, 0]]
    assert out.dtype == np.uint32


def test_the_type_grows_with_the_ids_or_is_given() -> None:
    labels = np.array([1, 0], np.uint32)
    assert relabel(labels, np.array([1 << 32], np.uint64)).tolist() == [1 << 32, 0]
    assert relabel(labels, np.array([5], np.uint64), np.uint64).dtype == np.uint64
    assert relabel(np.zeros((0, 2), np.uint32), np.zeros(0, np.uint64)).shape == (0, 2)


def test_a_table_that_is_too_short_or_a_type_too_small_is_refused() -> None:
    labels = np.array([0, 4], np.uint32)
    with pytest.raises(ImageError, match="label 4 is not in the table of 3 objects"):
        relabel(labels, np.arange(3))
    with pytest.raises(ImageError, match="id 4294967296 does not fit uint32"):
        relabel(labels[:1], np.array([1 << 32], np.uint64), np.uint32)
