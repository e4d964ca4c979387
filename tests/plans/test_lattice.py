"""Blocks of `predict` waste little of what the network computes, whatever is cut from the rest."""

from dataclasses import replace
from math import ceil, prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.targets import CUBES
from bigseg.core.tiles import STRIDE, Tiling, computed_pixels, round_up
from bigseg.grid import Grid
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.nets import weights
from bigseg.plans.lattice import (
    cheapest_edge,
    computed_along,
    network_scale,
    object_diameter,
    predict_blocks,
    tiling_for,
)
from bigseg.specs.segment import parse
from bigseg.stages.predict import BORDER

UNET = weights.Model("unet", "", "Cellpose residual U-Net", 1, (), 3, "flows", 30.0, 20.0, 0.0)
SAM = replace(UNET, kind="Cellpose-SAM", channels=3, tile=256)
FREE = replace(UNET, kind="function", diameter=0.0, usual_diameter=0.0)


def spec(**settings: Any) -> Any:
    return parse({"image": "image.zarr", "model": "nuclei", **settings})


Scale = tuple[float, float, float]
PLANES = {2: [(2, 3)], 3: [(2, 3), (1, 3), (1, 2)]}
"""Axes of the planes that a network sees, of (t, z, y, x)."""


def redundancy(model: weights.Model, shape: tuple[int, int, int], ndim: int, scale: Scale) -> float:
    """Pixels computed for each one that is kept, of an image (z, y, x)."""
    tiling = tiling_for(model, ndim, None)
    block, halo = predict_blocks((1, *shape), ndim, scale, tiling)
    computed = kept = 0.0
    for one in Grid((1, *shape), block, halo):
        own, sides = [1.0], [1]
        for read, write, n, s in zip(one.read[1:], one.write[1:], shape, scale, strict=True):
            own.append((write.stop - write.start) * s)
            border = BORDER * ((read.start == 0) + (read.stop == n))
            sides.append(round((read.stop - read.start) * s) + border)
        for y, x in PLANES[ndim]:
            count = prod(own) / (own[y] * own[x])
            computed += count * computed_pixels(tiling, sides[y], sides[x])
            kept += prod(own)
    return computed / kept


def of_plane(model: weights.Model, edge: int, scale: float = 1.0) -> float:
    return redundancy(model, (1, edge, edge), 2, (1.0, scale, scale))


LARGE = (2048, 3000, 5000, 10_000, 20_000)


@pytest.mark.parametrize("edge", LARGE)
@pytest.mark.parametrize("scale", [1.0, 30 / 17, 0.6])
def test_u_nets_compute_little_more_than_they_keep(edge: int, scale: float) -> None:
    assert of_plane(UNET, edge, scale) <= 1.25


@pytest.mark.parametrize("edge", LARGE)
def test_fixed_tiles_compute_as_little_as_tiles_of_256_can(edge: int) -> None:
    tiles = ceil((edge + 2 * BORDER - 24) / 232)
    assert of_plane(SAM, edge) == pytest.approx((256 * tiles / edge) ** 2)
    assert of_plane(SAM, edge) <= 1.27


@pytest.mark.parametrize(
    ("shape", "scale"), [((256, 1024, 1024), CUBES), ((256, 2048, 2048), CUBES)]
)
def test_u_nets_compute_little_more_of_volumes(shape: tuple[int, int, int], scale: Scale) -> None:
    assert redundancy(UNET, shape, 3, scale) <= 1.25


@pytest.mark.parametrize("edge", [1024, 2048, 4096])
def test_u_nets_compute_no_more_of_cubes_than_whole_strides_take(edge: int) -> None:
    assert redundancy(UNET, (edge, edge, edge), 3, CUBES) <= 1.15


@pytest.mark.parametrize("block", [16, 256, 272])
@pytest.mark.parametrize("length", [100, 1024, 4096, 4097])
def test_what_blocks_cost_is_what_they_compute(length: int, block: int) -> None:
    tiling, computed = Tiling(304, 16), 0
    for one in Grid((1, 1, 1, length), (1, 1, 1, block), (0, 0, 0, 16)):
        read = one.read[3]
        border = BORDER * ((read.start == 0) + (read.stop == length))
        computed += computed_pixels(tiling, 1, read.stop - read.start + border) // STRIDE
    assert computed_along(length, block, 1.0, tiling) == computed


def test_fixed_tiles_of_a_huge_plane_compute_little_more_than_they_keep() -> None:
    assert of_plane(SAM, 60_000) <= 1.25


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 100_000),
    st.floats(0.1, 5),
    st.integers(1, 4),
    st.sampled_from([Tiling(512, 24), Tiling(288, 16), Tiling(256, 12, True)]),
)
def test_blocks_are_whole_strides_of_few_tiles(
    length: int, scale: float, tiles: int, tiling: Tiling
) -> None:
    block = cheapest_edge(length, scale, tiling, tiles, 2048)
    assert block % STRIDE == 0
    assert STRIDE <= block <= min(2048, round_up(length))
    assert block * scale <= max(tiling.core * tiles, STRIDE * scale)


@pytest.mark.parametrize("length", [100, 2048, 3000, 9999])
@pytest.mark.parametrize("tiling", [Tiling(512, 24), Tiling(256, 12, True)])
def test_no_other_block_would_cost_much_less(length: int, tiling: Tiling) -> None:
    block = cheapest_edge(length, 1.0, tiling, 4, 2048)
    cost = computed_along(length, block, 1.0, tiling)
    others = range(min(tiling.core * 4, length) // 2, min(tiling.core * 4, length), 16)
    assert all(cost <= 1.06 * computed_along(length, n, 1.0, tiling) for n in others)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("model", [UNET, SAM])
def test_a_call_takes_whole_tiles_of_the_network(ndim: int, model: weights.Model) -> None:
    for edge in (20, 256, 300, 1000):
        for length in tiling_for(model, ndim, None).edges(edge)[:1]:
            assert length % 16 == 0
            assert model.tile in (None, length)


@pytest.mark.parametrize(
    ("overlap", "margin"), [(None, 12), (0.02, 3), (0.1, 13), (0.25, 32), (0.5, 64)]
)
def test_the_overlap_is_a_share_of_a_tile(overlap: float | None, margin: int) -> None:
    assert tiling_for(SAM, 2, overlap) == Tiling(256, margin, True)


def test_a_plane_of_many_is_predicted_with_its_neighbours() -> None:
    block, halo = predict_blocks((1, 9, 500, 500), 2, (1.0, 1.0, 1.0), Tiling(512, 24))
    assert block[:2] == (1, 9)
    assert halo == (0, 0, 24, 24)


def test_the_diameter_is_the_users_or_the_models_or_usual() -> None:
    assert object_diameter(spec(diameter=12), UNET) == 12
    assert object_diameter(spec(), UNET) == 20
    assert object_diameter(spec(), FREE) == 30


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    spacing = (2.0, 0.505, 0.5)
    plan = plan_image(f"{tmp_path}/i.zarr", tuple("zyx"), (4, 8, 8), "u1", spacing, (4, 8, 8))
    create_image(plan)
    return Volume.open(plan.url)


def test_an_image_is_scaled_so_that_objects_have_the_diameter_of_the_model(volume: Volume) -> None:
    z, y, x = network_scale(spec(diameter=60), volume, UNET)
    assert (z, y, x) == pytest.approx((2.0, 0.505, 0.5))
    assert network_scale(spec(anisotropy=3), volume, UNET)[0] == pytest.approx(4.5)


def test_a_function_without_a_diameter_gets_images_as_they_are(volume: Volume) -> None:
    assert network_scale(spec(diameter=60), volume, FREE)[2] == 1.0
