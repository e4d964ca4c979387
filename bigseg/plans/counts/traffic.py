"""How many stored objects boxes touch, and how many bytes: arithmetic of intervals.

Boxes of blocks are products of intervals, so that what a million blocks read is a product of sums
along the axes: nothing here is as long as there are blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, prod

from bigseg.core.layout import Layout
from bigseg.grid import Grid, Index
from bigseg.io.ome import Image

Spans = list[tuple[int, int]]
"""First voxel and last + 1 of each block, along one axis."""
Boxes = tuple[Spans, ...]
"""Along t, z, y, x: blocks are the product."""


@dataclass(frozen=True)
class Store:
    """An array that steps read or write."""

    name: str
    shape: Index
    """(t, z, y, x)."""
    chunk: Index
    """Smallest piece that is read."""
    unit: Index
    """One stored object, of one or more chunks."""
    voxel_bytes: int
    """Before compression, all channels that are wanted together."""
    copies: int = 1
    """Objects side by side, where channels are stored apart."""
    joined: bool = False
    """Whether the pieces of an object are asked for together, as `io.shards` does in buckets."""

    @property
    def raw(self) -> int:
        """Bytes before compression."""
        return prod(self.shape) * self.voxel_bytes


@dataclass(frozen=True)
class Traffic:
    """What is read from a store, or written to it."""

    store: str
    requests: int
    raw: int
    """Bytes of the pieces that are touched, before compression."""


@dataclass(frozen=True)
class Counted:
    """What the blocks of a step do, all together."""

    work: float
    """What their time follows: pixels of the network, voxels with halo, or voxels."""
    reads: tuple[Traffic, ...] = ()
    writes: tuple[Traffic, ...] = ()


@dataclass(frozen=True)
class Placed:
    """Where tiles lie, and how wide their ids are: what no specification of a step says."""

    layout: Layout
    itemsize: int


@dataclass(frozen=True)
class Share:
    """Part of the blocks that have something to do, where a region leaves some out."""

    predicted: float = 1.0
    labelled: float = 1.0
    predictions: Store | None = None
    """Where predictions come from."""
    made: Mapping[str, Image] = field(default_factory=dict)
    """Label images that the run makes, by their URLs."""
    placed: Placed | None = None
    """Tiles, where a run merges some."""


def boxes_of(grid: Grid, *, halo: Index | None = None) -> Boxes:
    """What blocks write, or, with a halo, read."""
    margin = halo or (0,) * len(grid.shape)
    found = []
    for length, edge, extra, count in zip(grid.shape, grid.block, margin, grid.counts, strict=True):
        found.append(
            [
                (max(i * edge - extra, 0), min(min((i + 1) * edge, length) + extra, length))
                for i in range(count)
            ]
        )
    return tuple(found)


def voxels(boxes: Boxes) -> int:
    """Voxels of all boxes together; what two of them share counts twice."""
    return prod(sum(stop - start for start, stop in spans) for spans in boxes)


def traffic(store: Store, boxes: Boxes, share: float = 1.0) -> Traffic:
    """Objects and bytes of a store that boxes touch."""
    objects = _touched(boxes, store.unit)
    if store.chunk != store.unit:  # an index for each object, then the pieces that are wanted
        whole, inner = _whole(boxes, store), _inner(store)
        pieces = objects if store.joined else _touched(boxes, store.chunk)
        objects += pieces - whole * (1 if store.joined else inner)
    objects *= store.copies
    raw = store.voxel_bytes
    for spans, edge, length in zip(boxes, store.chunk, store.shape, strict=True):
        raw *= sum(_covered(span, edge, length) for span in spans)
    return Traffic(store.name, ceil(objects * share), ceil(raw * share))


def _touched(boxes: Boxes, unit: Index) -> int:
    return prod(
        sum((stop - 1) // edge - start // edge + 1 for start, stop in spans)
        for spans, edge in zip(boxes, unit, strict=True)
    )


def _whole(boxes: Boxes, store: Store) -> int:
    """Objects that are wanted whole, which take a single request.

    One that reaches beyond the array is never whole: zarr asks for its pieces.
    """
    return prod(
        sum(max(stop // edge - ceil(start / edge), 0) for start, stop in spans)
        for spans, edge in zip(boxes, store.unit, strict=True)
    )


def _inner(store: Store) -> int:
    """Pieces of an object."""
    return prod(ceil(u / c) for u, c in zip(store.unit, store.chunk, strict=True))


def _covered(span: tuple[int, int], edge: int, length: int) -> int:
    """Voxels of the chunks that an interval touches, along one axis."""
    start, stop = span
    return min(ceil(stop / edge) * edge, length) - start // edge * edge
