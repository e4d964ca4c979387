"""Planes are restored alike however they are cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.intensity import rescale
from bigseg.core.restoring import Axis, Ranges, restore_planes, source, to_image
from bigseg.core.tiles import Tiling
from bigseg.types import Floats

SMALL = Tiling(64, 12)


def plane_axes(
    height: int, width: int, scale: float = 1.0, tiling: Tiling = SMALL
) -> tuple[Axis, Axis]:
    y, x = (Axis(n, max(int(n * scale), 1), n, tiling) for n in (height, width))
    return y, x


def blurring(tiles: Floats) -> Floats:
    """A network whose output depends on all of a tile, as by a style."""
    return tiles * (1 + tiles.mean((2, 3), keepdims=True)) + tiles[:, :, ::-1] / 8


def image(height: int, width: int, planes: int = 2) -> Floats:
    return np.random.default_rng(0).random((planes, height, width), np.float32)


def part(planes: Floats, axes: tuple[Axis, Axis], wanted: Ranges, batch: int = 3) -> Floats:
    (y0, y1), (x0, x1) = source(axes, wanted)
    return restore_planes(blurring, planes[:, y0:y1, x0:x1], axes, wanted, batch)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 220), st.integers(1, 220), st.floats(0.3, 2.5), st.integers(7, 90), st.booleans()
)
def test_blocks_fit_together_wherever_they_are_cut(
    height: int, width: int, scale: float, block: int, larger: bool
) -> None:
    axes = plane_axes(height, width, scale)
    if larger:
        y, x = (Axis(a.length, a.pixels, a.pixels, SMALL) for a in axes)
        axes = (y, x)
    planes = image(height, width, 1)
    whole = part(planes, axes, ((0, axes[0].result), (0, axes[1].result)))
    assert whole.shape == (1, axes[0].result, axes[1].result)
    for y0 in range(0, axes[0].result, block):
        for x0 in range(0, axes[1].result, block):
            wanted = (
                (y0, min(y0 + block, axes[0].result)),
                (x0, min(x0 + block, axes[1].result)),
            )
            (a, b), (c, d) = wanted
            np.testing.assert_allclose(part(planes, axes, wanted), whole[:, a:b, c:d], atol=1e-5)


def test_a_network_that_does_nothing_gives_the_image_back() -> None:
    planes = image(150, 90)
    axes = plane_axes(150, 90)
    result = restore_planes(lambda tiles: tiles, planes, axes, ((0, 150), (0, 90)))
    np.testing.assert_allclose(result, planes, atol=1e-6)


def test_a_smooth_image_survives_being_resized() -> None:
    y, x = np.mgrid[:120, :100].astype(np.float32)
    planes = np.sin(y / 9)[None] + np.cos(x / 7)[None]
    axes = plane_axes(120, 100, 1.7)
    result = restore_planes(lambda tiles: tiles, planes, axes, ((0, 120), (0, 100)))
    np.testing.assert_allclose(result[:, 1:-1, 1:-1], planes[:, 1:-1, 1:-1], atol=0.01)


def test_the_result_may_have_a_finer_grid() -> None:
    planes = np.linspace(0, 1, 30, dtype=np.float32)[None, :, None].repeat(20, 2)
    axes = (Axis(30, 75, 75, SMALL), Axis(20, 50, 50, SMALL))
    result = restore_planes(lambda tiles: tiles, planes, axes, ((0, 75), (0, 50)))
    assert result.shape == (1, 75, 50)
    assert np.interp(10.5, np.arange(30), planes[0, :, 0]) == pytest.approx(result[0, 27, 5])


def test_small_planes_are_one_tile_framed_by_zeros() -> None:
    seen = []
    axes = plane_axes(37, 40)
    restore_planes(
        lambda tiles: seen.append(tiles) or tiles, image(37, 40), axes, ((0, 37), (0, 40)), 2
    )
    assert [tiles.shape for tiles in seen] == [(2, 1, 64, 64)]
    assert not seen[0][:, :, :13].any()
    assert not seen[0][:, :, 13 + 37 :].any()
    assert seen[0][:, :, 13].any()


def test_what_is_constant_is_not_shown_to_the_network() -> None:
    planes = np.full((1, 300, 300), -0.2, np.float32)
    planes[:, :40] = image(40, 300, 1)
    seen = []
    axes = plane_axes(300, 300)
    result = restore_planes(
        lambda tiles: seen.append(tiles) or tiles, planes, axes, ((0, 300), (0, 300))
    )
    assert len(seen) < len(axes[0].starts) * len(axes[1].starts)
    np.testing.assert_allclose(result, planes, rtol=1e-5)


@given(st.integers(1, 5000), st.floats(0.2, 3))
def test_tiles_cover_the_plane_and_overlap(length: int, scale: float) -> None:
    axis = Axis(length, max(int(length * scale), 1), length, Tiling(512, 24))
    starts = axis.starts
    assert starts[0] <= -8
    assert starts[-1] + axis.edge >= axis.pixels + 8
    assert all(b - a <= axis.edge - 48 for a, b in pairwise(starts))


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int64", "uint64", "float32", "bool"]
)
def test_values_return_to_the_scale_and_type_of_the_image(dtype: str) -> None:
    values = np.array([[-9e18, 0, 0.5, 1, 9e18]], np.float32)
    found = to_image(values, 0, 1 if dtype == "bool" else 100, dtype)
    assert found.dtype == dtype
    assert found[0, 1:4].tolist() == [0, 1, 1] if dtype == "bool" else [0, 50, 100]
    if np.dtype(dtype).kind in "ui":
        assert found[0, 0] == np.iinfo(dtype).min
        assert found[0, 4] >= np.iinfo(dtype).max * 0.99


def test_a_value_that_is_normalised_and_back_is_the_same() -> None:
    given = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_array_equal(to_image(rescale(given, 12, 207), 12, 207, np.uint8), given)
