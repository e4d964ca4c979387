"""Planes whose objects become objects of a volume: what the stages of slices share.

The objects of planes are those of a run in 2D up to its step `objects`: opinions, node tables, and
an id for each object, numbered through all planes. Here they are the nodes of a second graph, kept
below `RUN/slices` as the first one is below `RUN` (see `stages.graph`): its blocks are slabs of
some planes, and its n-th node is the object of id n + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.relabel import id_dtype, relabel
from bigseg.grid import Block, Box, Grid, Index, intersection, size, within
from bigseg.io.scratch import scratch
from bigseg.io.tables import read_table
from bigseg.stages import graph
from bigseg.stages.opinions import Opinions, read_opinion
from bigseg.types import Labels, StageSpec


class Slices(StageSpec):
    """Which planes, and in which blocks they are gone through."""

    flat: Opinions
    """Of the objects of planes: blocks are one plane high."""
    depth: int
    """Planes of a block; more than `gap`."""
    gap: int = 1
    """Most planes in a row in which an object may be missing."""

    @property
    def run(self) -> str:
        """Where the graph of the objects of planes is."""
        return files.join(self.flat.run, "slices")

    @property
    def reach(self) -> int:
        """Planes from one end of a link to the other, at most."""
        return self.gap + 1

    @property
    def block(self) -> Index:
        return (1, self.depth, *self.flat.block[2:])

    @property
    def grid(self) -> Grid:
        return self.tiles

    @property
    def tiles(self) -> Grid:
        """Blocks of the volume."""
        return Grid(self.flat.shape, self.block, (0, 0, 0, 0))

    @property
    def slabs(self) -> Grid:
        """Blocks of the graph: whole planes."""
        return Grid(self.flat.shape, (1, self.depth, *self.flat.shape[2:]), (0, 0, 0, 0))


def flat_blocks(flat: Opinions, box: Box) -> Iterator[Block]:
    """Blocks of the objects of planes that have own voxels in a box, in the order of the grid."""
    spans = (
        range(b.start // n, (b.stop - 1) // n + 1) for b, n in zip(box, flat.block, strict=True)
    )
    return (flat.grid.block_at(index) for index in product(*spans))


class Ids:
    """Ids of the objects of planes; what all blocks need is read once."""

    def __init__(self, flat: Opinions) -> None:
        self._grid = flat.grid
        self._offsets = read_table(graph.offsets_url(flat.run), ["offset"])["offset"]
        self._ids = scratch(graph.ids_url(flat.run))

    def of(self, block: Block) -> NDArray[np.uint64]:
        """Ids of the objects of one block: those of local ids 1, 2, …."""
        number = self._grid.number(block.index)
        first, last = (int(n) for n in self._offsets[number : number + 2])
        return np.asarray(self._ids[first:last], np.uint64)


def read_planes(flat: Opinions, box: Box, *, damaged: bool = False) -> Labels:
    """Ids of the objects of planes in a box of one frame: (z, y, x).

    Parameters
    ----------
    damaged
        Whether blocks of planes that cannot be read are taken for empty ones.
    """
    known = Ids(flat)
    dtype = id_dtype(int(read_table(graph.total_url(flat.run), ["objects"])["objects"][0]))
    labels: Labels = np.zeros(size(box)[1:], dtype)
    for block in flat_blocks(flat, box):
        part = intersection(block.write, box)
        if part is None:
            continue
        with (
            suppress(Exception) if damaged else nullcontext()
        ):  # codecs have exceptions of their own
            opinion = read_opinion(flat, block, part)
            labels[within(part, box)[1:]] = relabel(opinion, known.of(block), dtype)
    return labels


def in_volume(run: str, labels: Labels) -> Labels:
    """Replace ids of objects of planes by those of the volume, which `stages.volumes` gave.

    Parameters
    ----------
    run
        Where the graph of the objects of planes is: `Slices.run`.
    labels
        Ids of objects of planes, of planes near each other: only the table's part between the
        smallest and the largest of them is read.
    """
    dtype = id_dtype(int(read_table(graph.total_url(run), ["objects"])["objects"][0]))
    if not labels.any():
        return labels.astype(dtype)
    first, last = int(labels[labels > 0].min()), int(labels.max())
    lookup = np.zeros(last - first + 2, dtype)
    lookup[1:] = scratch(graph.ids_url(run))[first - 1 : last]
    at = np.maximum(labels.astype(np.int64) - (first - 1), 0)
    result: Labels = lookup[at]
    return result
