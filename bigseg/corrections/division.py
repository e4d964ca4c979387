"""Divide an object by its shape, and make nodes of its pieces."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bigseg.core.constraints import part_shape
from bigseg.core.objects import HIGH, LOW, SUMS, Table, measure_objects
from bigseg.corrections.parts import Parts, together
from bigseg.corrections.state import State
from bigseg.errors import SpecError
from bigseg.grid import Box, Index, intersection, size, within
from bigseg.io.volume import Volume
from bigseg.stages import divisions

Seeds = list[tuple[Index, int]]
"""Points (t, z, y, x), and the number of the piece around each."""
LARGEST = 1 << 27
"""Voxels of the box of an object that is divided by its shape: about 3 GB of memory."""


@dataclass
class Divided:
    """What is known of divided nodes, by block, while corrections are worked out."""

    voxels: dict[int, divisions.Voxels] = field(default_factory=dict)
    rows: dict[int, Table] = field(default_factory=dict)
    """Changed and new rows, ascending local ids; `final` is set when ids are known."""

    def load(self, state: State, number: int) -> None:
        """Begin with what earlier corrections have divided."""
        if number not in self.voxels:
            block = state.block(number).id
            self.voxels[number] = divisions.read_voxels(state.graph, block)
            rows = divisions.read_divided(state.graph, block)
            if rows is not None:
                self.rows[number] = rows

    def next_local(self, state: State, number: int) -> int:
        """First local id of a block that is free."""
        nodes = int(state.offsets[number + 1] - state.offsets[number])
        largest = self.rows[number]["id"].max(initial=0) if number in self.rows else 0
        return max(nodes, int(largest)) + 1

    def add(self, number: int, voxels: divisions.Voxels, rows: Table) -> None:
        """Take in a division of nodes of one block."""
        self.voxels[number] = divisions.over(self.voxels[number], voxels)
        rows = rows | {"final": np.zeros(len(rows["id"]), np.int64)}
        old = self.rows.get(number)
        if old is not None:
            stays = ~np.isin(old["id"], rows["id"])
            rows = {
                name: np.concatenate([old[name][stays], column]) for name, column in rows.items()
            }
        order = np.argsort(rows["id"])
        self.rows[number] = {name: column[order] for name, column in rows.items()}


def divide(
    state: State, divided: Divided, box: Box, parts: Parts, seeds: Seeds
) -> tuple[Parts, NDArray[np.int64], NDArray[np.int64]]:
    """Divide an object around points, as its shape suggests.

    Parameters
    ----------
    divided
        Takes the pieces in.
    box
        (t, z, y, x) that holds the object.
    parts
        All nodes of the object.
    seeds
        A point (t, z, y, x), or more, for each piece, and the number of that piece; -1 for points
        that belong to whatever piece they lie in.

    Returns
    -------
    Parts, pieces, places
        The nodes that the object has now, the piece of each, and the piece in which each of the
        seeds lies.

    Raises
    ------
    SpecError
        The object's box is too large to be held in memory.
    """
    id, volume = int(parts.id[0]), int(np.prod(size(box)))
    if volume > LARGEST:
        raise SpecError(
            f"Object {id} cannot be divided by its shape: its box has {volume / 1e6:.0f} million "
            f"voxels, more than {LARGEST / 1e6:.0f}; choose points in different blocks."
        )
    mask = Volume(state.image, 0).read(box)[0, 0] == id
    points = np.array([place[1:] for place, _ in seeds]) - [s.start for s in box[1:]]
    kinds = np.array([kind for _, kind in seeds], np.int64)
    spacing = (1.0,) * (3 - len(state.judged.spacing)) + tuple(state.judged.spacing)
    pieces = part_shape(mask, points[kinds >= 0], kinds[kinds >= 0], spacing)
    unseen = parts.rows["voxels"] == 0  # whatever their piece, nothing of them is written
    first = int(kinds[kinds >= 0].min())
    new, piece = [parts.some(unseen)], [np.full(int(unseen.sum()), first, np.int64)]
    for number in state.nodes.near(box):
        ours = parts.some((parts.block == number) & ~unseen)
        if len(ours):
            made, of = _divide_block(state, divided, ours, (box, pieces))
            new.append(made)
            piece.append(of)
    places = pieces[tuple(points.T)].astype(np.int64) - 1
    return together(new), np.concatenate(piece), places


def _divide_block(
    state: State, divided: Divided, ours: Parts, cut: tuple[Box, NDArray[np.int32]]
) -> tuple[Parts, NDArray[np.int64]]:
    """Nodes of one block after an object was cut, and the piece of each."""
    number = int(ours.block[0])
    whole = state.nodes.box(number)
    zone = intersection(cut[0], whole) or whole
    divided.load(state, number)
    labels = state.nodes.labels(number, zone)
    pieces = cut[1][within(zone, cut[0])[1:]]
    after = _pieces(ours, labels, pieces, divided.next_local(state, number))
    torn = np.bincount(after.source, minlength=len(ours))[after.source] > 1
    parts = replace(ours.some(after.source), local=after.local)
    if torn.any():
        rows = _rows(state, parts, after, zone)
        parts = replace(parts, divided=parts.divided | torn, rows=rows)
        divided.add(number, _voxels(after, torn, zone, whole), parts.some(torn).rows)
    return parts, after.piece


@dataclass(frozen=True)
class _After:
    """Nodes of a block after a cut."""

    local: NDArray[np.int64]
    piece: NDArray[np.int64]
    source: NDArray[np.int64]
    """Position of the node that each was or was a part of."""
    labels: NDArray[np.int64]
    """(z, y, x) local ids; 0 elsewhere."""


def _pieces(ours: Parts, labels: NDArray[np.uint32], cut: NDArray[np.int32], free: int) -> _After:
    """Cut nodes; the largest piece of each keeps its local id, others get those from `free` on."""
    made = np.zeros(labels.shape, np.int64)
    found: list[tuple[int, int, int]] = []
    for position, local in enumerate(ours.local.tolist()):
        own = labels == local
        counts = np.bincount(cut[own])
        for rank, piece in enumerate(np.argsort(-counts, kind="stable")[: (counts > 0).sum()]):
            name = free if rank else local
            free += rank > 0
            found.append((name, int(piece) - 1, position))
            made[own & (cut == piece)] = name
    local, piece, source = np.array(found, np.int64).T
    return _After(local, piece, source, made)


def _rows(state: State, parts: Parts, after: _After, zone: Box) -> Table:
    """Rows of nodes after a cut; what only the uncut node knew is shared out by voxels."""
    order = np.argsort(after.local)
    back = np.argsort(order)
    dense = np.searchsorted(np.r_[0, after.local[order]], after.labels).astype(np.uint32)
    measured = measure_objects(
        dense, read=zone, write=zone, shape=state.nodes.shape, count=len(order)
    )
    rows = {name: column.copy() for name, column in parts.rows.items()}
    share = measured["voxels"][back] / np.maximum(rows["voxels"], 1)
    for name in ("voxels", *LOW, *HIGH, *SUMS):
        rows[name] = measured[name][back]
    for name in rows:
        if name == "voxels_total" or name.startswith("class_"):
            rows[name] = np.rint(rows[name] * share).astype(rows[name].dtype)
    axes = [a for a, n in enumerate(state.nodes.shape[1:]) if n > 1 and (a or not state.nodes.flat)]
    rows["touches_border"] = np.logical_or.reduce(
        [(rows[LOW[a]] == 0) | (rows[HIGH[a]] == state.nodes.shape[1 + a]) for a in axes]
    )
    rows["id"] = after.local.astype(rows["id"].dtype)
    return rows


def _voxels(after: _After, torn: NDArray[np.bool_], zone: Box, whole: Box) -> divisions.Voxels:
    """Places of nodes that were torn, in all that the block has labelled, and their local ids."""
    place = np.nonzero(np.isin(after.labels, after.local[torn]))
    shift = [s.start for s in within(zone, whole)[1:]]
    own = size(whole)[1:]
    flat = np.ravel_multi_index(tuple(p + s for p, s in zip(place, shift, strict=True)), own)
    return flat.astype(np.int64), after.labels[place].astype(np.uint32)
