"""What blocks think: labels of their own voxels and of a band around them, side by side.

Whatever finds objects block by block (flows, a user's tiles, supervoxels) keeps its labels here.
In the bands two blocks have an opinion about the same voxels, and `merge` compares them. Ids are
local to the block: 1 to n, without gaps. They belong to the graph and stay with it, so that
objects can be corrected when the run is over; compressed they take about as much as the result.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.grid import Block, Box, Grid, Index, grow, size, within
from bigseg.io.region import Region
from bigseg.io.scratch import create_scratch, scratch
from bigseg.types import StageSpec


class Opinions(StageSpec):
    """Where opinions are, and about which voxels."""

    run: str
    shape: Index
    """(t, z, y, x)."""
    block: Index
    halo: Index
    """Voxels of the neighbours that a block sees."""
    band: Index
    """Voxels of the neighbours about which a block keeps its opinion."""
    ndim: Literal[2, 3]
    region: Region | None = None
    """Where objects are looked for; None: everywhere."""

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, self.halo)


def opinions_url(run: str) -> str:
    """Where labels are before merging: uint32 (block, z, y, x), one row per block."""
    return files.join(run, "graph", "opinions")


def keep_box(spec: Opinions, block: Block) -> Box:
    """Voxels about which a block keeps its opinion: its own and a band around them."""
    return grow(block.write, spec.band, spec.shape)


def is_outside(spec: Opinions, box: Box) -> bool:
    """Whether nothing is looked for in a box (t, z, y, x)."""
    return spec.region is not None and not spec.region.touches(box)


def create_opinions(spec: Opinions) -> None:
    """Create the array of opinions, unless it is there."""
    largest = tuple(
        min(b + 2 * margin, n)
        for b, margin, n in zip(spec.block, spec.band, spec.shape, strict=True)
    )[1:]
    # Neighbours read only a slab of a row, so rows are stored in pieces.
    pieces = tuple(min(n, 1024 if spec.ndim == 2 else 128) for n in largest)
    create_scratch(opinions_url(spec.run), (len(spec.grid), *largest), (1, *pieces), np.uint32)


def write_opinion(spec: Opinions, block: Block, labels: NDArray[np.uint32]) -> None:
    """Store the labels of a block's `keep_box`: (z, y, x), local ids."""
    place = tuple(slice(0, n) for n in size(keep_box(spec, block))[1:])
    scratch(opinions_url(spec.run))[(spec.grid.number(block.index), *place)] = labels


def read_opinion(spec: Opinions, block: Block, box: Box | None = None) -> NDArray[np.uint32]:
    """Labels that a block gave to a part of its `keep_box`: (z, y, x), local ids."""
    kept = keep_box(spec, block)
    place = within(box or kept, kept)[1:]
    number = spec.grid.number(block.index)
    return np.asarray(scratch(opinions_url(spec.run))[(number, *place)], np.uint32)
