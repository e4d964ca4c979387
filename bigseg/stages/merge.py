"""One id per object: compare the opinions of touching blocks, then cut the graph of all objects.

A block and its later neighbours (over faces, edges and corners) have labelled a common zone. Every
pair of objects that shares voxels there is an edge; a multicut over all edges decides which are
one object. See `core.overlap` and `core.multicut`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.classes import majority
from bigseg.core.evidence import edge_costs
from bigseg.core.multicut import solve
from bigseg.core.objects import Table, combine
from bigseg.core.overlap import Edges, zone_edges
from bigseg.core.relabel import dense_offsets, final_ids
from bigseg.grid import Block, Grid, intersection
from bigseg.io.scratch import create_scratch, scratch
from bigseg.io.tables import read_table, write_table
from bigseg.stages import label
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """What is merged, and how readily."""

    run: str
    label: label.Spec
    spacing: tuple[float, ...]
    """Voxel size (z, y, x) or (y, x)."""
    flow_threshold: float = 0.4
    """Largest flow error of an object; 0 switches the test off."""
    max_size: int | None = None
    """Voxels."""
    beta: float = 0.5
    """Prior probability that two overlapping objects are different."""
    repulsion: float = 0.0
    """How much two objects of one block repel each other, in mean absolute costs of their
    component; 0 was best where blocks split as often as they fuse."""

    @property
    def grid(self) -> Grid:
        return self.label.grid


def edges_url(run: str, block: Block) -> str:
    """Where the edges that a block owns are: one table row each."""
    return files.join(run, "tables", "edges", f"{block.id}.parquet")


def ids_url(run: str) -> str:
    """Where final ids are: uint64 (node,), blocks in grid order, local ids in order."""
    return files.join(run, "tables", "ids")


def offsets_url(run: str) -> str:
    """Where the number of each block's first node is: table with one column."""
    return files.join(run, "tables", "offsets.parquet")


def table_url(run: str) -> str:
    """Where the final object table is."""
    return files.join(run, "tables", "objects.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `label` has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> list[tuple[int, NDArray[np.uint32], NDArray[np.uint32]]]:
    """Number of each later neighbour, and both opinions about the common zone."""
    own = label.keep_box(spec.label, block)
    zones = []
    for index in spec.grid.neighbours(block.index, (2, 3) if spec.label.ndim == 2 else (1, 2, 3)):
        other = spec.grid.block_at(index)
        zone = intersection(own, label.keep_box(spec.label, other))
        if zone is not None:
            ours = label.read_opinion(spec.label, block, zone)
            theirs = label.read_opinion(spec.label, other, zone)
            zones.append((spec.grid.number(index), ours, theirs))
    return zones


def block(
    spec: Spec, block: Block, data: list[tuple[int, NDArray[np.uint32], NDArray[np.uint32]]]
) -> Facts:
    """Make and store the edges between a block and its later neighbours."""
    number = spec.grid.number(block.index)
    rows: list[dict[str, NDArray[Any]]] = []
    for other, ours, theirs in data:
        columns = zone_edges(ours, theirs).columns()
        count = len(columns["u"])
        columns["u_block"] = np.full(count, number, np.int64)
        columns["v_block"] = np.full(count, other, np.int64)
        rows.append(columns)
    names = ("u_block", "u", "v_block", "v", "n_u", "n_v", "n_uv")
    joined = {
        name: np.concatenate([row[name] for row in rows]) if rows else np.zeros(0, np.int64)
        for name in names
    }
    write_table(edges_url(spec.run, block), joined)
    objects = len(read_table(label.objects_url(spec.run, block))["id"])
    return {"edges": len(joined["u"]), "objects": objects}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Cut the graph, give final ids, and sum the rows of each object."""
    offsets = dense_offsets([fact["objects"] for fact in facts])
    nodes = int(offsets[-1])
    uv, edges = _graph(spec, offsets)
    component = solve(
        nodes,
        uv,
        edge_costs(edges, beta=spec.beta),
        repulsion=spec.repulsion,
        block_of_node=np.repeat(np.arange(len(facts)), np.diff(offsets)),
    ).astype(np.int64)
    judged = _judge(spec, component, nodes)
    ids = final_ids(component, judged.own > 0, judged.keep[component])
    create_scratch(ids_url(spec.run), (max(nodes, 1),), (1 << 18,), np.uint64)
    scratch(ids_url(spec.run))[:nodes] = ids
    write_table(offsets_url(spec.run), {"offset": offsets})
    table = combine(_tables(spec), ids, spacing=spec.spacing)
    table["flow_error"] = np.full(len(table["id"]), np.nan)
    rows = ids[ids > 0].astype(np.int64) - 1
    table["flow_error"][rows] = judged.error[component[ids > 0]]
    if spec.label.classes:
        table["class"] = np.zeros(len(table["id"]), np.int64)
        table["class"][rows] = judged.kind[component[ids > 0]]
    write_table(table_url(spec.run), table)
    return {
        "objects": len(table["id"]),
        "nodes": nodes,
        "edges": len(uv),
        "across_blocks": int((table["parts"] > 1).sum()),
    }


def _graph(spec: Spec, offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], Edges]:
    """All edges, with global node numbers."""
    tables = [read_table(edges_url(spec.run, block)) for block in spec.grid]
    columns = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    ends = [
        offsets[columns[f"{side}_block"].astype(np.int64)] + columns[side].astype(np.int64) - 1
        for side in ("u", "v")
    ]
    edges = Edges(*(columns[name] for name in ("u", "v", "n_u", "n_v", "n_uv")))
    return np.stack(ends, 1), edges


def _tables(spec: Spec) -> Iterator[Table]:
    return (read_table(label.objects_url(spec.run, block)) for block in spec.grid)


@dataclass(frozen=True)
class Judgement:
    """What is known of objects once their parts are together."""

    own: NDArray[np.int64]
    """(nodes,) voxels that each node's block writes."""
    error: NDArray[np.float64]
    """(components,) flow error, from the blocks that see the object whole; NaN if none does."""
    keep: NDArray[np.bool_]
    """(components,) whether flow error, size and class are as wanted."""
    kind: NDArray[np.int64]
    """(components,) class of most voxels; all 0 where the model knows no classes."""


def _judge(spec: Spec, component: NDArray[np.int64], nodes: int) -> Judgement:
    """Decide what is kept: once for the whole object, so that no block keeps a part of it."""
    count = int(component.max(initial=-1)) + 1
    own = np.zeros(nodes, np.int64)
    voxels, seen = np.zeros(count, np.int64), np.zeros(count, np.int64)
    error = np.zeros(count)
    votes = np.zeros((count, max(spec.label.classes, 1)), np.int64)
    first = 0
    for table in _tables(spec):
        last = first + len(table["id"])
        own[first:last] = table["voxels"]
        whole = ~np.isnan(table["flow_error"])
        weight = np.where(whole, table["voxels_total"], 0)
        np.add.at(voxels, component[first:last], table["voxels"])
        np.add.at(seen, component[first:last], weight)
        np.add.at(error, component[first:last], np.where(whole, table["flow_error"], 0) * weight)
        for number in range(spec.label.classes):
            np.add.at(votes[:, number], component[first:last], table[f"class_{number}"])
        first = last
    error = np.where(seen > 0, error / np.maximum(seen, 1), np.nan)
    keep = voxels >= spec.label.min_size
    if spec.max_size is not None:
        keep &= voxels <= spec.max_size
    if spec.flow_threshold > 0:
        keep &= ~(error > spec.flow_threshold)
    kind = majority(votes)
    if spec.label.classes:
        keep &= kind > 0
    return Judgement(own, error, keep, kind)
