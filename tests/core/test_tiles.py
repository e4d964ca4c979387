"""Tiles cover planes, waste little and leave an identity as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.tiles import (
    STRIDE,
    Tiling,
    computed_pixels,
    predict_planes,
    round_up,
    taper,
    with_flips,
)

TILINGS = st.sampled_from([Tiling(512, 24), Tiling(288, 16), Tiling(64, 8), Tiling(64, 8, True)])


@settings(deadline=None)
@given(TILINGS, st.integers(1, 5000))
def test_tiles_cover_an_axis_and_overlap_by_both_margins(tiling: Tiling, length: int) -> None:
    edge, starts = tiling.edges(length)
    assert edge % STRIDE == 0
    assert edge <= tiling.tile
    assert starts[0] == 0
    assert starts[-1] + edge >= length
    gaps = np.diff(starts)
    assert (edge - gaps >= 2 * tiling.margin).all()


@pytest.mark.parametrize("length", [1024, 2048, 5000])
def test_large_planes_are_computed_at_most_1_3_times(length: int) -> None:
    assert computed_pixels(Tiling(512, 24), length, length) / length**2 <= 1.3


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 150), st.integers(1, 150), st.booleans())
def test_blending_leaves_an_identity_as_it_is(height: int, width: int, fixed: bool) -> None:
    planes = np.random.default_rng(0).random((2, 1, height, width)).astype(np.float32)
    found = predict_planes(lambda tiles: tiles, planes, Tiling(64, 8, fixed), 1, 3)
    np.testing.assert_allclose(found, planes, atol=1e-5)


def test_the_middle_of_a_tile_weighs_most() -> None:
    weight = taper(256, 512)
    assert weight.shape == (256, 512)
    assert weight[128, 256] == pytest.approx(1, abs=1e-3)
    assert 0 < weight[0, 0] < 0.01


def test_lengths_are_rounded_up() -> None:
    assert [round_up(n) for n in (1, 16, 17)] == [16, 16, 32]


def places(tiles: np.ndarray) -> np.ndarray:
    """Maps of places in a tile, which turn into others when mirrored."""
    y, x = (np.arange(n, dtype=np.float32) for n in tiles.shape[2:])
    found = np.zeros((len(tiles), 3, *tiles.shape[2:]), np.float32)
    found[:, 0], found[:, 1], found[:, 2] = y[:, None], 2 * x, y[:, None] + 3 * x
    return found


def slopes(tiles: np.ndarray) -> np.ndarray:
    """Slopes of a plane and the plane, which turn with it."""
    y, x = np.gradient(tiles[:, 0], axis=(1, 2))
    return np.stack([y, x, tiles[:, 0]], 1)


def test_what_turns_with_the_plane_is_not_changed_by_flips() -> None:
    tiles = np.random.default_rng(0).random((2, 1, 16, 32)).astype(np.float32)
    found = with_flips(slopes, vectors=True)(tiles)
    np.testing.assert_allclose(found, slopes(tiles), atol=1e-6)
    assert abs(with_flips(slopes, vectors=False)(tiles)[:, :2] - slopes(tiles)[:, :2]).max() > 0.1


def test_vectors_along_a_mirrored_axis_change_their_sign() -> None:
    tiles = np.zeros((1, 1, 16, 32), np.float32)
    y, x = np.arange(16.0), np.arange(32.0)
    found = with_flips(places, vectors=True)(tiles)[0]
    np.testing.assert_allclose(found[0], np.tile((y - 7.5)[:, None], 32))
    np.testing.assert_allclose(found[1], np.tile(2 * (x - 15.5), (16, 1)))
    np.testing.assert_allclose(found[2], 7.5 + 3 * 15.5)
    plain = with_flips(places, vectors=False)(tiles)[0]
    np.testing.assert_allclose(plain, np.array([7.5, 31, 54])[:, None, None] + np.zeros((16, 32)))


def test_each_tile_is_shown_in_four_ways() -> None:
    shown: list[np.ndarray] = []

    def watch(tiles: np.ndarray) -> np.ndarray:
        shown.append(tiles.copy())
        return tiles.repeat(3, 1)

    tiles = np.random.default_rng(0).random((1, 1, 16, 16)).astype(np.float32)
    with_flips(watch, vectors=True)(tiles)
    ways = [tiles, tiles[..., ::-1, :], tiles[..., ::-1], tiles[..., ::-1, ::-1]]
    for one, other in zip(shown, ways, strict=True):
        np.testing.assert_array_equal(one, other)
