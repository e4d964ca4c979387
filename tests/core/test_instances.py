"""Objects of a block are judged if the block sees all of them."""

import numpy as np
import pytest

from bigseg.core.class_targets import hover_targets
from bigseg.core.instances import Criteria, compact, cut_objects, find_instances, find_objects
from bigseg.core.representations import Name, pack
from bigseg.core.targets import flow_targets
from tests.worlds import ball

CLOSED = ((False, False), (False, False))
LEFT = ((False, False), (True, False))


def disc(centre: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, int]:
    """Flows, logits and area of a disc in a plane."""
    mask = ball((40, 40), centre, 8)
    logits = np.where(mask, 6, -6).astype(np.float32)
    return flow_targets(mask.astype(np.uint32)), logits, int(mask.sum())


@pytest.mark.parametrize(("faces", "left"), [(CLOSED, 0), (LEFT, 1)])
def test_only_whole_objects_are_judged_by_size(faces: tuple, left: int) -> None:
    flows, logits, area = disc((20, 3))
    labels, errors = find_instances(flows, logits, Criteria(min_size=area + 1), faces)
    assert labels.max() == len(errors) == left


def test_a_whole_object_has_a_flow_error_and_a_cut_one_has_none() -> None:
    flows, logits, area = disc((20, 20))
    labels, errors = find_instances(flows, logits, Criteria(min_size=area), LEFT)
    assert labels.max() == 1
    assert errors[0] < 0.1
    flows, logits, _ = disc((20, 3))
    assert np.isnan(find_instances(flows, logits, Criteria(), LEFT)[1]).all()


def test_nothing_is_nothing() -> None:
    nothing = np.zeros((2, 9, 9), np.float32), np.full((9, 9), -6, np.float32)
    labels, errors = find_instances(*nothing, Criteria(), LEFT)
    assert not labels.any()
    assert len(errors) == 0


def test_faces_cut_what_touches_them() -> None:
    labels = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0]], np.uint32)
    assert cut_objects(labels, ((True, False), (False, True))).tolist() == [0, 1, 1, 0, 0]


def test_ids_close_up_in_order() -> None:
    labels, former = compact(np.array([5, 0, 2, 5], np.uint32))
    assert labels.tolist() == [2, 0, 1, 2]
    assert former.tolist() == [2, 5]


@pytest.mark.parametrize(("parity", "judged"), [(False, True), (True, False)])
def test_as_published_no_object_is_judged_by_its_flow_in_3d(parity: bool, judged: bool) -> None:
    mask = ball((20, 20, 20), (9, 9, 9), 6)
    logits = np.where(mask, 6, -6).astype(np.float32)
    flows = 0.4 * flow_targets(mask.astype(np.uint32))  # that a step of twice that stays within
    labels, errors = find_instances(flows, logits, Criteria(parity=parity), (CLOSED[0],) * 3)
    np.testing.assert_array_equal(labels > 0, mask)
    assert np.isfinite(errors).tolist() == [judged]


def test_as_published_the_threshold_in_3d_is_on_the_sum_of_three_logits() -> None:
    mask = ball((20, 20, 20), (9, 9, 9), 6)
    logits = np.where(mask, 1, -6).astype(np.float32)
    flows = 0.4 * flow_targets(mask.astype(np.uint32))
    for threshold, found in ((2.9, 1), (3.1, 0)):
        criteria = Criteria(threshold, parity=True)
        assert find_instances(flows, logits, criteria, (CLOSED[0],) * 3)[0].max() == found


@pytest.mark.parametrize("name", ["flows", "hover"])
def test_objects_are_found_in_eight_bits_and_in_exact_maps(name: Name) -> None:
    mask = ball((40, 40), (20, 20), 8)
    labels = mask.astype(np.uint32)
    vectors = flow_targets(labels) if name == "flows" else hover_targets(labels)
    maps = np.concatenate([vectors, np.where(mask, 6, -6)[None]]).astype(np.float32)
    for exact in (False, True):
        found, _ = find_objects(name, pack(name, maps, 2, exact), Criteria(), CLOSED)
        np.testing.assert_array_equal(found > 0, mask)
