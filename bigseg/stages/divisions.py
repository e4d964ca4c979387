"""Objects of a block that were divided by hand, kept beside the block's opinion.

A division changes neither opinions nor the numbers of nodes. It says which voxels of a block have
another local id than in its opinion: pieces get local ids after those of the block. What reads the
labels of a block for writing reads them here, so a division lasts as long as the run.

| below `RUN/graph/corrections/blocks/` | |
| --- | --- |
| `BLOCK-voxels.parquet` | runs of voxels, `start` and `length`, and their `local` id |
| `BLOCK-nodes.parquet` | changed and new rows of `nodes/BLOCK.parquet`, with `final` ids |
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import Table
from bigseg.errors import NotFound
from bigseg.grid import Block, Box, size, within
from bigseg.io.tables import read_table
from bigseg.stages import graph, tiles
from bigseg.stages.opinions import Opinions, read_opinion
from bigseg.view.corrected import Correction

Voxels = tuple[NDArray[np.int64], NDArray[np.uint32]]
"""Flat places in a block's own box, ascending, and the local id of each."""


def corrections_url(run: str) -> str:
    """Where all corrections of a run are."""
    return files.join(run, "graph", "corrections")


def found_corrections(run: str) -> list[Correction]:
    """Corrections of a run that are done, in their order; their folders have numbers."""
    parent, found = corrections_url(run), []
    for name in files.names(parent):
        if name.isdecimal() and files.exists(files.join(parent, name, "done.json")):
            plan = json.loads(files.get(files.join(parent, name, "plan.json")))
            found.append(Correction(plan["time"], plan["merged"], plan["split"]))
    return found


def voxels_url(run: str, block: str) -> str:
    """Where it is which voxels of a block have another local id."""
    return files.join(corrections_url(run), "blocks", f"{block}-voxels.parquet")


def rows_url(run: str, block: str) -> str:
    """Where the rows of divided nodes are."""
    return files.join(corrections_url(run), "blocks", f"{block}-nodes.parquet")


def divided_blocks(run: str) -> set[str]:
    """Ids of the blocks in which something was divided."""
    names = files.names(files.join(corrections_url(run), "blocks"))
    return {n.removesuffix("-nodes.parquet") for n in names if n.endswith("-nodes.parquet")}


def read_labels(spec: Opinions, block: Block, box: Box | None = None) -> NDArray[np.uint32]:
    """Local ids of a block's own voxels, or of a box of these, (z, y, x)."""
    box = box or block.write
    return _divided(spec.run, block, read_opinion(spec, block, box), (box, block.write))


def read_tile(spec: tiles.Spec, number: int, box: Box) -> NDArray[np.uint32]:
    """Local ids of a part of a tile, (z, y, x)."""
    whole = tiles.placed(spec).layout.box(number)
    return _divided(spec.run, spec.grid[number], tiles.read_part(spec, number, box), (box, whole))


def _divided(
    run: str, block: Block, labels: NDArray[np.uint32], boxes: tuple[Box, Box]
) -> NDArray[np.uint32]:
    """Labels of a box, which is a part of all that its block has labelled, with divisions."""
    flat, local = read_voxels(run, block.id)
    if len(flat):
        own = size(boxes[1])[1:]
        here = within(*boxes)[1:]
        place = np.stack(np.unravel_index(flat, own), axis=1) - [s.start for s in here]
        inside = ((place >= 0) & (place < labels.shape)).all(axis=1)
        labels[tuple(place[inside].T)] = local[inside]
    return labels


def read_voxels(run: str, block: str) -> Voxels:
    """Voxels of a block whose local id is not that of the opinion."""
    runs = _stored(voxels_url(run, block))
    if runs is None:
        return np.zeros(0, np.int64), np.zeros(0, np.uint32)
    length = runs["length"]
    first = np.repeat(runs["start"] - np.r_[0, np.cumsum(length)[:-1]], length)
    return first + np.arange(length.sum()), np.repeat(runs["local"], length)


def runs_of(voxels: Voxels) -> Table:
    """Table of runs, the inverse of what `read_voxels` does."""
    flat, local = voxels
    new = np.r_[True, (np.diff(flat) != 1) | (local[1:] != local[:-1])][: len(flat)]
    first = np.flatnonzero(new)
    length = np.diff(np.r_[first, len(flat)])
    return {"start": flat[first], "length": length, "local": local[first].astype(np.uint32)}


def over(old: Voxels, new: Voxels) -> Voxels:
    """Both; where they differ the new ones."""
    flat, local = (np.concatenate([b, a]) for a, b in zip(old, new, strict=True))
    flat, first = np.unique(flat, return_index=True)
    return flat, local[first]


def read_ids(run: str, block: str, number: int) -> NDArray[np.uint64]:
    """Final ids of local ids 1, 2, … of a block, divided ones included."""
    ids, rows = graph.read_ids(run, number), read_divided(run, block)
    if rows is None:
        return ids
    return np.concatenate([ids, rows["final"][rows["id"] > len(ids)].astype(np.uint64)])


def read_divided(run: str, block: str) -> Table | None:
    """Rows of the nodes of a block that a division changed or made, by local id; or None."""
    return _stored(rows_url(run, block))


def read_rows(run: str, block: str) -> Table:
    """Rows of all nodes of a block, those of local ids 1, 2, …, divided ones included."""
    rows, changed = read_table(graph.nodes_url(run, block)), read_divided(run, block)
    if changed is None:
        return rows
    count = len(rows["id"])
    old = changed["id"] <= count
    at = changed["id"][old].astype(np.int64) - 1
    for name, column in rows.items():
        whole = np.concatenate([column, changed[name][~old]]).astype(column.dtype)
        whole[at] = changed[name][old]
        rows[name] = whole
    return rows


def _stored(url: str) -> dict[str, NDArray[Any]] | None:
    try:
        return read_table(url)
    except NotFound:
        return None
