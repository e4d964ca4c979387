"""Compare tiles that overlap, and continue those that only touch: edges between their objects.

Where two tiles overlap, both have labelled the same voxels. Where that is a few sections, or where
they abut and no third tile sees across the face, their labels are continued as well; see
`core.contact`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.contact import contact_edges
from bigseg.core.layout import Layout
from bigseg.core.overlap import Edges, zone_edges
from bigseg.grid import Block, Box, Grid, intersection
from bigseg.io.tables import read_table
from bigseg.stages import tiles
from bigseg.stages.graph import nodes_url, write_edges, write_offsets
from bigseg.types import Facts, StageSpec

Part = NDArray[np.uint32]
Counted = tuple[int, Mapping[str, NDArray[Any]]]
"""Number of another tile, and what was counted of each pair of objects."""

THIN = 8
"""Shared sections up to which tiles are compared as `core.contact` does: where tiles are a voxel
off, objects that a few sections show are not told from their neighbours by what they overlap."""


class Spec(StageSpec):
    """Which tiles are compared."""

    tiles: tiles.Spec

    @property
    def grid(self) -> Grid:
        return self.tiles.grid

    def place(self, block: Block) -> Box:
        """Where the tile lies."""
        return self.tiles.place(block)


@dataclass(frozen=True)
class Meeting:
    """What two tiles say of where they meet."""

    other: int
    """Number of the later tile."""
    ours: Part
    """Labels of the zone; or sections of it and before, see `core.contact.contact_edges`."""
    theirs: Part
    shared: int | None = None
    """Of the sections, if they are sections."""

    def edges(self) -> Edges:
        """What they have in common."""
        if self.shared is None:
            return zone_edges(self.ours, self.theirs)
        return contact_edges(self.ours, self.theirs, self.shared)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan of the run has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> list[Meeting]:
    """Labels of a tile and of later ones where they meet."""
    number = spec.grid.number(block.index)
    return [meeting for other in _later(spec, number) for meeting in _meetings(spec, number, other)]


def _later(spec: Spec, number: int) -> list[int]:
    """Later tiles that a tile meets."""
    layout = tiles.placed(spec.tiles).layout
    near = layout.meeting(layout.box(number), reach=1)
    return [int(other) for other in near if other > number]


def _meetings(spec: Spec, number: int, other: int) -> Iterator[Meeting]:
    """What two tiles say of where they meet."""
    layout = tiles.placed(spec.tiles).layout
    ours, theirs = layout.box(number), layout.box(other)
    zone = intersection(ours, theirs)
    if zone is not None:
        yield from _overlapping(spec, (number, other), zone)
    for axis, up in _faces(ours, theirs, flat=spec.tiles.ndim == 2):
        sides = _sections(ours, theirs, axis, up)
        seen = _unseen(layout, (number, other), [side[-1] for side in sides], axis)
        if seen.any():
            one, two = (
                _stack(spec, n, side, axis) * seen
                for n, side in zip((number, other), sides, strict=True)
            )
            yield Meeting(other, one, two, 0)


def block(spec: Spec, block: Block, data: list[Meeting]) -> Facts:
    """Make and store the edges between a tile and later ones."""
    return _store(spec, block, [(meeting.other, meeting.edges().columns()) for meeting in data])


def leave_out(spec: Spec, block: Block) -> Facts:
    """Store edges to those later tiles only with which the tile can be compared."""
    number, found = spec.grid.number(block.index), list[Counted]()
    for other in _later(spec, number):
        with suppress(Exception):  # each store and codec has exceptions of its own
            meetings = list(_meetings(spec, number, other))
            found += [(other, meeting.edges().columns()) for meeting in meetings]
    return _store(spec, block, found)


def _store(spec: Spec, block: Block, found: Sequence[Counted]) -> Facts:
    run, number = spec.tiles.run, spec.grid.number(block.index)
    edges = write_edges(run, block.id, number, found)
    return {"edges": edges, "objects": len(read_table(nodes_url(run, block.id), ["id"])["id"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Number the nodes of all tiles."""
    return write_offsets(spec.tiles.run, facts)


def thin_axes(ours: Box, theirs: Box, ndim: int) -> list[int]:
    """Axes along which two tiles that overlap share a few sections only, at the end of either."""
    found = []
    for axis in range(4 - ndim, 4):
        low, high = sorted((ours[axis], theirs[axis]), key=lambda side: side.start)
        shared = low.stop - high.start
        if low.start < high.start and low.stop < high.stop and shared <= THIN:
            found.append(axis)
    return found


def _overlapping(spec: Spec, numbers: tuple[int, int], zone: Box) -> Iterator[Meeting]:
    """How two tiles that overlap are compared: not at all, by sections, or in the zone."""
    layout = tiles.placed(spec.tiles).layout
    ours, theirs = map(layout.box, numbers)
    thin = thin_axes(ours, theirs, spec.tiles.ndim)
    if len(thin) > 1 and len(layout.meeting(zone)) > 2:
        return  # a few voxels in a corner, in which others see more
    if len(thin) != 1:
        one, two = (tiles.read_part(spec.tiles, n, zone) for n in numbers)
        yield Meeting(numbers[1], one, two)
        return
    axis = thin[0]
    shared, up = zone[axis].stop - zone[axis].start, ours[axis].start < theirs[axis].start
    wide = [
        slice(zone[axis].start - int(low), zone[axis].stop + int(not low)) for low in (up, not up)
    ]
    one, two = (
        _stack(spec, n, _ordered(zone, axis, part, low), axis)
        for n, part, low in zip(numbers, wide, (up, not up), strict=True)
    )
    yield Meeting(numbers[1], one, two, shared)


def _faces(ours: Box, theirs: Box, *, flat: bool) -> Iterator[tuple[int, bool]]:
    """Axis along which two boxes abut over a face, if they do, and whether theirs comes after."""
    for axis in (2, 3) if flat else (1, 2, 3):
        up = ours[axis].stop == theirs[axis].start
        if not up and theirs[axis].stop != ours[axis].start:
            continue
        others = [i for i in range(4) if i != axis]
        if intersection(tuple(ours[i] for i in others), tuple(theirs[i] for i in others)):
            yield axis, up


def _sections(ours: Box, theirs: Box, axis: int, up: bool) -> list[list[Box]]:
    """Of either side the section behind the one at the face, if there is one, and that."""
    face = tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(ours, theirs, strict=True)
    )
    found = []
    for box, low in ((ours, up), (theirs, not up)):
        at = box[axis].stop - 2 if low else box[axis].start
        part = slice(max(at, box[axis].start), min(at + 2, box[axis].stop))
        found.append(_ordered(face, axis, part, low))
    return found


def _ordered(box: Box, axis: int, part: slice, low: bool) -> list[Box]:
    """Sections of a part of an axis, those towards the other tile last."""
    places = range(part.start, part.stop)
    return [
        tuple(slice(at, at + 1) if i == axis else s for i, s in enumerate(box))
        for at in (places if low else reversed(places))
    ]


def _unseen(
    layout: Layout, numbers: tuple[int, int], sides: Sequence[Box], axis: int
) -> NDArray[np.bool_]:
    """Where both tiles own their voxels at the face: elsewhere a third one sees across it."""
    owned = (layout.owned(n, side) for n, side in zip(numbers, sides, strict=True))
    one, two = (mask[0].squeeze(axis - 1) for mask in owned)
    return np.asarray(one & two)


def _stack(spec: Spec, number: int, sections: Sequence[Box], axis: int) -> Part:
    """Sections of a tile, (n, a, b)."""
    planes = [tiles.read_part(spec.tiles, number, box).squeeze(axis - 1) for box in sections]
    return np.stack(planes)
