"""Tiles cover planes, waste little and leave an identity as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.tiles import STRIDE, Tiling, computed_pixels, predict_planes, round_up, taper

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
