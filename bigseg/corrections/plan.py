"""From corrections to what changes in a run; nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.classes import majority
from bigseg.core.constraints import joined, part_graph
from bigseg.core.objects import Table, combine
from bigseg.corrections.division import Divided, divide
from bigseg.corrections.links import Links, check_places, find_links
from bigseg.corrections.parts import Parts, find_edges, find_parts, together
from bigseg.corrections.spec import Corrections
from bigseg.corrections.state import State, bounds, find_objects
from bigseg.errors import SpecError


@dataclass(frozen=True)
class Change:
    """What corrections change in a run."""

    parts: Parts
    """Nodes of the touched objects, as they are afterwards; `id` is the one they had."""
    id: NDArray[np.int64]
    """Id of each afterwards."""
    rows: Table
    """Rows of the touched objects afterwards."""
    divided: Divided
    merged: list[tuple[list[int], int]]
    """Ids that became one id."""
    split: list[tuple[int, list[int]]]
    """An id, and those of its pieces."""
    largest: int

    @property
    def touched(self) -> NDArray[np.int64]:
        """Ids whose rows change."""
        return np.union1d(self.parts.id, self.id)

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Nodes whose id changes and that have voxels."""
        return np.asarray((self.id != self.parts.id) & (self.parts.rows["voxels"] > 0))


def plan_change(state: State, corrections: Corrections) -> Change:
    """Work out what corrections change.

    Raises
    ------
    SpecError
        In a sentence that names the offender: points in no object, unknown ids, corrections that
        contradict each other, objects of different frames.
    """
    links = find_links(state, corrections)
    found = find_objects(state, [*links.ids, *(spot.id for spot in links.spots)])
    check_places(state, links, found)
    divided = Divided()
    units = _Units(state, links, found, divided)
    parts, unit = units.all(find_parts(state, found))
    id, largest = _name(state, links, units, parts, unit)
    spot_id = {int(u): int(i) for u, i in zip(unit, id, strict=True)}
    _check_result(links, [spot_id[u] for u in units.of_spot])
    for number in np.unique(parts.block[parts.divided]).tolist():
        divided.load(state, number)
    _note_ids(divided, parts, id)
    rows = state.nodes.rows(_rows(state, parts, id))
    merged = [
        (sorted(set(parts.id[id == i].tolist())), int(i))
        for i in np.unique(id)
        if len(set(parts.id[id == i].tolist())) > 1
    ]
    split = [
        (int(old), sorted(set(id[parts.id == old].tolist())))
        for old in found["id"]
        if len(set(id[parts.id == old].tolist())) > 1
    ]
    return Change(parts, id, rows, divided, merged, split, largest)


class _Units:
    """Part what must be parted; what stays whole is a unit, and so is each piece."""

    def __init__(self, state: State, links: Links, found: Table, divided: Divided) -> None:
        self.state, self.links, self.found, self.divided = state, links, found, divided
        self.of_spot = [-1] * len(links.spots)
        self.of_object: dict[int, int] = {}
        self.count = 0

    def all(self, parts: Parts) -> tuple[Parts, NDArray[np.int64]]:
        """All nodes, and the unit of each."""
        done = [
            self._one(parts.some(parts.id == id), row)
            for row, id in enumerate(self.found["id"].astype(np.int64))
        ]
        return together([part for part, _ in done]), np.concatenate([unit for _, unit in done])

    def _one(self, parts: Parts, row: int) -> tuple[Parts, NDArray[np.int64]]:
        """Nodes of one object, and the unit of each."""
        id = int(self.found["id"][row])
        spots = [n for n, spot in enumerate(self.links.spots) if spot.id == id]
        roots, kinds = np.unique(self.links.roots[spots], return_inverse=True)
        hostile = {
            (a, b)
            for a in range(len(roots))
            for b in range(a + 1, len(roots))
            if (int(roots[a]), int(roots[b])) in self.links.hostile
        }
        piece, of = np.zeros(len(parts), np.int64), np.zeros(len(spots), np.int64)
        if hostile:
            nodes = np.array([self._node(parts, n) for n in spots])
            rivals = np.unique(np.array(sorted(hostile)))
            of_node = _kinds_of_nodes(len(parts), nodes, kinds, rivals)
            if of_node is None or parts.divided.any():
                seeds = [
                    (self.links.spots[n].place, int(k) if k in rivals else -1)
                    for n, k in zip(spots, kinds, strict=True)
                ]
                box = bounds(self.found, row)
                self.state.nodes.check_divisible(id, [self.links.spots[n].name for n in spots])
                parts, piece, of = divide(self.state, self.divided, box, parts, seeds)
            else:
                u, v, costs = find_edges(self.state, parts)
                piece = part_graph((u, v), costs, of_node, hostile)
                of = piece[nodes]
        self.of_object[id] = self.count
        for n, here in zip(spots, of.tolist(), strict=True):
            self.of_spot[n] = self.count + here
        unit = self.count + piece
        self.count += max(len(roots), 1)
        return parts, unit

    def _node(self, parts: Parts, n: int) -> int:
        """Position of the node that a point lies in."""
        spot = self.links.spots[n]
        return int(((parts.block == spot.block) & (parts.local == spot.local)).argmax())

    def merges(self) -> list[list[int]]:
        """Units that each merge joins."""
        spots = len(self.links.spots)
        return [
            [
                self.of_spot[e] if e < spots else self.of_object[self.links.ids[e - spots]]
                for e in group
            ]
            for group in self.links.together
        ]


def _kinds_of_nodes(
    count: int, nodes: NDArray[np.int64], kinds: NDArray[Any], rivals: NDArray[np.int64]
) -> NDArray[np.int64] | None:
    """Kind of the points in each node, -1 without; None if two rivals are in one node."""
    found = np.full(count, -1, np.int64)
    for kind in (*rivals.tolist(), *np.setdiff1d(kinds, rivals).tolist()):
        here = nodes[kinds == kind]
        free = bool(((found[here] < 0) | (found[here] == kind)).all())
        if not free and kind in rivals:
            return None
        if free:  # a point that nothing parts from others goes where its node goes
            found[here] = kind
    return found


def _name(
    state: State, links: Links, units: _Units, parts: Parts, unit: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Id of each node: the smallest that a piece of it keeps, or a new one.

    The largest piece of an object keeps its id, the first one if several are as large.
    """
    voxels = np.bincount(unit, parts.rows["voxels"], minlength=units.count)
    kept = np.full(units.count, np.iinfo(np.int64).max)
    for id in np.unique(parts.id):
        own = np.unique(unit[parts.id == id])
        kept[own[voxels[own].argmax()]] = id
    root = joined(units.count, units.merges())
    name = np.full(units.count, np.iinfo(np.int64).max)
    np.minimum.at(name, root, kept)
    largest = state.largest
    for one in np.unique(root[unit]):  # by object, and then by piece
        if name[one] == np.iinfo(np.int64).max:
            largest += 1
            name[one] = largest
    highest = np.iinfo(state.image.dtype).max
    if largest > highest:
        raise SpecError(
            f"The corrections need the id {largest}, but {state.target} holds "
            f"{state.image.dtype}, up to {highest}; run the segmentation again with fewer objects."
        )
    return name[root][unit], largest


def _check_result(links: Links, ids: list[int]) -> None:
    """Refuse if points that must be apart ended in one object, on ways that nobody wrote down."""
    for number, group in enumerate(links.apart, 1):
        for i, a in enumerate(group):
            for b in group[i + 1 :]:
                if ids[a] == ids[b]:
                    one, two = links.spots[a].name, links.spots[b].name
                    raise SpecError(
                        f"Split {number} parts {one} and {two}, but the objects that merges join "
                        "bring them together again; split these objects, too."
                    )


def _note_ids(divided: Divided, parts: Parts, id: NDArray[np.int64]) -> None:
    """Put final ids into the rows of divided nodes."""
    for number, rows in divided.rows.items():
        here = parts.block == number
        order = np.argsort(parts.local[here])
        local, final = parts.local[here][order], id[here][order]
        at = np.minimum(np.searchsorted(local, rows["id"].astype(np.int64)), len(local) - 1)
        ours = local[at] == rows["id"].astype(np.int64)
        rows["final"] = np.where(ours, final[at], rows["final"])


def _rows(state: State, parts: Parts, id: NDArray[np.int64]) -> Table:
    """Rows of the object table, as the step `objects` makes them."""
    ids, row = np.unique(id, return_inverse=True)
    table = combine([parts.rows], row + 1, spacing=state.judged.spacing)
    table["id"] = ids.astype(np.uint64)
    error = parts.rows["flow_error"]
    weight = np.where(np.isnan(error), 0, parts.rows["voxels_total"])
    seen = np.bincount(row, weight)
    total = np.bincount(row, np.where(weight > 0, error, 0) * weight)
    table["flow_error"] = np.where(seen > 0, total / np.maximum(seen, 1), np.nan)
    if state.judged.classes:
        votes = [np.bincount(row, parts.rows[f"class_{k}"]) for k in range(state.judged.classes)]
        table["class"] = majority(np.stack(votes, axis=1).astype(np.int64)).astype(np.int64)
    return table
