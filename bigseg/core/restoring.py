"""Run an image-to-image network over planes so that no cut shows, wherever blocks are cut.

The output of a network depends on all of the tile it is shown, by its style even on what is far
away. Tiles here are therefore laid out once for the whole plane: a block computes every tile that
reaches into it and blends them as any other block would, so blocks fit together exactly. What it
costs are the tiles at the faces of blocks, which are computed by both sides.

As in the restoration of Cellpose 3 (Stringer & Pachitariu 2025, Nature Methods 22:592, doi
10.1038/s41592-025-02595-5) planes are resized linearly until objects have the diameter of the
network's training, framed by zeros, and resized back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bigseg.core.planes import Range, positions, resample
from bigseg.core.tiles import STRIDE, TileFunction, Tiling, round_up, taper
from bigseg.types import Floats

Ranges = tuple[Range, Range]
"""First voxel and last + 1 along y and x."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a plane: voxels of the image, pixels of the network, voxels of the result."""

    length: int
    """Voxels of the image."""
    pixels: int
    """Pixels of the network."""
    result: int
    """Voxels of the result."""
    tiling: Tiling

    @property
    def padded(self) -> int:
        """Pixels with their frame of zeros, half a stride wide at least, as published."""
        return round_up(self.pixels) + STRIDE

    @property
    def offset(self) -> int:
        """Zeros before the first pixel."""
        return (self.padded - self.pixels) // 2

    @property
    def edge(self) -> int:
        """Length of each tile, pixels: equal ones, no longer than they must be."""
        if self.tiling.fixed:
            return self.tiling.tile
        if self.padded <= self.tiling.tile:
            return self.padded
        margins = 2 * self.tiling.margin
        core = round_up((self.padded - margins) / self._count)
        return min(core + round_up(margins), self.tiling.tile)

    @property
    def starts(self) -> list[int]:
        """First pixel of each tile; negative where it begins in the frame."""
        last = max(self.padded - self.edge, 0)
        return [int(start) - self.offset for start in np.linspace(0, last, self._count)]

    @property
    def _count(self) -> int:
        """Tiles along the axis."""
        if self.padded <= self.tiling.tile:
            return 1
        return ceil((self.padded - 2 * self.tiling.margin) / self.tiling.core)

    def tiles(self, wanted: Range) -> list[int]:
        """Starts of the tiles that reach into wanted voxels of the result."""
        low, high = self._needed(wanted)
        return [start for start in self.starts if start < high and start + self.edge > low]

    def covered(self, wanted: Range) -> Range:
        """Pixels, frame included, of the tiles that reach into wanted voxels of the result."""
        starts = self.tiles(wanted)
        return starts[0], starts[-1] + self.edge

    def source(self, wanted: Range) -> Range:
        """Voxels of the image that wanted voxels of the result depend on."""
        low, high = self._inside(wanted)
        at = positions(low * self._step, high - low, self._step)
        return max(floor(at[0]), 0), min(ceil(at[-1]) + 1, self.length)

    def to_network(self, array: Floats, axis: int, wanted: Range) -> Floats:
        """Resize voxels of `source` to pixels of `covered`, zero outside the plane."""
        (first, last), (low, high) = self.covered(wanted), self._inside(wanted)
        at = positions(low * self._step, high - low, self._step) - self.source(wanted)[0]
        inside = resample(array, axis, at)
        frame = [(0, 0)] * array.ndim
        frame[axis] = (low - first, last - high)
        return np.pad(inside, frame)

    def from_network(self, array: Floats, axis: int, wanted: Range) -> Floats:
        """Resize pixels of `covered` to wanted voxels of the result."""
        at = np.clip(self._centres(wanted), 0, self.pixels - 1)
        return resample(array, axis, at - self.covered(wanted)[0])

    @property
    def _step(self) -> float:
        """Voxels of the image per pixel."""
        return self.length / self.pixels

    def _inside(self, wanted: Range) -> Range:
        """Pixels of `covered` that are not frame."""
        first, last = self.covered(wanted)
        return max(first, 0), min(last, self.pixels)

    def _centres(self, wanted: Range) -> NDArray[np.float64]:
        """Centres of voxels of the result, in pixels."""
        step = self.pixels / self.result
        return positions(wanted[0] * step, wanted[1] - wanted[0], step)

    def _needed(self, wanted: Range) -> Range:
        """Pixels between whose centres wanted voxels lie."""
        at = np.clip(self._centres(wanted), 0, self.pixels - 1)
        return floor(at[0]), ceil(at[-1]) + 1


def source(axes: tuple[Axis, Axis], wanted: Ranges) -> Ranges:
    """Voxels of the image, along y and x, that wanted voxels of the result depend on."""
    return axes[0].source(wanted[0]), axes[1].source(wanted[1])


def restore_planes(
    net: TileFunction, planes: Floats, axes: tuple[Axis, Axis], wanted: Ranges, batch: int = 1
) -> Floats:
    """Restore a part of a stack of planes, as if all of them had been restored at once.

    Parameters
    ----------
    net
        (n, 1, h, w) → (n, 1, h, w).
    planes : (n, y, x) float32
        Voxels that `source` names, normalised.
    axes
        Of the whole planes, along y and x.
    wanted
        Voxels of the result.
    batch
        Tiles per call of the network.

    Returns
    -------
    (n, y, x) float32
        Wanted voxels of the result.
    """
    row, column = axes
    tall = row.to_network(planes, 1, wanted[0])
    framed = column.to_network(tall, 2, wanted[1])
    top, left = row.covered(wanted[0])[0], column.covered(wanted[1])[0]
    places = [(y - top, x - left) for y in row.tiles(wanted[0]) for x in column.tiles(wanted[1])]
    blended = _blend(net, framed, places, (row.edge, column.edge), batch)
    result = row.from_network(blended, 1, wanted[0])
    return column.from_network(result, 2, wanted[1])


def to_image(values: Floats, low: float, high: float, dtype: DTypeLike) -> NDArray[Any]:
    """Undo `intensity.rescale`: 0 becomes `low`, 1 becomes `high`, in a type of images.

    Integers are rounded, and clipped to what the type holds.
    """
    kind = np.dtype(dtype)
    wide = values.astype(np.float64) * (high - low) + low
    if kind.kind == "f":
        return wide.astype(kind)
    if kind.kind == "b":
        return np.asarray(wide >= 0.5)
    limits = np.iinfo(kind)
    # Doubles do not hold the largest 64-bit integers; the next smaller double is within range.
    top = np.nextafter(float(limits.max), 0) if kind.itemsize == 8 else limits.max
    return np.clip(np.rint(wide), limits.min, top).astype(kind)


def _blend(
    net: TileFunction,
    framed: Floats,
    places: list[tuple[int, int]],
    edges: tuple[int, int],
    batch: int,
) -> Floats:
    """Run the network over tiles at given places of planes (n, y, x), and blend its outputs."""
    height, width = edges
    weight = taper(height, width)
    blended, total = np.zeros_like(framed), np.zeros(framed.shape[1:], np.float32)
    for y, x in places:
        total[y : y + height, x : x + width] += weight
        window = framed[:, y : y + height, x : x + width]
        result = blended[:, y : y + height, x : x + width]
        for chosen in _batches(len(framed), batch):
            result[chosen] += _tile(net, window[chosen]) * weight
    np.divide(blended, total, out=blended, where=total > 0)
    return blended


def _batches(count: int, size: int) -> Iterator[slice]:
    return (slice(first, first + size) for first in range(0, count, size))


def _tile(net: TileFunction, window: Floats) -> Floats:
    """Restore one tile of several planes; nothing is to be restored where all is equal."""
    flat = (window == window[:, :1, :1]).all((1, 2))
    if flat.all():
        return window
    restored = window.copy()
    restored[~flat] = net(np.ascontiguousarray(window[~flat])[:, None])[:, 0]
    return restored
