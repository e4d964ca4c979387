"""Nodes that are objects of the blocks of an image: of flows, of supervoxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bigseg.core.objects import Table
from bigseg.corrections.nodes import Besides, Node
from bigseg.grid import Box, Grid, Index
from bigseg.stages import divisions, write


@dataclass(frozen=True)
class BlockNodes:
    """See `nodes.Nodes`."""

    written: write.Spec

    @property
    def run(self) -> str:
        return self.written.run

    @property
    def target(self) -> str:
        return self.written.target

    @property
    def grid(self) -> Grid:
        return self.written.opinions.grid

    @property
    def shape(self) -> Index:
        return self.written.opinions.shape

    @property
    def flat(self) -> bool:
        return self.written.opinions.ndim == 2

    def at(self, place: Index) -> Node:
        """What the block that owns a voxel says of it."""
        index = tuple(p // b for p, b in zip(place, self.grid.block, strict=True))
        number = self.grid.number(index)
        box = tuple(slice(p, p + 1) for p in place)
        return number, int(self.labels(number, box)[0, 0, 0])

    def nothing(self, name: str, place: Index) -> str:
        """It is background."""
        return nothing(name, self.target)

    def near(self, box: Box, margin: int = 0) -> list[int]:
        """Blocks that meet a box, and as many around them as the margin says."""
        return blocks_of(self.grid, box, margin)

    def box(self, number: int) -> Box:
        """A block's own voxels."""
        return self.grid[number].write

    def labels(self, number: int, zone: Box) -> NDArray[np.uint32]:
        """The block's opinion of its own voxels, with divisions."""
        return divisions.read_labels(self.written.opinions, self.grid[number], zone)

    def check_divisible(self, id: int, points: Sequence[str]) -> None:
        """Every object can be divided."""

    def rows(self, table: Table) -> Table:
        """They are complete."""
        return table

    def besides(self, before: NDArray[np.int64], after: NDArray[np.int64], rows: Table) -> Besides:
        """Nothing."""
        return Besides()

    def tabulated(
        self, touched: NDArray[np.int64], rows: Table, blocks: Sequence[int]
    ) -> tuple[NDArray[np.int64], Table]:
        """What was planned."""
        return touched, rows

    def publish(self, moved: Table, divided: Sequence[str]) -> None:
        """There are no other tables."""


def nothing(name: str, target: str) -> str:
    """Sentence on a point in the background."""
    return f"The point {name} lies in no object of {target}; choose a voxel of one."


def blocks_of(grid: Grid, box: Box, margin: int = 0) -> list[int]:
    """Numbers of the blocks that meet a box, and of as many blocks around them in space."""
    spans = [
        range(max(s.start // b - m, 0), min((s.stop - 1) // b + m + 1, n))
        for s, b, n, m in zip(
            box, grid.block, grid.counts, (0, margin, margin, margin), strict=True
        )
    ]
    return [grid.number(index) for index in product(*spans)]
