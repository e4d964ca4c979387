import numpy as np
import pytest

from bigseg.core.quality import flow_errors, remove_objects, sizes
from bigseg.core.quantise import quantise
from bigseg.core.targets import flow_targets


def two(shape):
    """Two boxes, side by side along the last axis."""
    labels = np.zeros(shape, np.uint32)
    middle = shape[-1] // 2
    inner = tuple(slice(1, n - 1) for n in shape[:-1])
    labels[(*inner, slice(1, middle))] = 1
    labels[(*inner, slice(middle, shape[-1] - 1))] = 2
    return labels


SHAPES = pytest.mark.parametrize("shape", [(20, 40), (16, 16, 32)], ids=["2d", "3d"])


@SHAPES
def test_objects_with_their_own_flow_have_hardly_an_error(shape):
    labels = two(shape)
    errors = flow_errors(labels, flow_targets(labels))
    assert errors.dtype == np.float32
    assert errors.shape == (3,)
    assert errors[0] == 0
    assert errors.max() < 0.08


@SHAPES
def test_opposite_flow_has_the_largest_error(shape):
    labels = two(shape)
    errors = flow_errors(labels, -flow_targets(labels))
    assert errors[1:].min() > 3.5


@SHAPES
def test_two_cells_taken_for_one_are_found_out(shape):
    labels = two(shape)
    merged = (labels > 0).astype(np.uint32)
    assert flow_errors(merged, flow_targets(labels))[1] > 0.4


def test_no_flow_at_all_is_an_error_of_one():
    labels = two((20, 40))
    errors = flow_errors(labels, np.zeros((2, 20, 40), np.float32))
    np.testing.assert_allclose(errors[1:], 1, atol=0.02)


def test_skipped_objects_are_not_judged():
    labels = two((20, 40))
    flows = -flow_targets(labels)
    errors = flow_errors(labels, flows, skip=np.array([False, True, False]))
    assert errors[1] == 0
    assert errors[2] == flow_errors(labels, flows)[2]


def test_eight_bits_are_read_as_they_are():
    labels = two((20, 40))
    flows = flow_targets(labels)
    packed = quantise(flows, np.ones(labels.shape, np.float32))
    np.testing.assert_allclose(
        flow_errors(labels, packed[:-1]), flow_errors(labels, flows), atol=1e-3
    )


def test_ids_without_voxels_have_no_error():
    labels = two((20, 40)) * np.uint32(2)
    errors = flow_errors(labels, -flow_targets(labels))
    assert errors.shape == (5,)
    assert errors[1] == errors[3] == 0
    assert errors[2] > 1


def test_flows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"flows of shape \(2, 3, 3\) do not fit labels"):
        flow_errors(np.zeros((4, 4), np.uint32), np.zeros((2, 3, 3), np.float32))


def test_sizes_count_voxels_of_each_id():
    labels = np.array([[0, 2, 2], [4, 0, 2]], np.uint32)
    np.testing.assert_array_equal(sizes(labels), [2, 0, 3, 0, 1])


def test_sizes_of_nothing():
    np.testing.assert_array_equal(sizes(np.zeros((0, 3), np.uint32)), [0])


def test_removed_objects_become_background_and_the_others_keep_their_id():
    labels = np.array([[0, 1, 2], [3, 3, 1]], np.uint32)
    kept = remove_objects(labels, np.array([False, True, False, False]))
    np.testing.assert_array_equal(kept, [[0, 0, 2], [3, 3, 0]])
    assert labels[0, 1] == 1


def test_tall_voxels_do_not_make_an_object_bad() -> None:
    z, y, x = np.ogrid[-4:5, -14:15, -14:15]
    labels = ((3 * z) ** 2 + y**2 + x**2 <= 144).astype(np.uint32)
    flows = flow_targets(labels, (3, 1, 1))
    flows[0] /= 3  # in voxels per step
    assert flow_errors(labels, flows, spacing=(3, 1, 1))[1] < 0.03
    assert flow_errors(labels, flows)[1] > 0.06
