"""Cellpose's own way from flows to objects."""

import numpy as np
import pytest

from bigseg.core.decode.published import _walk, labels_as_published
from bigseg.core.quantise import quantise
from bigseg.core.targets import flow_targets
from tests.worlds import ball

PLANE = np.zeros((40, 60), np.uint32)
for number, centre in enumerate([(12, 12), (14, 28), (25, 45)], 1):
    PLANE[ball(PLANE.shape, centre, 8)] = number
SOLID = np.zeros((24, 24, 44), np.uint32)
for number, middle in enumerate([(10, 11, 10), (12, 11, 27)], 1):
    SOLID[ball(SOLID.shape, middle, 8)] = number
CORRIDOR = np.arange(121) - 60


def fields(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flows and logits of a network that is right."""
    return flow_targets(labels), np.where(labels > 0, 4, -4).astype(np.float32)


@pytest.mark.parametrize("truth", [PLANE, SOLID], ids=["2d", "3d"])
@pytest.mark.parametrize("packed", [False, True])
def test_flows_of_objects_give_the_objects_back(truth: np.ndarray, packed: bool) -> None:
    flows, logits = fields(truth)
    if packed:
        both = quantise(flows, logits)
        flows, logits = both[:-1], both[-1]
    np.testing.assert_array_equal(labels_as_published(flows, logits), truth)


def reached(stride: float, steps: int) -> int:
    """Distance from the sink in the middle of a corridor at which walks still arrive."""
    flows = np.zeros((2, 9, 121), np.float32)
    flows[0] = -np.clip(np.arange(9) - 4, -1, 1)[:, None]
    flows[1] = -np.clip(CORRIDOR, -1, 1)
    logits = np.ones((9, 121), np.float32)
    labels = labels_as_published(flows, logits, steps=steps, stride=(stride,) * 3)
    return int(np.abs(CORRIDOR[labels[4] == labels[4, 60]]).max())


@pytest.mark.parametrize(("stride", "steps"), [(1, 20), (1, 40), (2, 20)])
def test_voxels_walk_as_many_steps_as_asked_and_no_more(stride: float, steps: int) -> None:
    walked = stride * steps
    assert walked <= reached(stride, steps) <= walked + 5  # a sink reaches five voxels


def test_nothing_is_nothing_and_what_is_not_finite_does_not_flow() -> None:
    flows, logits = fields(PLANE)
    assert not labels_as_published(flows, logits - 10).any()
    flows[:, 14, 28] = np.nan
    np.testing.assert_array_equal(labels_as_published(flows, logits) > 0, PLANE > 0)


@pytest.mark.parametrize(("stretched", "ends"), [(False, [1, 6]), (True, [0, 6])])
def test_in_3d_the_flow_is_read_half_a_voxel_off_at_the_faces(
    stretched: bool, ends: list[int]
) -> None:
    field = np.zeros((3, 9, 9, 11), np.float32)
    field[2] = 1
    middle = np.ravel_multi_index((4, 4, 0), (9, 9, 11))
    assert (_walk(field, middle + np.array([0, 5]), 1, stretched) - middle).tolist() == ends
