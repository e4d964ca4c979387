"""HoVer maps and border classes from labels."""

import numpy as np
import pytest

from bigseg.core.class_targets import border_targets, hover_targets


def block(shape, *boxes):
    labels = np.zeros(shape, np.uint16)
    for id_, box in enumerate(boxes, 1):
        labels[tuple(slice(*b) for b in box)] = id_
    return labels


def test_maps_go_from_minus_one_to_one_with_zero_at_the_centre():
    maps = hover_targets(block((7, 9), ((1, 6), (2, 7))))
    assert maps.dtype == np.float32
    np.testing.assert_array_equal(maps[0, 1:6, 4], [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_array_equal(maps[1, 3, 2:7], [-1, -0.5, 0, 0.5, 1])
    assert not maps[:, 0].any()
    assert not maps[:, :, 7:].any()


def test_each_side_has_its_own_scale():
    labels = block((3, 10), ((0, 3), (0, 10)))
    labels[1:, 3:] = 0  # the centre of mass moves to the left
    maps = hover_targets(labels)
    np.testing.assert_allclose(maps[1, 0, :4], [-1, -2 / 3, -1 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(maps[1, 0, 3:], np.arange(7) / 6, rtol=1e-6)


def test_the_published_centre_is_a_pixel_earlier():
    maps = hover_targets(block((3, 7), ((0, 3), (1, 6))), parity=True)
    np.testing.assert_allclose(maps[1, 1, 1:6], [-1, 0, 1 / 3, 2 / 3, 1], rtol=1e-6)


def test_objects_do_not_mix_and_ids_need_not_be_dense():
    pair = block((8, 16), ((0, 8), (0, 8)), ((0, 8), (8, 16)))
    alone = np.where(pair == 1, pair, 0)
    np.testing.assert_array_equal(
        hover_targets(pair)[:, pair == 1], hover_targets(alone)[:, pair == 1]
    )
    strange = np.choose(pair, [0, 60_000, 7]).astype(np.uint64) * 2**40
    np.testing.assert_array_equal(hover_targets(strange), hover_targets(pair))


def test_border_is_two_pixels_from_the_contour():
    classes = border_targets(block((12, 12), ((1, 11), (1, 11))))
    expected = block((12, 12), ((1, 11), (1, 11)), ((4, 8), (4, 8)))
    expected = np.choose(expected, [0, 2, 1])
    np.testing.assert_array_equal(classes, expected)
    assert classes.dtype == np.uint8


def test_border_is_measured_in_pixels_of_the_network():
    labels = block((20, 20), ((1, 19), (1, 19)))
    assert [int((border_targets(labels, scale=s)[10] == 2).sum()) for s in (0.5, 1, 2)] == [
        10,
        6,
        4,
    ]


def test_touching_objects_both_have_a_border_and_holes_have_none():
    labels = block((20, 40), ((0, 20), (0, 20)), ((0, 20), (20, 40)))
    assert border_targets(labels)[10, 16:24].tolist() == [1, 2, 2, 2, 2, 2, 2, 1]
    labels[10, 10] = 0
    assert border_targets(labels)[10, 8:13].tolist() == [1, 1, 0, 1, 1]


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_of_nothing(classes):
    assert not border_targets(np.zeros((4, 5), np.uint16), classes=classes).any()
    assert not hover_targets(np.zeros((4, 5), np.uint16)).any()


def test_two_classes_know_no_border():
    labels = block((6, 6), ((1, 5), (1, 5)))
    np.testing.assert_array_equal(border_targets(labels, classes=2), labels)
