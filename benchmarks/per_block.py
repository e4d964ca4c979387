"""Label an array block by block and merge it again, in memory: the engine's steps without a run.

What `label`, `merge`, `components`, `solve`, `objects` and `write` do with stored blocks, this does
with arrays, through the same functions of `bigseg.core`. Tests and benchmarks use it to merge
labels that they know everything about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.edges import EVIDENCE, edge_columns
from bigseg.core.evidence import Evidence
from bigseg.core.faces import Contacts, face_contacts
from bigseg.core.multicut import solve
from bigseg.core.relabel import dense_offsets, final_ids, relabel
from bigseg.grid import Block, Box, Grid, Index, grow, intersection, within

Array = NDArray[Any]
Columns = dict[str, Array]
"""Edges: `u` and `v` are nodes, the rest is evidence."""
Labeller = Callable[[Block], Array]
"""Labels of a block's read box, (z, y, x), with ids of the block's own."""
Costs = Callable[[Columns], Array]


@dataclass(frozen=True)
class Opinion:
    """What a block says of its own voxels and of a band around them."""

    block: Block
    box: Box
    labels: NDArray[np.uint32]
    """(z, y, x) of `box`; ids 1..n without gaps."""

    def at(self, box: Box) -> NDArray[np.uint32]:
        """Labels of a part of the box."""
        return self.labels[within(box, self.box)[1:]]


def cut(shape: Index, block: Index, halo: Index) -> Grid:
    """Grid over a (z, y, x) array; the halo is 0 along axes that blocks do not cut."""
    return Grid((1, *shape), (1, *block), (0, *halo))


def label_blocks(grid: Grid, band: Index, label: Labeller) -> list[Opinion]:
    """Opinions of all blocks, in grid order."""
    return [_opinion(grid, block, band, label(block)) for block in grid]


def _opinion(grid: Grid, block: Block, band: Index, labels: Array) -> Opinion:
    box = grow(block.write, (0, *band), grid.shape)
    kept = intersection(box, block.read)
    if kept is None:
        raise ValueError(f"block {block.id} is empty.")
    ids, dense = np.unique(labels[within(kept, block.read)[1:]], return_inverse=True)
    local = dense.reshape(tuple(s.stop - s.start for s in kept[1:])) + (ids[:1] != 0).sum()
    return Opinion(block, kept, local.astype(np.uint32))


def offsets(opinions: Sequence[Opinion]) -> NDArray[np.int64]:
    """Number of each block's first node."""
    return dense_offsets([int(opinion.labels.max(initial=0)) for opinion in opinions])


def pairs_of_blocks(grid: Grid) -> Iterator[tuple[int, int]]:
    """Numbers of all pairs of touching blocks."""
    for block in grid:
        for index in grid.neighbours(block.index):
            yield grid.number(block.index), grid.number(index)


def all_edges(
    grid: Grid, opinions: Sequence[Opinion], flows: NDArray[np.int8] | None = None
) -> Columns:
    """Edges of all pairs of blocks; given all `flows` (d, z, y, x), with what faces tell."""
    first = offsets(opinions)
    rows: list[Columns] = []
    for i, j in pairs_of_blocks(grid):
        a, b = opinions[i], opinions[j]
        zone = intersection(a.box, b.box)
        if zone is None:
            continue
        contacts = None if flows is None else _contacts(a, b, flows)
        columns = edge_columns(a.at(zone), b.at(zone), contacts)
        columns["u"] = columns["u"].astype(np.int64) + first[i] - 1
        columns["v"] = columns["v"].astype(np.int64) + first[j] - 1
        rows.append(columns)
    none = [np.zeros(0, np.int64)]
    return {n: np.concatenate([*none, *(r[n] for r in rows)]) for n in ("u", "v", *EVIDENCE)}


def _contacts(a: Opinion, b: Opinion, flows: NDArray[np.int8]) -> Contacts | None:
    """What meets across the face of two blocks; None if they touch in an edge or a corner."""
    axes = [k for k, (i, j) in enumerate(zip(a.block.index, b.block.index, strict=True)) if i != j]
    if len(axes) != 1:
        return None
    layers = [list(x.block.write) for x in (a, b)]
    face = layers[1][axes[0]].start
    layers[0][axes[0]], layers[1][axes[0]] = slice(face - 1, face), slice(face, face + 1)
    own, other = (tuple(layer) for layer in layers)
    field = [flows[(slice(None), *box[1:])] for box in (own, other)]
    return face_contacts(a.at(own), b.at(other), field[0], field[1])


def merge(
    grid: Grid,
    opinions: Sequence[Opinion],
    *,
    edges: Columns | None = None,
    costs: Costs | None = None,
    repulsion: float = 0.0,
) -> NDArray[np.uint64]:
    """Labels (z, y, x) of the whole: merge opinions, and write every block's own voxels."""
    first = offsets(opinions)
    edges = all_edges(grid, opinions) if edges is None else edges
    uv = np.stack([edges["u"], edges["v"]], axis=1)
    component = solve(
        int(first[-1]),
        uv,
        (costs or Evidence().costs)(edges),
        repulsion=repulsion,
        block_of_node=np.repeat(np.arange(len(opinions)), np.diff(first)),
    )
    own = [opinion.at(opinion.block.write) for opinion in opinions]
    counts = zip(own, np.diff(first), strict=True)
    owns = [np.bincount(x.ravel(), minlength=n + 1)[1:] > 0 for x, n in counts]
    ids = final_ids(component, np.concatenate(owns), None)
    result = np.zeros(grid.shape[1:], np.uint64)
    for number, (opinion, labels) in enumerate(zip(opinions, own, strict=True)):
        table = ids[first[number] : first[number + 1]]
        result[opinion.block.write[1:]] = relabel(labels, table)
    return result
