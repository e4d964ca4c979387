"""Take in tiles that are labelled already: number their objects, measure them, keep the labels.

A block is a frame of a tile, and the grid is a list of them: tiles may lie anywhere. Each is read
once; what it said then is what is merged, whatever happens to the file later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import measure_objects
from bigseg.core.sparse_ids import densified
from bigseg.errors import BigsegError
from bigseg.grid import Block, Box, Grid, Index, size, within
from bigseg.io.scratch import create_scratch, scratch
from bigseg.io.tables import read_table, write_table
from bigseg.io.tile_table import Placed, arranged
from bigseg.io.tiles import read_frame
from bigseg.stages.graph import nodes_url
from bigseg.stages.opinions import opinions_url
from bigseg.stages.totals import totals
from bigseg.types import Facts, Labels, StageSpec


class Spec(StageSpec):
    """Which tiles there are; where each lies is in a table of the run."""

    run: str
    digest: str
    """Of the table of tiles."""
    count: int
    """Tiles, each frame of one being one."""
    shape: Index
    """(t, z, y, x) of the whole."""
    largest: Index
    """(z, y, x) that holds every tile."""
    ndim: Literal[2, 3]

    @property
    def grid(self) -> Grid:
        return Grid((self.count, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))

    def place(self, block: Block) -> Box:
        """Where the tile lies."""
        return placed(self).layout.box(self.grid.number(block.index))


def tiles_url(run: str) -> str:
    """Where the table of tiles is: file, axes, frame, and the box of each in voxels."""
    return files.join(run, "tables", "tiles.parquet")


def write_tiles(run: str, columns: Mapping[str, NDArray[Any]]) -> None:
    """Store the table of tiles."""
    write_table(tiles_url(run), columns)


def placed(spec: Spec) -> Placed:
    """Read the table of tiles, once per process.

    Raises
    ------
    BigsegError
        The table is of other tiles.
    """
    return _placed(spec.run, spec.digest, spec.count)


@lru_cache(maxsize=4)
def _placed(run: str, digest: str, count: int) -> Placed:
    table = read_table(tiles_url(run))
    found = arranged(table)
    if len(found.layout) != count:
        raise BigsegError(
            f"{tiles_url(run)} names {len(found.layout)} tiles, but the run has {count}; "
            "start it again with --overwrite."
        )
    return found


def read_part(spec: Spec, number: int, box: Box) -> NDArray[np.uint32]:
    """Labels that a tile gave to a part of it: (z, y, x), local ids."""
    place = within(box, placed(spec).layout.box(number))[1:]
    return np.asarray(scratch(opinions_url(spec.run))[(number, *place)], np.uint32)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan of the run has not found."""


def prepare(spec: Spec) -> None:
    """Create the array of labels."""
    # Neighbours and output blocks read only a part of a tile, so tiles are stored in pieces.
    pieces = tuple(min(n, 1024 if spec.ndim == 2 else 128) for n in spec.largest)
    shape = (spec.count, *spec.largest)
    create_scratch(opinions_url(spec.run), shape, (1, *pieces), np.uint32)


def read(spec: Spec, block: Block) -> Labels:
    """Labels of a tile as they are: (z, y, x)."""
    number, known = spec.grid.number(block.index), placed(spec)
    return read_frame(known.files[number], known.axes[number], int(known.frames[number]))


def block(spec: Spec, block: Block, data: Labels) -> Facts:
    """Number the objects of a tile, and store its labels and a row for each object."""
    number, box = spec.grid.number(block.index), spec.place(block)
    if data.shape != size(box)[1:]:
        raise BigsegError(
            f"{placed(spec).files[number]} has {data.shape} voxels now, but had {size(box)[1:]} "
            "when the run was planned; start it again with --overwrite."
        )
    return _store(spec, block, *densified(data))


def leave_out(spec: Spec, block: Block) -> Facts:
    """Store that a tile has no objects."""
    labels = np.zeros(size(spec.place(block))[1:], np.uint32)
    return _store(spec, block, labels, np.zeros(0, np.uint64))


def _store(spec: Spec, block: Block, labels: NDArray[np.uint32], ids: NDArray[np.uint64]) -> Facts:
    number, layout = spec.grid.number(block.index), placed(spec).layout
    box = layout.box(number)
    place = tuple(slice(0, n) for n in labels.shape)
    scratch(opinions_url(spec.run))[(number, *place)] = labels
    seen = measure_objects(labels, read=box, write=box, shape=spec.shape, count=len(ids))
    own = np.where(layout.owned(number)[0], labels, np.uint32(0))
    rows = measure_objects(own, read=box, write=box, shape=spec.shape, count=len(ids))
    rows |= {name: seen[name] for name in ("voxels_total", "cut")}
    rows |= {"flow_error": np.full(len(ids), np.nan), "tile_id": ids}
    write_table(nodes_url(spec.run, block.id), rows)
    return {"objects": len(ids), "cut": int(rows["cut"].sum())}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count what the tiles hold; objects in overlaps are counted by every tile."""
    return totals(facts, ("objects", "cut"))
