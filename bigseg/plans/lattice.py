"""How images are cut and resized for a network: scale, tiles, and the blocks of `predict`."""

from __future__ import annotations

from math import ceil

from bigseg.core.tiles import STRIDE, Tiling, round_up
from bigseg.grid import Index
from bigseg.io.volume import Volume
from bigseg.nets.weights import Model
from bigseg.specs.segment import SegmentSpec
from bigseg.stages.predict import BORDER

TILINGS = {2: Tiling(512, 24), 3: Tiling(304, 8)}
"""Tile redundancy (tile / core)²: 1.22 in 2D, 1.11 in 3D, and what is left at the ends of axes."""
PUBLISHED_TILE = 224
"""Of Cellpose 1 to 3, pixels."""
FIXED_MARGINS = {2: 3 / 64, 3: 1 / 32}
"""For networks of one size of tile, as shares of it: redundancy 1.22 and 1.14."""
LEAST_MARGIN = 8
"""Pixels."""
TILES_PER_BLOCK = {2: 4, 3: 1}
LONGEST_BLOCK = {2: 2048, 3: 448}
"""Voxels along an axis of a block of `predict`, which bounds its memory where scale is small."""
NEARLY = 1.005
"""Blocks may cost this much more than the cheapest, if there are fewer of them."""
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


def restoring_pixels(volume: Volume, across: float) -> tuple[int, int]:
    """(y, x) pixels of a restoring network for a plane, `across` for each voxel along x."""
    _, _, _, y, x = volume.shape
    _, tall, wide = volume.spacing
    return max(int(y * across * _near_one(tall / wide)), 1), max(int(x * across), 1)


def tiling_for(
    model: Model, ndim: int, overlap: float | None = None, parity: bool = False
) -> Tiling:
    """Tiles for a network.

    Parameters
    ----------
    model
        The network.
    ndim
        Axes of an object.
    overlap
        Share of a tile that the next one covers, too.
    parity
        Cut planes as Cellpose does.
    """
    if parity:
        return Tiling(model.tile or PUBLISHED_TILE, 11, model.tile is not None, published=True)
    tile = model.tile or TILINGS[ndim].tile
    margin = max(int(tile * FIXED_MARGINS[ndim]), LEAST_MARGIN)
    if model.tile is None:
        margin = TILINGS[ndim].margin
    if overlap is not None:
        margin = ceil(tile * overlap / 2)
    return Tiling(tile, margin, fixed=model.tile is not None)


def predict_blocks(
    shape: Index, ndim: int, scale: tuple[float, float, float], tiling: Tiling
) -> tuple[Index, Index]:
    """Block and halo of `predict`; they depend on nothing that a user can cut differently.

    Tiles that lie as in Cellpose are spread over the whole image, which is one block then.
    """
    if tiling.published:
        whole = [round_up(n) for n in shape[1:]]
        return (1, 1 if ndim == 2 else whole[0], *whole[1:]), (0, 0, 0, 0)
    edges = [
        cheapest_edge(length, one, tiling, TILES_PER_BLOCK[ndim], LONGEST_BLOCK[ndim])
        for length, one in zip(shape[1:], scale, strict=True)
    ]
    margins = [ceil(tiling.margin / one) for one in scale]
    if ndim == 2:
        edges[0] = max(min(shape[1], (1 << 22) // (edges[1] * edges[2])), 1)
        margins[0] = 0
    return (1, *edges), (0, *margins)


def cheapest_edge(length: int, scale: float, tiling: Tiling, tiles: int, longest: int) -> int:
    """Length of blocks for which the network computes least, or nearly, along an axis.

    Of those that cost the same, one with the fewest blocks, and of these the shortest: its blocks
    are most alike, so that no worker waits long for another.

    Parameters
    ----------
    length
        Voxels of the axis.
    scale
        Pixels of the network per voxel.
    tiling
        Its tiles.
    tiles
        Most tiles per block along the axis.
    longest
        Most voxels.
    """
    whole = int(tiling.core * tiles / scale) // STRIDE * STRIDE
    most = max(min(whole, longest, round_up(length)), STRIDE)
    costs = {
        edge: computed_along(length, edge, scale, tiling)
        for edge in range(most, max(most // 2, STRIDE) - 1, -STRIDE)
    }
    least = min(costs.values())
    cheap = [edge for edge, cost in costs.items() if cost <= NEARLY * least]
    return min(cheap, key=lambda edge: (ceil(length / edge), edge))


def computed_along(length: int, block: int, scale: float, tiling: Tiling) -> int:
    """Pixels that the network computes along an axis that is cut into blocks."""
    margin = ceil(tiling.margin / scale)

    def computed(first: int) -> int:
        start, stop = max(first - margin, 0), min(first + block + margin, length)
        pixels = round((stop - start) * scale) + BORDER * ((start == 0) + (stop == length))
        edge, starts = tiling.edges(pixels)
        return edge * len(starts)

    count = ceil(length / block)
    reach = ceil(margin / block) + 1  # blocks that may see an end of the image
    ends = [n for n in range(count) if n < reach or n >= count - reach]
    inside = count - len(ends)
    return sum(computed(n * block) for n in ends) + (inside and inside * computed(reach * block))
