"""Overlapping tiles of a plane: where they lie, and how their outputs blend.

The taper is that of Cellpose (Stringer et al. 2021): a logistic slope towards the tile's edge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from bigseg.types import Floats

STRIDE = 16
"""Planes and tiles are multiples of this many pixels, which every network here can halve."""

TileFunction = Callable[[Floats], Floats]


def round_up(length: float, multiple: int = STRIDE) -> int:
    """Smallest multiple that is not below `length`."""
    return ceil(length / multiple) * multiple


@dataclass(frozen=True, slots=True)
class Tiling:
    """How planes are cut for a network."""

    tile: int
    """Largest edge of a tile, pixels."""
    margin: int
    """Context on each side of what a tile is trusted for, pixels; tiles overlap by twice this."""
    fixed: bool = False
    """Whether the network takes tiles of exactly this size only."""
    published: bool = False
    """Whether tiles lie as in Cellpose: a tenth of overlap, spread over the plane."""

    @property
    def core(self) -> int:
        """Pixels of one tile, along one axis, that no other tile has to cover."""
        return self.tile - 2 * self.margin

    def edges(self, length: int) -> tuple[int, list[int]]:
        """Edge and starts of the tiles that cover a plane's axis of `length` pixels."""
        if length <= self.tile:
            return (self.tile if self.fixed else round_up(length)), [0]
        if self.published:
            count = ceil(1.2 * length / self.tile)
            return self.tile, np.linspace(0, length - self.tile, count).astype(int).tolist()
        count = ceil((length - 2 * self.margin) / self.core)
        edge = self.tile if self.fixed else round_up((length - 2 * self.margin) / count)
        edge = edge if self.fixed else min(edge + round_up(2 * self.margin), self.tile)
        return edge, np.linspace(0, length - edge, count).astype(int).tolist()


def taper(height: int, width: int) -> Floats:
    """Weight of each pixel of a tile, (height, width): low at its edge, 1 inside."""

    def slope(n: int) -> Floats:
        edge = max(n, 224)  # as published: small tiles take the middle of a larger one's slope
        distance = np.abs(np.arange(edge) - (edge - 1) / 2)
        weight = 1 / (1 + np.exp((distance - (edge / 2 - 20)) / 7.5))
        middle: Floats = weight[(edge - n) // 2 :][:n].astype(np.float32)
        return middle

    weight: Floats = np.outer(slope(height), slope(width))
    return weight


def with_flips(net: TileFunction, vectors: bool) -> TileFunction:
    """Average a network's outputs over the tile and its three mirror images.

    A vector that points along a mirrored axis points the other way, so its sign is turned back.

    Parameters
    ----------
    net
        (n, c, y, x) → (n, k, y, x).
    vectors
        Whether the first two outputs point along y and x.
    """

    def average(tiles: Floats) -> Floats:
        total = net(tiles)
        for axes in ((2,), (3,), (2, 3)):
            outputs = np.flip(net(np.ascontiguousarray(np.flip(tiles, axes))), axes).copy()
            for axis in axes if vectors else ():
                outputs[:, axis - 2] *= -1
            total += outputs
        total /= 4
        return total

    return average


def predict_planes(
    net: TileFunction,
    planes: Floats,
    tiling: Tiling,
    outputs: int,
    batch: int,
    wanted: NDArray[np.bool_] | None = None,
) -> Floats:
    """Run a network over all tiles of a stack of planes and blend the outputs.

    Parameters
    ----------
    net
        (n, c, h, w) → (n, outputs, h, w).
    planes : (n, c, y, x) float32
    tiling
        How to cut them.
    outputs
        Output maps of the network.
    batch
        Tiles per call of the network.
    wanted : (n, y, x) bool, or None for all
        Pixels whose outputs matter. Tiles without any are not computed; all that a wanted pixel
        blends are. Elsewhere outputs may be anything.

    Returns
    -------
    (n, outputs, y, x) float32
    """
    count, _, height, width = planes.shape
    (edge_y, starts_y), (edge_x, starts_x) = tiling.edges(height), tiling.edges(width)
    padded = _pad(planes, max(height, edge_y), max(width, edge_x))
    places = [(n, y, x) for n in range(count) for y in starts_y for x in starts_x]
    if wanted is not None:
        places = [
            (n, y, x) for n, y, x in places if wanted[n, y : y + edge_y, x : x + edge_x].any()
        ]
    if len(places) == count and len(starts_y) == len(starts_x) == 1:
        blended = np.concatenate([net(part) for part in _batches(padded, batch)])
        return blended[:, :, :height, :width]
    weight = taper(edge_y, edge_x)
    blended = np.zeros((count, outputs, *padded.shape[2:]), np.float32)
    total = np.zeros(padded.shape[2:], np.float32)
    for first in range(0, len(places), batch):
        chosen = places[first : first + batch]
        tiles = np.stack([padded[n, :, y : y + edge_y, x : x + edge_x] for n, y, x in chosen])
        for (n, y, x), output in zip(chosen, net(tiles), strict=True):
            blended[n, :, y : y + edge_y, x : x + edge_x] += output * weight
    for y in starts_y:
        for x in starts_x:
            total[y : y + edge_y, x : x + edge_x] += weight
    blended /= total
    return blended[:, :, :height, :width]


def computed_pixels(tiling: Tiling, height: int, width: int) -> int:
    """Pixels that the network computes for one plane, overlap and padding included."""
    (edge_y, starts_y), (edge_x, starts_x) = tiling.edges(height), tiling.edges(width)
    return edge_y * len(starts_y) * edge_x * len(starts_x)


def _pad(planes: Floats, height: int, width: int) -> Floats:
    extra = ((0, 0), (0, 0), (0, height - planes.shape[2]), (0, width - planes.shape[3]))
    return np.pad(planes, extra) if any(after for _, after in extra) else planes


def _batches(stack: Floats, size: int) -> Iterator[Floats]:
    return (stack[first : first + size] for first in range(0, len(stack), size))
