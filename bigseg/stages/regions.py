"""Count where pieces touch, and what the maps say there: the edges of the region graph.

Every pair of touching voxels is counted by the earlier of the blocks that own them, so the graph
and its sums are those of the whole image. See `core.regions`; what the edges mean is decided in
`components`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.boundary_maps import Eight, Offset
from bigseg.core.overlap import Pairs
from bigseg.core.regions import (
    Columns,
    key,
    region_edges,
    same_regions,
    split_keys,
)
from bigseg.grid import Block, Box, Grid, Index, grow, intersection, size, within
from bigseg.io.tables import read_table
from bigseg.stages import supervoxels
from bigseg.stages.graph import nodes_url, write_edges, write_offsets
from bigseg.stages.opinions import read_opinion
from bigseg.stages.supervoxels import read_maps
from bigseg.types import Facts, StageSpec

_IN_COMMON = 0.6
"""Share of the contact of two pieces at a face from which they are one, if it cut them."""


class Spec(StageSpec):
    """Whose contacts are counted."""

    pieces: supervoxels.Spec

    @property
    def grid(self) -> Grid:
        return self.pieces.grid


@dataclass(frozen=True, slots=True)
class Surroundings:
    """A block and as much of later blocks as contacts reach."""

    keys: NDArray[np.uint64]
    """(z, y, x), see `core.regions.region_edges`."""
    boundary: Eight
    """(k, z, y, x)."""
    numbers: list[int]
    """Of the block and of later ones, in the order of keys."""
    seeds: list[NDArray[np.int64]]
    """Of each block's pieces."""


def reach(spec: supervoxels.Spec) -> Index:
    """Voxels (t, z, y, x) from one side of a contact to the other, at most."""
    offsets = np.abs(np.array([*spec.maps.offsets, (1, 1, 1)])).max(0)
    return (0, *(int(n) for n in offsets))


def reaches_beyond_neighbours(offsets: Sequence[Offset]) -> bool:
    """Whether affinities say of pairs that do not touch whether they are one.

    Those edges are lifted: evidence across more than one piece, or block, that joins nothing by
    itself. Where maps do not say of all direct neighbours what they are, none is: pieces that
    touch only there could not be joined at all.
    """
    steps = [tuple(map(abs, offset)) for offset in offsets]
    return {(1, 0, 0), (0, 1, 0), (0, 0, 1)} <= set(steps) and any(sum(s) > 1 for s in steps)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Surroundings:
    """Load the pieces and maps that a block's contacts depend on."""
    return _load(spec, block)


def _load(spec: Spec, block: Block, *, damaged: bool = False) -> Surroundings:
    """Load them; what cannot be read of later blocks is taken for empty if it may be `damaged`."""
    pieces = spec.pieces
    box = grow(block.write, reach(pieces), pieces.shape)
    keys = np.zeros(size(box)[1:], np.uint64)
    numbers: list[int] = []
    seeds: list[NDArray[np.int64]] = []
    for other, zone in _with_later(spec, block, box):
        with suppress(Exception) if damaged else nullcontext():  # codecs have errors of their own
            labels = read_opinion(pieces, other, zone).astype(np.uint64)
            its = read_table(nodes_url(pieces.run, other.id), ["seed"])["seed"]
            keys[within(zone, box)[1:]] = np.where(labels > 0, labels + key(len(numbers)), 0)
            numbers.append(spec.grid.number(other.index))
            seeds.append(its)
    maps = read_maps(pieces.maps, box)
    boundary = 255 - maps if pieces.maps.source == "affinities" else maps
    return Surroundings(keys, boundary, numbers, seeds)


def _with_later(spec: Spec, block: Block, box: Box) -> Iterator[tuple[Block, Box]]:
    """The block and its later neighbours, with what of each lies in a box."""
    later = (spec.grid.block_at(index) for index in spec.grid.neighbours(block.index))
    for other in (block, *later):
        zone = intersection(other.write, box)
        if zone is not None:
            yield other, zone


def block(spec: Spec, block: Block, data: Surroundings) -> Facts:
    """Count the contacts of a block's own pieces."""
    return _store(spec, block, data)


def _store(spec: Spec, block: Block, data: Surroundings) -> Facts:
    offsets = spec.pieces.maps.offsets
    pairs, columns = region_edges(data.keys, data.boundary, offsets or None)
    if reaches_beyond_neighbours(offsets):
        touching, _ = region_edges(data.keys, data.boundary[:1])
        columns["lifted"] = _not_in(pairs, touching)
    part, v = split_keys(pairs[:, 1])
    found = []
    for number, other in enumerate(data.numbers):
        rows = part == number
        counted = {name: column[rows] for name, column in columns.items()}
        edges = {"u": pairs[rows, 0].astype(np.int64), "v": v[rows], **counted}
        same = np.concatenate(
            [_parts(spec.grid, data, number), _going_on(spec, data, number, edges)]
        )
        found.append((other, _with_same(edges, same)))
    count = write_edges(spec.pieces.run, block.id, data.numbers[0], found)
    return {"edges": count, "objects": len(data.seeds[0])}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Count the contacts with what can be read; none, if the block's own cannot."""
    number = spec.grid.number(block.index)
    with suppress(Exception):
        data = _load(spec, block, damaged=True)
        if data.numbers[0] == number:
            return _store(spec, block, data)
    shape = size(block.write)[1:]
    seeds = read_table(nodes_url(spec.pieces.run, block.id), ["seed"])["seed"]
    boundary = np.zeros((len(spec.pieces.maps.channels), *shape), np.uint8)
    return _store(
        spec, block, Surroundings(np.zeros(shape, np.uint64), boundary, [number], [seeds])
    )


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Number the nodes of all blocks."""
    return write_offsets(spec.pieces.run, facts)


def _parts(grid: Grid, data: Surroundings, number: int) -> NDArray[np.int64]:
    """Local ids (n, 2) of parts of one piece in a block and a later one.

    Where another later block between them holds a part, too, and touches both, those edges are
    enough: parts in a chain are joined without a solver, those in a ring are not.
    """
    if number == 0:
        return np.zeros((0, 2), np.int64)
    index = [grid[n].index for n in data.numbers]
    pairs = same_regions(data.seeds[0], data.seeds[number])
    for between in range(1, number):
        if all(abs(a - b) <= 1 for a, b in zip(index[between], index[number], strict=True)):
            held = np.isin(data.seeds[0][pairs[:, 0] - 1], data.seeds[between])
            pairs = pairs[~held]
    return pairs


def _going_on(spec: Spec, data: Surroundings, number: int, edges: Columns) -> NDArray[np.int64]:
    """Local ids (n, 2) of pieces of a block and a later one that are one, whatever their seeds.

    A flood may come from farther than a block sees, through something long. The block then has it
    begin where its own sight ends, and the neighbour knows better, or no better. Such pieces are
    the same that both have most of their contact at the face in common.
    """
    none = np.zeros((0, 2), np.int64)
    blocks = [spec.grid[data.numbers[n]] for n in (0, number)]
    if number == 0 or (spec.pieces.slices and blocks[0].index[1] != blocks[1].index[1]):
        return none
    u, v, contact = (edges[name] for name in ("u", "v", "contact"))
    sides = [data.seeds[n] for n in (0, number)]
    doubtful = [
        doubtful_seeds(spec.pieces, b, seeds) for b, seeds in zip(blocks, sides, strict=True)
    ]
    total = [np.bincount(ids, contact)[ids] if len(ids) else contact for ids in (u, v)]
    met = contact > _IN_COMMON * np.maximum(*total)
    met &= doubtful[0][u - 1] | doubtful[1][v - 1]
    return np.stack([u[met], v[met]], axis=1)


def doubtful_seeds(
    pieces: supervoxels.Spec, block: Block, seeds: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which seeds lie where a block sees too little around them to be sure of them."""
    sight = pieces.reach + 3 * pieces.sigma
    at = np.stack(np.unravel_index(np.maximum(seeds, 0), pieces.shape[1:]))
    doubtful = np.zeros(len(seeds), bool)
    for axis, (place, length) in enumerate(zip(at, pieces.spacing, strict=True), 1):
        if pieces.slices and axis == 1:
            continue
        side, far = block.read[axis], math.ceil(sight / length) + 2
        doubtful |= (place < side.start + far) & (side.start > 0)
        doubtful |= (place >= side.stop - far) & (side.stop < pieces.shape[axis])
    return doubtful & (seeds >= 0)


def _with_same(edges: Columns, same: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    """Edges with a column that marks parts of one piece, and rows for those that do not touch."""
    touching = np.stack([edges["u"], edges["v"]], axis=1)
    apart = _missing(same, touching)
    rows: dict[str, NDArray[Any]] = {
        name: np.concatenate([column, np.zeros(len(apart), np.int64)])
        for name, column in edges.items()
    }
    rows["u"][len(touching) :], rows["v"][len(touching) :] = apart[:, 0], apart[:, 1]
    marks = np.r_[~_absent(touching, same), np.ones(len(apart), bool)]
    if "lifted" in rows:
        rows["lifted"] = np.where(marks, 0, rows["lifted"])
    return {**rows, "same": marks}


def _not_in(pairs: Pairs, among: Pairs) -> NDArray[np.int64]:
    """1 for each pair of keys that is not among others, 0 for the rest."""
    kind = np.dtype([("u", np.uint64), ("v", np.uint64)])
    one, other = (np.ascontiguousarray(rows).view(kind).ravel() for rows in (pairs, among))
    return np.asarray(~np.isin(one, other), np.int64)


def _missing(pairs: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.int64]:
    return pairs[_absent(pairs, among)]


def _absent(pairs: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the pairs of local ids are not among others."""
    joined, others = (rows[:, 0] << 32 | rows[:, 1] for rows in (pairs, among))
    return np.asarray(~np.isin(joined, others), bool)
