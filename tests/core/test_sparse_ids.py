import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bigseg.core.sparse_ids import densified
from bigseg.errors import ImageError


def test_large_ids_become_small_ones() -> None:
    labels = np.array([[0, 2**62, 2**62], [7, 7, 2**63]], np.uint64)
    numbers, ids = densified(labels)
    assert numbers.tolist() == [[0, 2, 2], [1, 1, 3]]
    assert ids.tolist() == [7, 2**62, 2**63]
    assert numbers.dtype == np.uint32


@settings(deadline=None, max_examples=30)
@given(arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(0, 9)), elements={"min_value": 0}))
def test_ids_come_back(labels: np.ndarray) -> None:
    numbers, ids = densified(labels)
    np.testing.assert_array_equal(np.r_[np.uint64(0), ids][numbers], labels)
    assert np.unique(numbers[numbers > 0]).tolist() == list(range(1, len(ids) + 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64])
def test_any_integers_are_labels(dtype: type) -> None:
    assert densified(np.array([3, 0, 3], dtype))[0].tolist() == [1, 0, 1]


def test_what_are_no_labels_is_refused() -> None:
    with pytest.raises(ImageError, match="go down to -1"):
        densified(np.array([-1, 2]))
    with pytest.raises(ImageError, match="float64"):
        densified(np.array([1.0]))
