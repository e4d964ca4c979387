"""Pieces stay on one side of a boundary, and what is far away does not change them."""

import numpy as np
import pytest

from bigseg.core.boundary_maps import DIRECT
from bigseg.core.metrics import variation_of_information
from bigseg.core.overlap import contingency
from bigseg.core.supervoxels import Growth, mutex_pieces, watershed_pieces
from bigseg.errors import ImageError
from tests.maps import affinities, boundary, cells

GROWTH = Growth(min_size=5)


def test_pieces_do_not_cross_boundaries() -> None:
    truth = cells((24, 30, 36), 20, 0)
    maps = boundary(truth)
    labels, seeds = watershed_pieces(maps, GROWTH)
    inside = np.where(maps < 0.5, truth, 0).astype(np.uint32)
    assert variation_of_information(*contingency(labels, inside))[1] < 0.05
    assert 15 <= len(seeds) < 120
    assert sorted(np.unique(labels)) == list(range(1, len(seeds) + 1))


def test_a_piece_holds_its_seed() -> None:
    labels, seeds = watershed_pieces(boundary(cells((12, 14, 16), 8, 1)), GROWTH)
    assert labels.reshape(-1)[seeds].tolist() == list(range(1, len(seeds) + 1))


def test_pieces_of_slices_are_flat() -> None:
    maps = boundary(cells((5, 40, 50), 12, 2))
    labels, seeds = watershed_pieces(maps, Growth(min_size=5, slices=True))
    planes = [set(np.unique(plane)) for plane in labels]
    assert sum(map(len, planes)) == len(seeds) == len(set.union(*planes))
    alone, at = watershed_pieces(maps[2:3], Growth(min_size=5, slices=True))
    assert (alone[0] == labels[2] - (labels[2].min() - 1)).all()
    assert labels.reshape(-1)[seeds].tolist() == list(range(1, len(seeds) + 1))
    assert (at + 2 * 40 * 50 == seeds[labels[2].min() - 1 : labels[2].max()]).all()


def test_what_is_far_away_changes_nothing() -> None:
    maps = boundary(cells((40, 40, 90), 60, 3))
    growth = Growth(min_size=5, reach=8)
    whole, _ = watershed_pieces(maps, growth)
    part, _ = watershed_pieces(maps[:, :, :70], growth)
    split, merged = variation_of_information(
        *contingency(whole[:, :, :45].copy(), part[:, :, :45].copy())
    )
    assert split + merged == 0


def test_small_pieces_go_to_their_neighbours() -> None:
    maps = boundary(cells((20, 24, 28), 60, 4))
    labels, seeds = watershed_pieces(maps, Growth(min_size=150))
    assert np.bincount(labels.reshape(-1))[1:].min() >= 150
    assert len(seeds) < len(watershed_pieces(maps, Growth(min_size=0))[1])
    assert labels.all()


def test_no_boundary_is_one_piece_and_nothing_else_is_none() -> None:
    for slices, pieces in ((False, 1), (True, 4)):
        growth = Growth(slices=slices)
        assert len(watershed_pieces(np.zeros((4, 9, 9), np.float32), growth)[1]) == pieces
        labels, seeds = watershed_pieces(np.ones((4, 9, 9), np.float32), growth)
        assert not labels.any()
        assert len(seeds) == 0


@pytest.mark.parametrize("slices", [False, True])
def test_mutex_watershed_finds_what_affinities_know(slices: bool) -> None:
    truth = cells((8, 24, 28), 9, 5).astype(np.uint32)
    offsets = (*DIRECT, (-3, 0, 0), (0, -4, 0), (0, 0, -4), (0, -4, 4))
    labels, seeds = mutex_pieces(
        affinities(truth, offsets), offsets, Growth(min_size=5, slices=slices)
    )
    assert (seeds == -1).all()
    assert sorted(np.unique(labels)) == list(range(1, len(seeds) + 1))
    split, merged = variation_of_information(*contingency(labels, truth))
    assert merged < 0.05
    assert (split > 1) is slices


def test_a_mutex_watershed_needs_repulsion() -> None:
    with pytest.raises(ImageError, match=r"needs affinities of direct neighbours and of farther"):
        mutex_pieces(np.zeros((3, 2, 2, 2), np.uint8), DIRECT, GROWTH)
