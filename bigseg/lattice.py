"""How images are cut and resized for a network: scale, tiles, and the blocks of `predict`."""

from __future__ import annotations

from math import ceil

from bigseg.core.tiles import Tiling
from bigseg.grid import Index
from bigseg.io.volume import Volume
from bigseg.nets.weights import Model
from bigseg.spec import SegmentSpec

TILINGS = {2: Tiling(512, 24), 3: Tiling(288, 16)}
"""Tile redundancy (tile / core)²: 1.22 in 2D, 1.27 in 3D."""
FIXED_MARGINS = {2: 12, 3: 8}
"""For networks of one size of tile, 256 pixels: redundancy 1.22 and 1.14."""
TILES_PER_BLOCK = {2: 4, 3: 1}
LONGEST_BLOCK = {2: 2048, 3: 448}
"""Voxels along an axis of a block of `predict`, which bounds its memory where scale is small."""
USUAL_DIAMETER = 30.0
"""Of objects, voxels, where neither the user nor the model knows better."""


def object_diameter(spec: SegmentSpec, model: Model) -> float:
    """Typical object, in voxels along x."""
    if isinstance(spec.diameter, float):
        return spec.diameter
    return model.usual_diameter or USUAL_DIAMETER


def network_scale(spec: SegmentSpec, volume: Volume, model: Model) -> tuple[float, float, float]:
    """Pixels of the network per voxel, along z, y, x."""
    across = model.diameter / object_diameter(spec, model) if model.diameter else 1.0
    z, y, x = volume.spacing
    tall = spec.anisotropy or (z / x if "z" in volume.axes else 1.0)
    return across * _near_one(tall), across * _near_one(y / x), across


def _near_one(ratio: float) -> float:
    """Leave voxels alone that are cubes but for rounding."""
    return 1.0 if abs(ratio - 1) < 0.01 else ratio


def tiling_for(model: Model, ndim: int, overlap: float | None) -> Tiling:
    """Tiles for a network; `overlap` is the share of a tile that the next one covers, too."""
    tile = model.tile or TILINGS[ndim].tile
    margin = FIXED_MARGINS[ndim] if model.tile else TILINGS[ndim].margin
    if overlap is not None:
        margin = ceil(tile * overlap / 2)
    return Tiling(tile, margin, fixed=model.tile is not None)


def predict_blocks(
    shape: Index, ndim: int, scale: tuple[float, float, float], tiling: Tiling
) -> tuple[Index, Index]:
    """Block and halo of `predict`; they depend on nothing that a user can cut differently."""
    tiles, longest = TILES_PER_BLOCK[ndim], LONGEST_BLOCK[ndim]
    edges = []
    for length, one in zip(shape[1:], scale, strict=True):
        at_most = max(int(longest * one / tiling.core), 1)
        edges.append(min(tiling.lattice(length, one, min(tiles, at_most)), longest))
    margins = [ceil(tiling.margin / one) for one in scale]
    if ndim == 2:
        edges[0] = max(min(shape[1], (1 << 22) // (edges[1] * edges[2])), 1)
        margins[0] = 0
    return (1, *edges), (0, *margins)
