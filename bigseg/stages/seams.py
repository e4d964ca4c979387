"""Tell for every face between blocks whether objects were matched across it, and how surely.

Runs when ids are given. A block of this stage is a group of blocks of the image, one after the
other; it reads their edges, the ids of the objects that these join, and the boxes of the objects at
its faces. So memory follows the group, whatever the size of the graph. What is counted is in
`core.seams`; besides, objects that lie at a face and of which the block beyond saw nothing are
*alone*. Edges and corners, over which blocks touch as well, are only summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.evidence import Evidence
from bigseg.core.objects import Table
from bigseg.core.seams import TALLY, decide, sizes, split_objects, tally
from bigseg.grid import Block, Grid
from bigseg.io.scratch import scratch
from bigseg.io.tables import read_tables, write_table
from bigseg.stages import components, doubtful, tiles
from bigseg.stages.graph import CHUNK, edges_url, ids_url, nodes_url, read_offsets
from bigseg.stages.opinions import Opinions
from bigseg.types import Facts, StageSpec

GROUP = 64
"""Blocks of the image that one task looks at."""
KINDS = ("edges", "corners")
"""What blocks touch over besides faces."""
Ints = NDArray[np.int64]


class Spec(StageSpec):
    """Which graph, and where its blocks lie."""

    joined: components.Spec
    opinions: Opinions | None = None
    """Blocks of the image. None if they lie anywhere: then any two that have edges share a face,
    of which the place is not known."""
    tiled: tiles.Spec | None = None
    """Tiles that are the blocks, instead."""

    @property
    def grid(self) -> Grid:
        """Groups of blocks."""
        blocks = int(np.prod(self.joined.counts))
        return Grid((1, 1, 1, blocks), (1, 1, 1, GROUP), (0, 0, 0, 0))


@dataclass(frozen=True)
class Group:
    """What is known of some blocks."""

    edges: Table
    """Their edges to other blocks, with final ids `id_u`, `id_v` and the `cost` of cutting."""
    faces: Table
    """Blocks `a` and `b` on both sides, the `axis` (1 to 3 for z, y, x) that stands on the face,
    and its `position` along it: the first voxel of b."""
    objects: dict[int, Table]
    """Boxes and ids of the objects of the blocks on both sides."""


def seams_url(run: str) -> str:
    """Where the table of faces is."""
    return files.join(run, "tables", "seams.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Group:
    """Edges of a group of blocks, and the objects at their faces."""
    numbers = np.arange(block.write[-1].start, block.write[-1].stop)
    offsets, _ = read_offsets(spec.joined.run, spec.joined.counts)
    edges = _edges(spec, numbers, offsets)
    if spec.opinions is None:
        return Group(edges, _meetings(edges), {})
    faces = _faces(spec.opinions, numbers)
    near = np.unique(np.concatenate([faces["a"], faces["b"]]))
    return Group(edges, faces, _objects(spec, near, offsets))


def block(spec: Spec, block: Block, data: Group) -> Facts:
    """Count what was decided at each face, and keep the decisions that are worst."""
    edges, faces = data.edges, data.faces
    pair, pairs = _pairs(spec.opinions, edges, faces), len(faces["a"]) + len(KINDS)
    weights = sizes(edges)
    if "n_u" in edges:
        weights **= Evidence(**spec.joined.evidence).size_exponent
    found = decide((edges["id_u"], edges["id_v"]), edges["cost"], weights)
    shared = edges.get("n_uv", np.zeros(len(pair), np.int64))
    split = split_objects((edges.get("n_u", shared), edges.get("n_v", shared), shared), found)
    counted = tally(pair, pairs, found, split, shared).columns()
    of_faces = {name: column[: -len(KINDS)] for name, column in counted.items()}
    rows = {**faces, **of_faces, "alone": _alone(data, pair)}
    write_table(_part_url(spec, block.index[-1], "faces"), rows)
    edges |= {"kept": found.kept, "margin": found.margin, "doubt": found.doubt}
    write_table(_part_url(spec, block.index[-1], "worst"), doubtful.worst(edges, doubtful.SPARE))
    rest = {name: counted[name][-len(KINDS) :] for name in TALLY}
    write_table(_part_url(spec, block.index[-1], "rest"), rest)
    return {"edges": len(pair)}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Put the tables of all groups together, and say where the worst decisions lie."""
    return summed_up(spec)


def recount(spec: Spec, blocks: Iterable[int]) -> Facts:
    """Count again what was decided at the faces of some blocks; what `finish` would return now."""
    for group in sorted({number // GROUP for number in blocks}):
        block(spec, spec.grid[group], read(spec, spec.grid[group]))
    return summed_up(spec)


def summed_up(spec: Spec) -> Facts:
    """Write the tables of all faces, of what all groups have counted; sums of them."""
    faces, worst, rest = (
        _together(read_tables(_part_url(spec, n, what) for n in range(len(spec.grid))))
        for what in ("faces", "worst", "rest")
    )
    run = spec.joined.run
    write_table(seams_url(run), faces)
    found, where = doubtful.worst(worst, doubtful.MOST), spec.opinions or spec.tiled
    write_table(doubtful.doubtful_url(run), found | doubtful.places(run, where, found))
    totals = {name: int(faces[name].sum()) for name in (*TALLY, "alone")}
    every = len(KINDS)
    sums = {k: {t: int(rest[t][n::every].sum()) for t in TALLY} for n, k in enumerate(KINDS)}
    return {"faces": {"count": len(faces["a"]), **totals}, **sums}


def _part_url(spec: Spec, group: int, what: str) -> str:
    return files.join(spec.joined.run, "graph", "seams", f"{group}-{what}.parquet")


def _together(tables: Any) -> Table:
    parts = list(tables)
    names = max(parts, key=len)
    return {name: np.concatenate([part[name] for part in parts if name in part]) for name in names}


def _block_id(spec: Spec, number: int) -> str:
    return "-".join(map(str, np.unravel_index(number, spec.joined.counts)))


def _edges(spec: Spec, numbers: Ints, offsets: Ints) -> Table:
    """Edges that some blocks own and that leave them."""
    parts = []
    for table in read_tables(edges_url(spec.joined.run, _block_id(spec, n)) for n in numbers):
        table["cost"] = components.weigh(spec.joined, table)
        across = table["u_block"] != table["v_block"]
        parts.append({name: column[across] for name, column in table.items()})
    rows = _together(parts)
    for side in "uv":
        node = offsets[rows[f"{side}_block"]] + rows[side].astype(np.int64) - 1
        rows[f"id_{side}"] = _ids(spec.joined.run, node)
    return rows


def _ids(run: str, nodes: Ints) -> NDArray[np.uint64]:
    """Final ids of nodes; of the array only the pieces that hold them are read, one at a time."""
    stored, ids = scratch(ids_url(run)), np.zeros(len(nodes), np.uint64)
    for piece in np.unique(nodes // CHUNK).tolist():
        rows = nodes // CHUNK == piece
        ids[rows] = stored[piece * CHUNK : (piece + 1) * CHUNK][nodes[rows] - piece * CHUNK]
    return ids


def _objects(spec: Spec, numbers: Ints, offsets: Ints) -> dict[int, Table]:
    """Boxes and ids of the objects that own voxels in some blocks, with their local ids."""
    urls = (nodes_url(spec.joined.run, _block_id(spec, n)) for n in numbers)
    tables = list(read_tables(urls, ["voxels", *doubtful.BOX]))
    nodes = [np.arange(offsets[n], offsets[n + 1]) for n in numbers]
    ids = _ids(spec.joined.run, np.concatenate([*nodes, np.zeros(0, np.int64)]))
    found = {}
    for number, table, its in zip(numbers.tolist(), tables, nodes, strict=True):
        table["id"], ids = ids[: len(its)], ids[len(its) :]
        table["local"] = np.arange(1, len(its) + 1)
        there = (table["id"] > 0) & (table["voxels"] > 0)
        found[number] = {name: column[there] for name, column in table.items()}
    return found


def _faces(opinions: Opinions, numbers: Ints) -> Table:
    """Faces between some blocks and the next ones along each axis, by block and axis."""
    counts = opinions.grid.counts
    index = np.stack(np.unravel_index(numbers, counts), 1)
    rows = []
    for axis in (2, 3) if opinions.ndim == 2 else (1, 2, 3):
        inner = index[:, axis] + 1 < counts[axis]
        beyond = numbers[inner] + int(np.prod(counts[axis + 1 :]))
        position = (index[inner, axis] + 1) * opinions.block[axis]
        rows.append(np.stack([numbers[inner], beyond, np.full(inner.sum(), axis), position], 1))
    table = np.concatenate(rows)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    return dict(zip(("a", "b", "axis", "position"), table.T.astype(np.int64), strict=True))


def _meetings(edges: Table) -> Table:
    """Pairs of blocks that have edges, as faces of which only the blocks are known."""
    pairs = np.unique(np.stack([edges["u_block"], edges["v_block"]], 1).astype(np.int64), axis=0)
    unknown = np.full(len(pairs), -1)
    return {"a": pairs[:, 0], "b": pairs[:, 1], "axis": unknown, "position": unknown.copy()}


def _pairs(opinions: Opinions | None, edges: Table, faces: Table) -> Ints:
    """Row of the face that each edge crosses; after these, one for edges and one for corners."""
    u, v = edges["u_block"].astype(np.int64), edges["v_block"].astype(np.int64)
    known = faces["a"] << 32 | faces["b"]  # rising, as faces are in the order of their blocks
    row = np.searchsorted(known, u << 32 | v)
    at = np.minimum(row, len(known) - 1)
    crossing = (known[at] == (u << 32 | v)) if len(known) else np.zeros(len(u), bool)
    if opinions is None or crossing.all():
        return row
    here, there = (np.stack(np.unravel_index(n, opinions.grid.counts)) for n in (u, v))
    return np.where(crossing, row, len(known) + ((here != there).sum(axis=0) == 3))


def _alone(data: Group, pair: Ints) -> Ints:
    """Objects next to each face, of either side, to which no edge across it leads."""
    count = np.zeros(len(data.faces["a"]), np.int64)
    if not data.objects:
        return count
    order = np.argsort(pair, kind="stable")
    start = np.searchsorted(pair[order], np.arange(len(count) + 1))
    rows = zip(*(data.faces[name].tolist() for name in ("a", "b", "axis", "position")), strict=True)
    for n, (a, b, axis, position) in enumerate(rows):
        edges = order[start[n] : start[n + 1]]
        for number, side, bound in ((a, "u", 1), (b, "v", 0)):
            objects = data.objects[number]
            beside = objects[f"{'tzyx'[axis]}{bound}"] == position
            count[n] += (~np.isin(objects["local"][beside], data.edges[side][edges])).sum()
    return count
