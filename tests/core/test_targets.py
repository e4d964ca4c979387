import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.targets import flow_targets, object_boxes


def block(shape, *boxes):
    labels = np.zeros(shape, np.uint16)
    for id_, box in enumerate(boxes, 1):
        labels[tuple(slice(*b) for b in box)] = id_
    return labels


@pytest.mark.parametrize("shape", [(15, 21), (11, 13, 15)])
def test_flow_of_a_box_is_of_unit_length_and_points_to_its_centre(shape):
    labels = block(shape, [(1, n - 1) for n in shape])
    flows = flow_targets(labels)
    assert flows.shape == (len(shape), *shape)
    assert flows.dtype == np.float32
    length = np.sqrt((flows**2).sum(0))
    centre = tuple(n // 2 for n in shape)
    length[centre] = 1
    np.testing.assert_allclose(length[labels > 0], 1, atol=1e-5)
    towards = sum(f * (c - i) for f, c, i in zip(flows, centre, np.indices(shape), strict=True))
    assert (towards[labels > 0] >= 0).all()


def test_background_has_no_flow():
    labels = block((12, 12), ((2, 9), (3, 8)))
    assert not flow_targets(labels)[:, labels == 0].any()


def test_published_diffusion_is_what_a_plane_gets():
    labels = block((11, 12), ((2, 9), (3, 9)))
    heat = np.zeros((11, 12))
    for _ in range(2 * (7 + 6 + 2)):
        heat[5, 5] += 1
        around = sum(np.roll(heat, (j, i), (0, 1)) for j in (-1, 0, 1) for i in (-1, 0, 1))
        heat = np.where(labels > 0, around / 9, 0)
    gradient = np.stack([np.roll(heat, -1, a) - np.roll(heat, 1, a) for a in (0, 1)])
    gradient /= np.maximum(np.sqrt((gradient**2).sum(0)), 1e-60)
    np.testing.assert_allclose(flow_targets(labels), gradient * (labels > 0), atol=1e-4)


def test_neighbours_do_not_bend_each_others_flow():
    pair = block((12, 24), ((1, 11), (1, 12)), ((1, 11), (12, 23)))
    alone = np.where(pair == 1, pair, 0)
    np.testing.assert_array_equal(
        flow_targets(pair)[:, pair == 1], flow_targets(alone)[:, pair == 1]
    )


def test_flow_reaches_the_ends_of_a_long_thin_object():
    labels = block((5, 301), ((1, 4), (0, 301)))
    flows = flow_targets(labels)[:, 2]
    np.testing.assert_allclose(flows[1, :150], 1, atol=1e-4)
    np.testing.assert_allclose(flows[1, 151:], -1, atol=1e-4)


def test_flow_of_a_bent_object_follows_the_bend():
    labels = np.zeros((30, 30), np.int32)
    labels[2:28, 2:6] = labels[24:28, 2:28] = 1
    flows = flow_targets(labels)
    assert flows[0, 4, 3] > 0.9
    assert flows[1, 25, 26] < -0.9


def test_objects_may_touch_the_edge_of_the_array():
    assert np.isfinite(flow_targets(np.ones((5, 6), np.uint32))).all()
    assert np.abs(flow_targets(np.ones((5, 6), np.uint32))).max() > 0.9


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.uint32, np.uint64])
def test_ids_need_not_be_dense_nor_of_one_type(dtype):
    labels = block((14, 24), ((2, 12), (2, 10)), ((2, 12), (11, 22)))
    strange = np.choose(labels, [0, 60_000, 7]).astype(dtype)
    np.testing.assert_array_equal(flow_targets(strange), flow_targets(labels))


def test_huge_ids_cost_no_memory():
    labels = block((14, 24), ((2, 12), (2, 10)))
    np.testing.assert_array_equal(
        flow_targets(labels.astype(np.uint64) * 2**60), flow_targets(labels)
    )


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_flow_moves_with_the_object(z, y, x):
    labels = block((20, 20, 20), ((0, 8), (0, 9), (0, 10)))
    there = flow_targets(np.roll(labels, (z, y, x), (0, 1, 2)))
    np.testing.assert_array_equal(np.roll(there, (-z, -y, -x), (1, 2, 3)), flow_targets(labels))


def test_flow_of_a_ball_is_radial():
    grid = np.indices((21, 21, 21)) - 10
    radius = np.sqrt((grid**2).sum(0))
    flows = flow_targets((radius <= 9).astype(np.uint8))
    shell = (radius > 3) & (radius < 8)
    towards = -(flows * grid).sum(0)[shell] / radius[shell]
    assert towards.min() > 0.98


def test_empty_array():
    assert flow_targets(np.zeros((0, 4), np.uint32)).shape == (2, 0, 4)


def test_boxes_of_ids():
    volume = np.zeros((2, 4, 6), np.uint32)
    volume[0, 1:3, 2:5] = 3
    volume[1, 3, 0] = 1
    expected = [[0] * 6, [1, 3, 0, 2, 4, 1], [0] * 6, [0, 1, 2, 1, 3, 5]]
    np.testing.assert_array_equal(object_boxes(volume), expected)


def ellipsoid(tall: int) -> np.ndarray:
    """A ball of radius 12 in space, in voxels `tall` times as high as wide."""
    z, y, x = np.ogrid[-14:15, -14:15, -14:15]
    ball = (z**2 + y**2 + x**2 <= 144).astype(np.uint32)
    return ball[14 % tall :: tall]


@pytest.mark.parametrize("tall", [2, 3])
def test_flows_of_tall_voxels_are_those_of_space(tall: int) -> None:
    expected = flow_targets(ellipsoid(1))[:, 14 % tall :: tall]
    labels = ellipsoid(tall)
    inner = labels > 0
    inner[[0, -1]] = False
    flows = flow_targets(labels, (tall, 1, 1))
    wrong = flow_targets(labels)
    error = ((flows - expected) ** 2).sum(0)[inner].mean()
    assert error < 0.02
    assert ((wrong - expected) ** 2).sum(0)[inner].mean() > 3 * error
