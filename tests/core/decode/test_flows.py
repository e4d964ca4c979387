import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.decode.flows import labels_from_flows
from bigseg.core.quantise import quantise, unpack
from bigseg.core.targets import flow_targets


def balls(shape, centres, radius):
    """Labels 1..n of balls (discs) in C order of their centres."""
    grid = np.indices(shape)
    labels = np.zeros(shape, np.uint32)
    for id_, centre in enumerate(centres, 1):
        offsets = grid - np.reshape(centre, (-1,) + (1,) * len(shape))
        labels[(offsets**2).sum(0) <= radius**2] = id_
    return labels


def fields(labels, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    flows = flow_targets(labels) + noise * random.standard_normal((labels.ndim, *labels.shape))
    return flows.astype(np.float32), np.where(labels > 0, 4, -4).astype(np.float32)


TOUCHING = balls((40, 60), [(12, 12), (14, 28), (25, 45)], 8.5)
SOLID = balls((24, 24, 44), [(10, 11, 10), (12, 11, 27)], 8.6)


@pytest.mark.parametrize("truth", [TOUCHING, SOLID], ids=["2d", "3d"])
def test_flows_of_objects_give_the_objects_back(truth):
    flows, logits = fields(truth)
    np.testing.assert_array_equal(labels_from_flows(flows, logits), truth)


@pytest.mark.parametrize("weak", [0.5, 0.1])
def test_weak_flows_come_home(weak):
    flows, logits = fields(TOUCHING)
    found = labels_from_flows(flows * np.float32(weak), logits)
    assert found.max() == 3
    assert (found != TOUCHING).mean() < 0.005


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 99))
def test_result_moves_with_the_objects(down, right, seed):
    flows, logits = fields(TOUCHING, 0.3, seed)
    margin = ((down, 30 - down), (right, 30 - right))
    moved = labels_from_flows(
        np.pad(flows, ((0, 0), *margin)), np.pad(logits, margin, constant_values=-4)
    )
    np.testing.assert_array_equal(
        moved[down : down + 40, right : right + 60], labels_from_flows(flows, logits)
    )


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 8), st.integers(0, 99))
def test_object_is_the_same_whatever_box_it_is_cut_from(z, y, x, seed):
    labels = np.pad(balls((22, 22, 22), [(11, 11, 11)], 8), ((0, 8), (0, 8), (0, 8)))
    labels = np.roll(labels, (z, y, x), (0, 1, 2))
    flows, logits = fields(labels, 0.2, seed)
    box = (slice(z, z + 22), slice(y, y + 22), slice(x, x + 22))
    whole = labels_from_flows(flows, logits)
    cut = labels_from_flows(flows[(slice(None), *box)].copy(), logits[box].copy())
    np.testing.assert_array_equal(whole[box], cut)


@pytest.mark.parametrize("space", [(0, 5), (5, 7), (1, 1), (0, 3, 3), (3, 4, 5)])
def test_nothing_in_the_foreground_gives_nothing(space):
    found = labels_from_flows(
        np.ones((len(space), *space), np.float32), np.full(space, -1, np.float32)
    )
    assert found.shape == space
    assert found.dtype == np.uint32
    assert not found.any()


@pytest.mark.parametrize("space", [(1, 60), (60, 1), (1, 60, 1), (1, 1, 60)])
def test_arrays_may_be_one_voxel_wide(space):
    flows = np.zeros((len(space), 60), np.float32)
    flows[np.argmax(space), :30] = 1
    flows[np.argmax(space), 31:] = -1
    found = labels_from_flows(flows.reshape(len(space), *space), np.ones(space, np.float32))
    np.testing.assert_array_equal(found, np.ones(space))


def test_values_that_are_not_finite_are_no_flow_and_no_foreground():
    flows, logits = fields(TOUCHING)
    flows[:, 12, 5] = np.nan
    flows[0, 14, 30] = np.inf
    logits[12, 16] = np.nan
    found = labels_from_flows(flows, logits)
    assert found[12, 16] == 0
    assert found.max() == 3
    assert (found != TOUCHING).mean() < 0.01


def test_hole_in_the_centre_stops_no_walk():
    flows, logits = fields(TOUCHING)
    logits[14, 28] = -1
    found = labels_from_flows(flows, logits)
    assert found[14, 28] == 0
    assert ((found == 2) | (TOUCHING != 2)).sum() == TOUCHING.size - 1


def test_same_input_same_output_and_inputs_are_left_alone():
    flows, logits = fields(SOLID, 0.3)
    before = flows.copy(), logits.copy()
    first = labels_from_flows(flows, logits)
    np.testing.assert_array_equal(labels_from_flows(flows, logits), first)
    np.testing.assert_array_equal(flows, before[0])
    np.testing.assert_array_equal(logits, before[1])


def test_more_steps_change_nothing_once_walks_have_settled():
    flows, logits = fields(TOUCHING, 0.1)
    np.testing.assert_array_equal(
        labels_from_flows(flows, logits, steps=200), labels_from_flows(flows, logits, steps=3000)
    )


def test_without_steps_there_are_no_sinks():
    assert labels_from_flows(*fields(TOUCHING), steps=0).max() == 0


def test_threshold_is_on_the_logit():
    flows, logits = fields(TOUCHING)
    assert labels_from_flows(flows, logits, cellprob_threshold=4.0).max() == 0
    assert labels_from_flows(flows, logits, cellprob_threshold=3.9).max() == 3


@pytest.mark.parametrize("threshold", [0.0, 0.5, -2.0])
def test_eight_bits_are_read_as_they_are(threshold):
    random = np.random.default_rng(3)
    flows, logits = fields(TOUCHING)
    logits += random.normal(0, 2, logits.shape).astype(np.float32)
    packed = quantise(flows, logits)
    small = labels_from_flows(packed[:-1], packed[-1], cellprob_threshold=threshold)
    full = labels_from_flows(*unpack(packed), cellprob_threshold=threshold)
    np.testing.assert_array_equal(small, full)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"flows of shape \(3, 5, 5\) do not fit logits"):
        labels_from_flows(np.zeros((3, 5, 5), np.float32), np.zeros((5, 5), np.float32))
