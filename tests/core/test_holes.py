import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.ndimage import binary_dilation
from scipy.ndimage import label as components

from bigseg.core.holes import fill_holes


def plane(text):
    return np.array([[int(c) for c in line] for line in text.split()], np.uint32)


def test_hole_of_one_object_is_filled():
    labels = plane("11111 10011 10101 11111")
    np.testing.assert_array_equal(fill_holes(labels), np.ones((4, 5)))


def test_hole_keeps_to_faces_and_does_not_leak_over_a_corner():
    labels = plane("01110 11011 11101 01110")
    np.testing.assert_array_equal(fill_holes(labels), plane("01110 11111 11111 01110"))


@pytest.mark.parametrize(
    "text",
    ["1111 1001 1001", "1111 1002 1111", "01110 11011 11022 01122", "0000 0000"],
    ids=["cut by the array", "between two", "neighbour closes it", "nothing there"],
)
def test_what_is_no_hole_of_one_object_stays(text):
    np.testing.assert_array_equal(fill_holes(plane(text)), plane(text))


def test_input_is_left_alone():
    labels = plane("111 101 111")
    fill_holes(labels)
    assert labels[1, 1] == 0


def test_cavity_of_a_solid_is_filled_but_not_a_tunnel():
    labels = np.ones((5, 5, 5), np.uint32)
    labels[2, 2, 1:4] = 0
    assert fill_holes(labels).all()
    labels[:, 2, 2] = 0
    np.testing.assert_array_equal(fill_holes(labels), labels)


@pytest.mark.parametrize("shape", [(0, 3), (1, 7), (7, 1), (1, 1, 1), (0, 2, 2), (1, 5, 5)])
def test_thin_and_empty_arrays_have_no_holes(shape):
    labels = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape) % 2
    np.testing.assert_array_equal(fill_holes(labels), labels)


def filled_one_by_one(labels):
    """The definition, written down without regard to time."""
    pieces, n = components(labels == 0)
    result = labels.copy()
    for piece in range(1, n + 1):
        mask = pieces == piece
        around = np.unique(labels[binary_dilation(mask) & ~mask])
        inside = mask.copy()
        inside[(slice(1, -1),) * labels.ndim] = False
        if len(around) == 1 and not inside.any():
            result[mask] = around[0]
    return result


@settings(deadline=None, max_examples=60)
@given(
    arrays(
        np.uint32,
        array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=7),
        elements=st.sampled_from([0, 1, 1, 1, 1, 2]),
    )
)
def test_any_array_is_filled_as_the_definition_says(labels):
    np.testing.assert_array_equal(fill_holes(labels), filled_one_by_one(labels))
