"""Nodes that are objects of planes, of which those of the volume consist; gaps are filled anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.core.gaps import BOX, find_gaps
from bigseg.core.objects import HIGH, LOW, Table
from bigseg.corrections.block_nodes import blocks_of, nothing
from bigseg.corrections.nodes import Besides, Node
from bigseg.errors import NotFound, SpecError
from bigseg.grid import Box, Grid, Index, intersection
from bigseg.io.ome import describe
from bigseg.io.table_rows import read_rows, replace_rows
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.stages import graph, volumes, write_slices
from bigseg.stages.slices import read_planes

PLACE = ("frame", "z0", *BOX)


@dataclass(frozen=True)
class PlaneNodes:
    """See `nodes.Nodes`."""

    written: write_slices.Spec

    @property
    def run(self) -> str:
        return self.written.run

    @property
    def grid(self) -> Grid:
        return self.written.slabs

    @property
    def shape(self) -> Index:
        return self.written.flat.shape

    @property
    def flat(self) -> bool:
        return False

    @property
    def target(self) -> str:
        """URL of the label image."""
        return self.written.written.target

    def at(self, place: Index) -> Node:
        """Object of a plane at a voxel."""
        box = tuple(slice(p, p + 1) for p in place)
        node = int(read_planes(self.written.flat, box)[0, 0, 0]) - 1
        if node < 0:
            return 0, 0
        offsets, _ = graph.read_offsets(self.run, self.grid.counts)
        number = int(np.searchsorted(offsets, node, "right")) - 1
        return number, node - int(offsets[number]) + 1

    def nothing(self, name: str, place: Index) -> str:
        """It is background, or was before a gap was filled."""
        box = tuple(slice(p, p + 1) for p in place)
        id = int(Volume(describe(self.target), 0).read(box)[0, 0, 0, 0, 0])
        if id == 0:
            return nothing(name, self.target)
        return (
            f"The point {name} lies where a gap of object {id} was filled; choose a voxel of it in "
            "a plane before or after the gap, or to merge it, its id."
        )

    def near(self, box: Box, margin: int = 0) -> list[int]:
        """Slabs that meet a box, and as many around them as the margin says."""
        return blocks_of(self.grid, box, margin)

    def box(self, number: int) -> Box:
        """All of a slab."""
        return self.grid[number].write

    def labels(self, number: int, zone: Box) -> NDArray[np.uint32]:
        """Local ids of the objects of planes of a slab."""
        offsets, _ = graph.read_offsets(self.run, self.grid.counts)
        found = read_planes(self.written.flat, zone).astype(np.int64)
        return np.where(found > 0, found - offsets[number], 0).astype(np.uint32)

    def check_divisible(self, id: int, points: Sequence[str]) -> None:
        """Refuse: pieces of an object of a plane have no place in the tables of planes."""
        raise SpecError(
            f"Points of object {id} that are to be apart, among {' and '.join(points)}, lie in one "
            "object of a plane, and those of --dims slices are not divided; part it where planes "
            "meet, by points in different planes, or segment again with a higher "
            "--cellprob-threshold or another diameter."
        )

    def rows(self, table: Table) -> Table:
        """Parts are planes, more or less, and are called so."""
        return {"planes" if n == "parts" else n: column for n, column in table.items()}

    def besides(self, before: NDArray[np.int64], after: NDArray[np.int64], rows: Table) -> Besides:
        """Gaps of the touched objects, and where these were and will be filled."""
        nodes = {name: rows[name] for name in PLACE}
        ids = (i.astype(np.uint64) for i in (before, after))
        old, new = (find_gaps(each, nodes, self.written.gap) for each in ids)
        moved = before != after
        planes = set(zip(rows["frame"][moved].tolist(), rows["z0"][moved].tolist(), strict=True))
        known = [set(_as_rows(gaps)) for gaps in (old, new)]
        boxes = [
            _box_of(gap)
            for gap in sorted(known[0] | known[1])
            if not (gap in known[0] and gap in known[1])
            or (gap[1], gap[2]) in planes
            or (gap[1], gap[3]) in planes
        ]
        touched = np.union1d(before, after)
        tables = {}
        for number in sorted({n for box in boxes for n in blocks_of(self.written.tiles, box)}):
            block = self.written.tiles[number]
            reach = [intersection(_box_of(gap), block.write) is not None for gap in _as_rows(new)]
            here = {name: column[np.array(reach, bool)] for name, column in new.items()}
            others = volumes.read_gaps(self.run, block.id)
            if others is not None:
                stays = ~np.isin(others["id"].astype(np.int64), touched)
                here = {n: np.concatenate([others[n][stays], here[n]]) for n in here}
            tables[volumes.gaps_url("", block.id).lstrip("/")] = here
        return Besides(boxes, tables)

    def tabulated(
        self, touched: NDArray[np.int64], rows: Table, blocks: Sequence[int]
    ) -> tuple[NDArray[np.int64], Table]:
        """Rows with what is filled now; of others, too, whose gaps compete for the same voxels."""
        found = volumes.found_url(self.run)
        replace_rows(found, touched, rows)
        gone = [touched]
        for number in blocks:
            gaps = volumes.read_gaps(self.run, self.written.tiles[number].id)
            gone.append(gaps["id"].astype(np.int64) if gaps else np.zeros(0, np.int64))
        ids = np.unique(np.concatenate(gone))
        table = read_rows(found, ids)
        return ids, write_slices.with_filled(table, self._filled(table), self.written.spacing)

    def _filled(self, table: Table) -> Iterator[Table]:
        """What was filled in by the blocks in which some objects are."""
        numbers = {n for row in range(len(table["id"])) for n in self._blocks(table, row)}
        for number in sorted(numbers):
            try:
                yield read_table(write_slices.filled_url(self.run, self.written.tiles[number]))
            except NotFound:  # it has no gaps
                continue

    def _blocks(self, table: Table, row: int) -> list[int]:
        frame = int(table["frame"][row])
        ends = zip((table[a][row] for a in LOW), (table[a][row] for a in HIGH), strict=True)
        box = (slice(frame, frame + 1), *(slice(int(a), int(b)) for a, b in ends))
        return blocks_of(self.written.tiles, box)

    def publish(self, moved: Table, divided: Sequence[str]) -> None:
        """There are no other tables."""


Gap = tuple[int, ...]
"""id, frame, before, after, and the bounds of `core.gaps.BOX`."""


def _as_rows(gaps: Table) -> list[Gap]:
    columns = (gaps[name].tolist() for name in ("id", "frame", "before", "after", *BOX))
    return list(zip(*columns, strict=True))


def _box_of(gap: Gap) -> Box:
    """Voxels (t, z, y, x) that may be filled."""
    bounds = dict(zip(BOX, gap[4:], strict=True))
    space = (slice(bounds[f"{a}0"], bounds[f"{a}1"]) for a in "yx")
    return (slice(gap[1], gap[1] + 1), slice(gap[2] + 1, gap[3]), *space)
