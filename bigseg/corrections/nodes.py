"""What corrections need to know of a graph's nodes; each kind of run has a module that tells it.

| kind of run | nodes are | module |
| --- | --- | --- |
| blocks of an image, maps | objects of blocks | `block_nodes` |
| merged tiles | objects of tiles | `tile_nodes` |
| planes put together | objects of planes | `plane_nodes` |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bigseg.core.objects import Table
from bigseg.grid import Box, Grid, Index

Node = tuple[int, int]
"""Number of a block, and local id there; 0 where it has no object."""


@dataclass(frozen=True)
class Besides:
    """What changes besides the voxels of nodes."""

    boxes: list[Box] = field(default_factory=list)
    """(t, z, y, x) that is written again, too."""
    tables: dict[str, Table] = field(default_factory=dict)
    """Tables that are replaced, by their URLs below the graph's folder."""


class Nodes(Protocol):
    """Nodes of a graph, and the voxels that are written of each."""

    @property
    def run(self) -> str:
        """Where the graph is."""

    @property
    def target(self) -> str:
        """URL of the label image."""

    @property
    def grid(self) -> Grid:
        """Blocks that number the nodes."""

    @property
    def shape(self) -> Index:
        """(t, z, y, x) of the label image."""

    @property
    def flat(self) -> bool:
        """Whether each plane has objects of its own."""

    def at(self, place: Index) -> Node:
        """What lies at a voxel (t, z, y, x)."""

    def nothing(self, name: str, place: Index) -> str:
        """Sentence on a point that lies in no object."""

    def near(self, box: Box, margin: int = 0) -> list[int]:
        """Blocks with voxels in a box; with a margin, those that touch these, too. Rising."""

    def box(self, number: int) -> Box:
        """Voxels (t, z, y, x) that a block has labelled and may write."""

    def labels(self, number: int, zone: Box) -> NDArray[np.uint32]:
        """Local ids of what a block writes of a part of its box: (z, y, x)."""

    def check_divisible(self, id: int, points: Sequence[str]) -> None:
        """Refuse to divide an object by its shape, between some points."""

    def rows(self, table: Table) -> Table:
        """Rows of objects with the columns that this kind of run has."""

    def besides(self, before: NDArray[np.int64], after: NDArray[np.int64], rows: Table) -> Besides:
        """What changes besides, given ids before and after, and rows, of all touched nodes."""

    def tabulated(
        self, touched: NDArray[np.int64], rows: Table, blocks: Sequence[int]
    ) -> tuple[NDArray[np.int64], Table]:
        """Ids that leave the object table, and rows that come; after blocks were written again."""

    def publish(self, moved: Table, divided: Sequence[str]) -> None:
        """Correct other tables beside the labels, given numbers and ids of nodes that changed."""
