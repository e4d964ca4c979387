"""Compare the opinions of touching blocks: the edges of the graph of all objects.

A block and its later neighbours (over faces, edges and corners) have labelled a common zone. Every
pair of objects that shares voxels there is an edge, owned by the earlier block. See `core.overlap`;
what the edges mean is decided in `components`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bigseg.core.overlap import zone_edges
from bigseg.grid import Block, Grid, intersection
from bigseg.io.tables import read_table
from bigseg.stages.graph import nodes_url, write_edges, write_offsets
from bigseg.stages.opinions import Opinions, keep_box, read_opinion
from bigseg.types import Facts, StageSpec

Zone = tuple[int, NDArray[np.uint32], NDArray[np.uint32]]
"""Number of a later neighbour, and the block's and the neighbour's labels of the common zone."""


class Spec(StageSpec):
    """Whose opinions are compared."""

    opinions: Opinions

    @property
    def grid(self) -> Grid:
        return self.opinions.grid


def check(spec: Spec) -> None:
    """Nothing can be wrong that the labelling step has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> list[Zone]:
    """Both opinions about the zones that a block has in common with later neighbours."""
    opinions, grid = spec.opinions, spec.grid
    own = keep_box(opinions, block)
    zones = []
    for index in grid.neighbours(block.index, (2, 3) if opinions.ndim == 2 else (1, 2, 3)):
        other = grid.block_at(index)
        zone = intersection(own, keep_box(opinions, other))
        if zone is not None:
            ours = read_opinion(opinions, block, zone)
            theirs = read_opinion(opinions, other, zone)
            zones.append((grid.number(index), ours, theirs))
    return zones


def block(spec: Spec, block: Block, data: list[Zone]) -> Facts:
    """Make and store the edges between a block and its later neighbours."""
    run = spec.opinions.run
    found = [(other, zone_edges(ours, theirs).columns()) for other, ours, theirs in data]
    edges = write_edges(run, block.id, spec.grid.number(block.index), found)
    return {"edges": edges, "objects": len(read_table(nodes_url(run, block.id), ["id"])["id"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Number the nodes of all blocks."""
    return write_offsets(spec.opinions.run, facts)
