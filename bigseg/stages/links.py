"""Make the graph of the objects of planes: nodes, links between planes, and rivals within one.

A block is a slab of whole planes. It adds up what `stack` counted, weighs the links whose lower end
is in it, and lets rivals of its own planes repel each other (see `core.slices`). Memory follows the
objects of a slab, whatever the number of planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.objects import Table
from bigseg.core.overlap import add_counts
from bigseg.core.slices import Score, Weighing, link_costs, rivals, sum_rows
from bigseg.grid import Block, Grid
from bigseg.io.tables import read_table, write_table
from bigseg.stages import graph
from bigseg.stages.slices import Ids, Slices, flat_blocks
from bigseg.stages.stack import pairs_url
from bigseg.types import Facts

Ints = NDArray[np.int64]


class Spec(Slices):
    """What links are worth; see `core.slices.Weighing`."""

    beta: float = 0.5
    score: Score = "fitted"
    skip: float = 0.75
    repulsion: float = 1.2
    size_exponent: float = 0.0

    @property
    def grid(self) -> Grid:
        return self.slabs

    @property
    def weighing(self) -> Weighing:
        return Weighing(self.beta, self.score, self.skip, self.repulsion, self.size_exponent)


@dataclass(frozen=True)
class Nodes:
    """Objects of some planes, whose ids follow each other."""

    first: int
    """Id of the first."""
    plane: Ints
    """(n,) plane of each."""
    rows: Table
    """Rows of each, as node tables have them."""

    def within(self, start: int, stop: int) -> tuple[int, int]:
        """Positions of the first object of the planes from `start`, and of that from `stop`."""
        low, high = np.searchsorted(self.plane, (start, stop))
        return int(low), int(high)


def check(spec: Spec) -> None:
    """Refuse weights that mean nothing."""
    _ = spec.weighing


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing is loaded ahead; `block` reads tables."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Store the objects of own planes, the links upwards from them, and the rivals among them."""
    return _link(spec, block)


def leave_out(spec: Spec, block: Block) -> Facts:
    """Do it without pairs that cannot be read."""
    return _link(spec, block, damaged=True)


def _link(spec: Spec, block: Block, *, damaged: bool = False) -> Facts:
    z = block.write[1]
    nodes = _nodes(spec, block, max(z.start - spec.reach, 0), z.stop + spec.reach)
    uv, n_uv = _pairs(spec, block, nodes, damaged=damaged)
    step = nodes.plane[uv[:, 1]] - nodes.plane[uv[:, 0]]
    voxels = nodes.rows["voxels"]
    sizes = voxels[uv[:, 0]], voxels[uv[:, 1]]
    links = {"n_u": sizes[0], "n_v": sizes[1], "n_uv": n_uv, "step": step}
    links["cost"] = link_costs(n_uv, *sizes, step, spec.weighing)
    against, cost = rivals(uv, links["cost"], nodes.plane, spec.repulsion)
    low, high = nodes.within(z.start, z.stop)
    own = (uv[:, 0] >= low) & (uv[:, 0] < high) & (links["cost"] != 0)
    mine = (against[:, 0] >= low) & (against[:, 0] < high)
    none = {name: np.zeros(mine.sum(), np.int64) for name in ("n_u", "n_v", "n_uv", "step")}
    edges = _store(
        spec,
        block,
        (low, high),
        np.concatenate([uv[own], against[mine]]),
        {
            name: np.concatenate([column[own], none[name] if name in none else cost[mine]])
            for name, column in links.items()
        },
    )
    rows = {name: column[low:high] for name, column in nodes.rows.items()}
    rows["id"] = np.arange(1, high - low + 1, dtype=np.uint64)
    write_table(graph.nodes_url(spec.run, block.id), rows)
    return {"objects": high - low, "edges": edges, "rivals": int(mine.sum())}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Number the nodes of all slabs."""
    totals = graph.write_offsets(spec.run, facts)
    return totals | {"rivals": sum(fact["rivals"] for fact in facts)}


def _store(
    spec: Spec, block: Block, own: tuple[int, int], uv: Ints, columns: dict[str, NDArray[Any]]
) -> int:
    """Write edges, by the slab of their upper end: this one, or the next."""
    number, found = spec.grid.number(block.index), []
    inside = uv[:, 1] < own[1]
    for other, rows, begin in ((number, inside, own[0]), (number + 1, ~inside, own[1])):
        ends = {"u": uv[rows, 0] - own[0] + 1, "v": uv[rows, 1] - begin + 1}
        found.append((other, ends | {name: column[rows] for name, column in columns.items()}))
    return graph.write_edges(spec.run, block.id, number, found)


def _nodes(spec: Spec, block: Block, start: int, stop: int) -> Nodes:
    """Objects of the planes from `start` to `stop` of the block's frame, in the order of ids."""
    t, _, y, x = block.write
    known = Ids(spec.flat)
    ids, planes, tables = [], [], []
    for flat in flat_blocks(spec.flat, (t, slice(start, min(stop, spec.flat.shape[1])), y, x)):
        ids.append(known.of(flat).astype(np.int64))
        planes.append(np.full(len(ids[-1]), flat.index[1]))
        tables.append(read_table(graph.nodes_url(spec.flat.run, flat.id)))
    every = np.concatenate(ids)
    first = int(every[every > 0].min(initial=np.iinfo(np.int64).max))
    count = max(int(every.max(initial=0)) - first + 1, 0)
    plane = np.zeros(count, np.int64)
    plane[every[every > 0] - first] = np.concatenate(planes)[every > 0]
    rows = sum_rows(tables, [np.where(own > 0, own - first, -1) for own in ids], count)
    if spec.flat.shape[1] > 1:  # a plane has no border along z, a volume has
        rows["touches_border"] |= (plane == 0) | (plane == spec.flat.shape[1] - 1)
    return Nodes(first, plane, rows)


def _pairs(spec: Spec, block: Block, nodes: Nodes, *, damaged: bool) -> tuple[Ints, Ints]:
    """Positions of both ends of the pairs within reach of the block's planes, and their voxels.

    Tables that cannot be read are taken for empty ones if they may be `damaged`.
    """
    t, slab = block.index[:2]
    lowest = max(block.write[1].start - spec.reach, 0) // spec.depth
    _, _, rows, columns = spec.tiles.counts
    tables = []
    for index in product((t,), range(lowest, slab + 1), range(rows), range(columns)):
        with suppress(Exception) if damaged else nullcontext():  # parquet has errors of its own
            table = read_table(pairs_url(spec.run, spec.tiles.block_at(index)))
            known = table["u"] >= nodes.first
            pairs = np.stack([table["u"][known], table["v"][known]], axis=1).astype(np.uint64)
            tables.append((pairs, table["voxels"][known].astype(np.int64)))
    pairs, voxels = add_counts(tables)
    return pairs.astype(np.int64) - nodes.first, voxels
