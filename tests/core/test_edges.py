"""What two blocks share in their zone and at their face is counted, to the voxel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bigseg.core.edges import edge_columns
from bigseg.core.faces import face_contacts
from bigseg.errors import ImageError

layers = arrays.arrays(np.uint32, (3, 4), elements=st.integers(0, 3))
fields = arrays.arrays(np.int8, (2, 3, 4), elements=st.integers(-127, 127))


def test_contacts_are_counted_across_the_face() -> None:
    a, b = np.array([[1, 1, 1, 2, 0]]), np.array([[0, 4, 4, 4, 5]])
    found = face_contacts(a, b)
    assert list(zip(found.u, found.v, strict=True)) == [(1, 4), (2, 4)]
    assert (found.face_u.tolist(), found.face_v.tolist()) == ([3, 1], [3, 3])
    assert found.contact.tolist() == [2, 1]
    assert found.agreement.tolist() == [0, 0]


def test_flows_agree_by_the_cosine_between_them() -> None:
    labels = np.array([[1, 1, 1, 1]])
    first = np.array([[[100, 0, 50, 0]], [[0, 100, 50, 0]]], np.int8)
    second = np.array([[[7, 0, 50, 3]], [[0, -7, 0, 3]]], np.int8)
    assert face_contacts(labels, labels, first, second).agreement.tolist() == [1000 - 1000 + 707]


@given(layers, layers, fields, fields)
@settings(deadline=None, max_examples=50)
def test_parts_of_a_face_add_up(a, b, first, second) -> None:
    whole = face_contacts(a, b, first, second)
    total: dict[tuple[int, int], np.ndarray] = {}
    for part in (slice(0, 1), slice(1, 3)):
        found = face_contacts(a[part], b[part], first[:, part], second[:, part])
        rows = zip(found.u, found.v, found.contact, found.agreement, strict=True)
        for u, v, *counts in rows:
            total[u, v] = total.get((u, v), 0) + np.array(counts)
    assert sorted(total) == list(zip(whole.u, whole.v, strict=True))
    sums = [total[pair].tolist() for pair in sorted(total)]
    assert sums == np.stack([whole.contact, whole.agreement], axis=1).tolist()


def test_flows_of_another_face_are_refused() -> None:
    labels, flows = np.ones((2, 3), int), np.zeros((2, 2, 4), np.int8)
    with pytest.raises(ImageError, match=r"flows of shape \(2, 2, 4\) do not go with \(2, 3\)"):
        face_contacts(labels, labels, flows, flows)


@given(layers, layers, layers, layers)
@settings(deadline=None, max_examples=50)
def test_rows_hold_overlap_and_contact_of_the_same_pair(a, b, near, far) -> None:
    contacts = face_contacts(near, far)
    table = edge_columns(a, b, contacts)
    pairs = list(zip(table["u"].tolist(), table["v"].tolist(), strict=True))
    assert pairs == sorted({(u, v) for u, v in zip(a.flat, b.flat, strict=True) if u and v})
    for row, (u, v) in enumerate(pairs):
        assert table["n_u"][row] == (a == u).sum()
        assert table["n_uv"][row] == ((a == u) & (b == v)).sum()
        assert table["contact"][row] == ((near == u) & (far == v)).sum()
