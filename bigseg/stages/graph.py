"""The graph of all objects as tables in the run: nodes, edges, and what became of them.

A node is an object of one block: a block's number in the grid and a local id, from 1. An edge
joins nodes of two blocks, or of one, and belongs to one block alone; what it counts (voxels,
contacts) adds up exactly, whatever the order. Nodes have dense numbers besides: those of block k
begin at the k-th offset.

| below `RUN/graph/` | |
| --- | --- |
| `opinions` | labels of each block: `stages.opinions` |
| `nodes/BLOCK.parquet` | a row for each object of a block: `core.objects.measure_objects` |
| `edges/BLOCK.parquet` | the edges that a block owns |
| `offsets.parquet` | first node of each block, and its number of edges |
| `roots` | first node that each node is surely together with: `stages.components` |
| `packs/PACK-nodes.parquet`, `-edges.parquet` | what is left to solve, in packs |
| `solutions/PACK.parquet`, `certificates/PACK.parquet` | how it was solved: `stages.solve` |
| `ids` | final id of each node: `stages.objects` |
| `total.parquet` | largest final id |
| `corrections` | what was corrected by hand: `stages.divisions`, `corrections.journal` |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files, opened
from bigseg.core.objects import Table
from bigseg.core.relabel import dense_offsets
from bigseg.errors import BigsegError
from bigseg.grid import Index
from bigseg.io.scratch import create_scratch, scratch
from bigseg.io.tables import read_table, read_tables, write_table
from bigseg.types import Facts

ENDS = ("u_block", "u", "v_block", "v")
"""Columns that say which nodes an edge joins."""
MADE_BY = {
    "background": ("region",),
    "label": ("opinions", "nodes"),
    "merge": ("edges", "offsets.parquet"),
    "components": ("roots", "packs"),
    "objects": ("ids", "total.parquet", "corrections"),
}
"""What goes when a step is to be done anew."""
CHUNK = 1 << 18
"""Nodes per stored piece of an array over all nodes."""


def block_ids(counts: Index) -> Iterator[str]:
    """Ids of the blocks of a grid of so many blocks along each axis, in order."""
    return ("-".join(map(str, index)) for index in product(*map(range, counts)))


def nodes_url(run: str, block: str) -> str:
    """Where the objects of a block are, by the block's id."""
    return files.join(run, "graph", "nodes", f"{block}.parquet")


def edges_url(run: str, block: str) -> str:
    """Where the edges that a block owns are."""
    return files.join(run, "graph", "edges", f"{block}.parquet")


def offsets_url(run: str) -> str:
    """Where the number of each block's first node is."""
    return files.join(run, "graph", "offsets.parquet")


def ids_url(run: str) -> str:
    """Where final ids are: uint64 (node,); 0 where nothing is to be written."""
    return files.join(run, "graph", "ids")


def total_url(run: str) -> str:
    """Where the largest final id is; a block that writes ids needs no more of the table."""
    return files.join(run, "graph", "total.parquet")


def write_edges(
    run: str, block: str, number: int, found: Sequence[tuple[int, Mapping[str, NDArray[Any]]]]
) -> int:
    """Store the edges that a block owns; return how many.

    Parameters
    ----------
    number
        Of the block.
    found
        For each other block (or the same), its number, and columns `u` and `v` (local ids here and
        there) with whatever was counted of each pair.
    """
    parts = [
        {"u_block": _filled(number, rows), "u": rows["u"], "v_block": _filled(other, rows), **rows}
        for other, rows in found
    ]
    names = list(parts[0]) if parts else list(ENDS)
    columns = {
        name: np.concatenate([part[name] for part in parts]) if parts else np.zeros(0, np.int64)
        for name in names
    }
    for name in columns.keys() & {*ENDS}:  # no block has 2^31 objects, no grid 2^31 blocks
        columns[name] = columns[name].astype(np.int32)
    write_table(edges_url(run, block), columns)
    return len(columns["u"])


def _filled(number: int, rows: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    return np.full(len(rows["u"]), number, np.int32)


def write_offsets(run: str, facts: Sequence[Facts]) -> Facts:
    """Number all nodes, given `objects` and `edges` of each block in grid order; their totals."""
    pairs = ((fact["objects"], fact["edges"]) for fact in facts)
    counts = np.fromiter(pairs, np.dtype((np.int64, 2)), len(facts))
    offsets, edges = dense_offsets(counts[:, 0]), np.append(counts[:, 1], 0)
    write_table(offsets_url(run), {"offset": offsets, "edges": edges})
    return {"nodes": int(offsets[-1]), "edges": int(edges.sum())}


def read_offsets(run: str, counts: Index) -> tuple[NDArray[np.int64], int]:
    """Number of each block's first node (and one past the last), and the number of edges.

    Raises
    ------
    BigsegError
        The table is of another number of blocks.
    """
    table = read_table(offsets_url(run))
    blocks = int(np.prod(counts))
    if len(table["offset"]) != blocks + 1:
        raise BigsegError(
            f"{offsets_url(run)} numbers the objects of {len(table['offset']) - 1} blocks, but "
            f"there are {blocks}: blocks are missing, or the table is of another run; merge again."
        )
    return table["offset"].astype(np.int64), int(table["edges"].sum())


def read_nodes(run: str, counts: Index, columns: Sequence[str] | None = None) -> Iterator[Table]:
    """Node tables of all blocks, in order, one at a time."""
    return read_tables((nodes_url(run, block) for block in block_ids(counts)), columns)


def create_nodes_array(url: str, nodes: int, dtype: type[np.generic]) -> None:
    """Create an array with a number for each node."""
    create_scratch(url, (max(nodes, 1),), (CHUNK,), dtype)


def write_nodes_array(url: str, values: NDArray[Any]) -> None:
    """Store a number for each node."""
    create_nodes_array(url, len(values), values.dtype.type)
    scratch(url)[: len(values)] = values


def read_ids(run: str, number: int) -> NDArray[np.uint64]:
    """Final ids of the objects of one block: those of local ids 1, 2, ….

    Only the part of the array that the block needs is read.
    """
    url = offsets_url(run)  # has a row for each block: all of it is read once
    offsets = opened.once(url, ("offset",), lambda: read_table(url, ["offset"])["offset"])
    first, last = offsets[number : number + 2]
    return np.asarray(scratch(ids_url(run))[int(first) : int(last)], np.uint64)
