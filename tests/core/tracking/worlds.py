"""Random lineages, and what an imperfect tracker would make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.challenge import challenge_tracks
from bigseg.core.tracking.graph import Graph, of_lineages, of_rows
from bigseg.core.tracking.lineage import Lineages, lineages

Array = NDArray[Any]


@dataclass(frozen=True)
class World:
    """Objects on a grid of cells (their place is their slot), and their lineage."""

    frame: Array
    slot: Array
    """Place of each detection, its label within the frame."""
    found: Lineages

    def graph(self) -> Graph:
        """As CTC sees it: gaps end tracks."""
        label, rows = self.challenge()
        order = np.lexsort((label, self.frame))
        return of_rows(self.frame[order], label[order], rows)

    def linked(self) -> Graph:
        """As a graph that may have links over frames."""
        return of_lineages(self.found)

    def challenge(self) -> tuple[Array, Array]:
        return challenge_tracks(self.found)


def truth(seed: int, *, frames: int = 12, cells: int = 6, slots: int = 40) -> World:
    """Cells that stay, divide and die; each detection in a slot of its own."""
    random = np.random.default_rng(seed)
    living = [-1] * cells
    frame, slot, links = [], [], []
    row = 0
    for t in range(frames):
        takes = []
        for source in living:
            fate = random.random()
            daughters = 1 if source < 0 or fate < 0.8 else 2 if fate < 0.93 else 0
            takes += [source] * daughters
        takes += [-1] * int(random.random() < 0.2)
        takes = takes[:slots]
        if not takes:
            takes = [-1]
        places = np.sort(random.choice(np.arange(1, slots + 1), len(takes), replace=False))
        sources = random.permutation(takes)
        living = []
        for place, source in zip(places, sources, strict=True):
            frame.append(t)
            slot.append(int(place))
            if source >= 0:
                links.append((int(source), row))
            living.append(row)
            row += 1
    return made(np.array(frame), np.array(slot), np.array(links, np.int64).reshape(-1, 2))


def made(frame: Array, slot: Array, links: Array) -> World:
    return World(frame, slot, lineages(frame, slot, links))


def tracked(world: World, seed: int, *, wrong: float = 0.1, closing: bool = True) -> World:
    """Miss objects, close gaps, invent objects, lose and exchange links."""
    random = np.random.default_rng(seed)
    n = len(world.frame)
    kept = random.random(n) >= wrong
    source = np.full(n, -1)
    source[world.found.links[:, 1]] = world.found.links[:, 0]
    links = []
    for row in np.flatnonzero(kept):
        at = source[row]
        while closing and at >= 0 and not kept[at]:
            at = source[at]
        if at >= 0 and kept[at]:
            links.append((at, row))
    table = np.array(links, np.int64).reshape(-1, 2)
    table = table[random.random(len(table)) >= wrong]
    for t in np.unique(world.frame):
        here = np.flatnonzero(world.frame[table[:, 1]] == t)
        some = here[random.random(len(here)) < 2 * wrong]
        table[some, 1] = random.permutation(table[some, 1])
    seen = np.array([(table[:i, 0] == a).sum() for i, a in enumerate(table[:, 0])], np.int64)
    table = table[seen < 2]
    return _with_inventions(world, random, kept, table, wrong)


def _with_inventions(
    world: World, random: np.random.Generator, kept: Array, table: Array, wrong: float
) -> World:
    frame, slot = world.frame[kept], world.slot[kept]
    number = np.cumsum(kept) - 1
    links = number[table]
    extra_frame, extra_slot, extra_links = [], [], []
    previous: dict[int, int] = {}
    for t in np.unique(world.frame):
        free = np.setdiff1d(np.arange(1, 60), world.slot[world.frame == t])
        for place in free[random.random(len(free)) < wrong / 8]:
            row = len(frame) + len(extra_frame)
            if previous.get(t - 1, -1) >= 0 and random.random() < 0.7:
                extra_links.append((previous.pop(t - 1), row))
            previous[t] = row
            extra_frame.append(t)
            extra_slot.append(place)
    frame = np.r_[frame, np.array(extra_frame, frame.dtype)]
    slot = np.r_[slot, np.array(extra_slot, slot.dtype)]
    links = np.concatenate([links, np.array(extra_links, np.int64).reshape(-1, 2)])
    order = np.lexsort((slot, frame))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return made(frame[order], slot[order], place[links])


def pairs(true: World, result: World) -> Array:
    """Rows of detections in the same slot, in the order of the worlds."""
    one, other = (w.frame * 1000 + w.slot for w in (true, result))
    _, a, b = np.intersect1d(one, other, return_indices=True)
    return np.stack([a, b], axis=1)


def painted(world: World, *, edge: int = 4, wide: int = 10) -> Array:
    """Masks (t, y, x) uint16 whose labels are CTC tracks: a square in each slot."""
    label, _ = world.challenge()
    shape = (int(world.frame.max()) + 1, edge * 6, edge * wide)
    masks = np.zeros(shape, np.uint16)
    for t, slot, track in zip(world.frame, world.slot, label, strict=True):
        y, x = divmod(int(slot), wide)
        box = slice(edge * y, edge * y + edge - 1), slice(edge * x, edge * x + edge - 1)
        masks[(int(t), *box)] = track
    return masks
