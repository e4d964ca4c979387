"""Nodes that are objects of tiles, which lie anywhere; each voxel is written by one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.core.layout import Layout
from bigseg.core.objects import Table
from bigseg.corrections.block_nodes import nothing
from bigseg.corrections.nodes import Besides, Node
from bigseg.grid import Box, Grid, Index
from bigseg.stages import divisions, tile_publish, tiles, write_tiles


@dataclass(frozen=True)
class TileNodes:
    """See `nodes.Nodes`."""

    written: write_tiles.Spec

    @property
    def run(self) -> str:
        return self.written.tiles.run

    @property
    def target(self) -> str:
        return self.written.target

    @property
    def grid(self) -> Grid:
        return self.written.tiles.grid

    @property
    def shape(self) -> Index:
        return self.written.tiles.shape

    @property
    def flat(self) -> bool:
        return self.written.tiles.ndim == 2

    @property
    def layout(self) -> Layout:
        """Where the tiles lie."""
        return tiles.placed(self.written.tiles).layout

    def at(self, place: Index) -> Node:
        """What the tile that owns a voxel says of it."""
        box = tuple(slice(p, p + 1) for p in place)
        for number in self.near(box):
            if self.layout.owned(number, box).any():
                return number, int(self.labels(number, box)[0, 0, 0])
        return 0, 0  # no tile covers it

    def nothing(self, name: str, place: Index) -> str:
        """It is background."""
        return nothing(name, self.target)

    def near(self, box: Box, margin: int = 0) -> list[int]:
        """Tiles that meet a box, and those that overlap or touch these."""
        found = set(map(int, self.layout.meeting(box)))
        for _ in range(margin):
            boxes = [self.layout.box(number) for number in found]
            found |= {int(n) for box in boxes for n in self.layout.meeting(box, reach=1)}
        return sorted(found)

    def box(self, number: int) -> Box:
        """All of a tile."""
        return self.layout.box(number)

    def labels(self, number: int, zone: Box) -> NDArray[np.uint32]:
        """What a tile says where it owns voxels, with divisions."""
        labels = divisions.read_tile(self.written.tiles, number, zone)
        return np.where(self.layout.owned(number, zone)[0], labels, np.uint32(0))

    def check_divisible(self, id: int, points: Sequence[str]) -> None:
        """Every object can be divided."""

    def rows(self, table: Table) -> Table:
        """They are complete."""
        return table

    def besides(self, before: NDArray[np.int64], after: NDArray[np.int64], rows: Table) -> Besides:
        """Nothing that is decided beforehand."""
        return Besides()

    def tabulated(
        self, touched: NDArray[np.int64], rows: Table, blocks: Sequence[int]
    ) -> tuple[NDArray[np.int64], Table]:
        """What was planned."""
        return touched, rows

    def publish(self, moved: Table, divided: Sequence[str]) -> None:
        """Say in the table of origins what became of ids of tiles."""
        tile_publish.correct_origins(self.written, moved)
