"""Steps that put labelled tiles together, which may lie anywhere.

Where tiles lie at will nothing is a product of intervals: some of them, from all over, are looked
at instead.
"""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from bigseg.core.layout import Layout
from bigseg.grid import Box, Index, intersection, within
from bigseg.plans.counts.images import level_store
from bigseg.plans.counts.traffic import Counted, Share, Traffic, boxes_of, traffic
from bigseg.stages import tile_edges, tiles, write_tiles

LOOKED_AT = 500
"""Tiles, or blocks, of which it is asked what they meet."""


def taking(spec: tiles.Spec, share: Share) -> Counted:
    """Tiles are read from their files, one request each, and kept with ids of their own."""
    layout, itemsize = _layout(share), share.placed.itemsize if share.placed else 4
    voxels = int((layout.high - layout.low).prod(axis=1).sum())
    pieces = tile_pieces(spec)
    edges = np.array((1, *pieces))
    kept = int((-((layout.low - layout.high) // edges)).prod(axis=1).sum())
    read = Traffic("tiles", spec.count, voxels * itemsize)
    return Counted(float(voxels), (read,), (Traffic("opinions", kept, 4 * voxels),))


def meeting(spec: tile_edges.Spec, share: Share) -> Counted:
    """What two tiles say of the voxels that both have; faces where they only touch are thin."""
    layout, pieces = _layout(share), tile_pieces(spec.tiles)
    requests = raw = work = 0
    numbers = _some(len(layout))
    for number in numbers:
        ours = layout.box(number)
        for other in map(int, layout.meeting(ours)):
            zone = intersection(ours, layout.box(other))
            if other > number and zone is not None:
                work += prod(s.stop - s.start for s in zone)
                for box in (ours, layout.box(other)):
                    count, voxels = _pieces(within(zone, box), box, pieces)
                    requests, raw = requests + count, raw + 4 * voxels
    more = len(layout) / len(numbers)
    read = Traffic("opinions", ceil(requests * more), ceil(raw * more))
    return Counted(work * more, (read,))


def writing(spec: write_tiles.Spec, share: Share) -> Counted:
    """Blocks of the whole, each of the tiles that reach into it."""
    layout, pieces, grid = _layout(share), tile_pieces(spec.tiles), spec.grid
    requests = raw = 0
    numbers = _some(len(grid))
    for number in numbers:
        own = grid[number].write
        for other in map(int, layout.meeting(own)):
            box = layout.box(other)
            zone = intersection(own, box)
            if zone is not None:
                count, voxels = _pieces(within(zone, box), box, pieces)
                requests, raw = requests + count, raw + 4 * voxels
    more = len(grid) / len(numbers)
    read = Traffic("opinions", ceil(requests * more), ceil(raw * more))
    made = level_store(write_tiles.planned_image(spec, 1), 0, "labels")
    return Counted(float(prod(spec.tiles.shape)), (read,), (traffic(made, boxes_of(grid)),))


def tile_pieces(spec: tiles.Spec) -> Index:
    """Pieces in which the labels of a tile are stored, (z, y, x)."""
    return tuple(min(n, 1024 if spec.ndim == 2 else 128) for n in spec.largest)


def _layout(share: Share) -> Layout:
    none = np.zeros((0, 4), np.int64)
    return share.placed.layout if share.placed is not None else Layout(none, none)


def _some(count: int) -> list[int]:
    """Numbers from all over, or all."""
    return sorted({round(n) for n in np.linspace(0, count - 1, min(count, LOOKED_AT))})


def _pieces(zone: Box, tile: Box, pieces: Index) -> tuple[int, int]:
    """Stored pieces of a tile that a part of it touches, and their voxels."""
    count = voxels = 1
    for part, whole, edge in zip(zone[1:], tile[1:], pieces, strict=True):
        first, last = part.start // edge, (part.stop - 1) // edge
        count *= last - first + 1
        voxels *= min((last + 1) * edge, whole.stop - whole.start) - first * edge
    return count, voxels
