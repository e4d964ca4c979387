import numpy as np

from bigseg.view.outlines import PALETTE, colours, edges, highlight, overlay, shade

LABELS = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [0, 7, 7, 7, 9, 9],
        [0, 7, 7, 7, 9, 9],
        [0, 7, 7, 7, 9, 9],
    ]
)


def test_edges_lie_inside_objects_and_not_at_the_border_of_the_image() -> None:
    expected = [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 1, 1],
        [0, 1, 0, 1, 1, 0],
        [0, 1, 0, 1, 1, 0],
    ]
    assert edges(LABELS).tolist() == np.array(expected, bool).tolist()
    assert edges(LABELS, 2)[LABELS != 0].all()
    assert not edges(np.ones((3, 3), int)).any()


def test_touching_objects_have_different_outlines_and_the_image_stays_inside() -> None:
    rgb = overlay(np.full((4, 6), 0.5, np.float32), LABELS)
    assert rgb.dtype == np.uint8
    assert (rgb[1, 1] == colours(np.array([7]))[0]).all()
    assert (rgb[1, 4] == colours(np.array([9]))[0]).all()
    assert (rgb[1, 1] != rgb[1, 4]).any()
    assert (rgb[2, 2] == rgb[0, 0]).all()
    assert len(set(rgb[0, 0].tolist())) == 1


def test_what_cannot_be_shown_is_clipped_and_not_a_number_is_black() -> None:
    image = np.array([[-1.0, 2.0, np.nan, np.inf, -np.inf]], np.float32)
    assert shade(image)[0, :, 0].tolist() == [0, 255, 0, 255, 0]
    assert shade(np.zeros((2, 3, 3), np.float32)).shape == (2, 3, 3)


def test_ids_of_any_size_have_a_colour_and_successive_ones_differ() -> None:
    many = colours(np.array([1, 2, 2**40, 2**64 - 1], np.uint64))
    assert all(any((c == p).all() for p in PALETTE) for c in many)
    run = colours(np.arange(1, 200, dtype=np.uint32))
    assert (run[1:] != run[:-1]).any(axis=1).mean() > 0.9


def test_chosen_objects_are_filled_and_others_only_outlined() -> None:
    rgb = highlight(np.full((4, 6), 0.5, np.float32), LABELS, np.array([7]))
    assert len(set(rgb[2, 2].tolist())) > 1
    assert rgb[1, 4].tolist() == [150, 150, 150]
    assert (rgb[2, 5] == rgb[0, 0]).all()
