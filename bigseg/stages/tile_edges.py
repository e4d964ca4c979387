"""Compare tiles that overlap, and continue those that only touch: edges between their objects.

Where two tiles overlap, both have labelled the same voxels. Where they abut, and no third tile sees
across the face, their labels are continued over it; see `core.contact`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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


class Spec(StageSpec):
    """Which tiles are compared."""

    tiles: tiles.Spec

    @property
    def grid(self) -> Grid:
        return self.tiles.grid


@dataclass(frozen=True)
class Meeting:
    """What two tiles say of where they meet."""

    other: int
    """Number of the later tile."""
    ours: tuple[Part, ...]
    """Labels of the zone; or of both sections at the face, the nearer one first."""
    theirs: tuple[Part, ...]

    def edges(self) -> Edges:
        """What they have in common."""
        if len(self.ours) == 1:
            return zone_edges(self.ours[0], self.theirs[0])
        return contact_edges(*self.ours, *self.theirs)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan of the run has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> list[Meeting]:
    """Labels of a tile and of later ones where they meet."""
    number = spec.grid.number(block.index)
    layout = tiles.placed(spec.tiles).layout
    ours, found = layout.box(number), []
    for other in map(int, layout.meeting(ours, reach=1)):
        if other <= number:
            continue
        theirs = layout.box(other)
        zone = intersection(ours, theirs)
        if zone is not None:
            parts = [tiles.read_part(spec.tiles, n, zone) for n in (number, other)]
            found.append(Meeting(other, (parts[0],), (parts[1],)))
        for axis, up in _faces(ours, theirs, flat=spec.tiles.ndim == 2):
            sides = _sections(ours, theirs, axis, up)
            seen = _unseen(layout, (number, other), sides, axis)
            if seen.any():
                one, two = (
                    tuple(_plane(spec, n, section, axis) * seen for section in side)
                    for n, side in zip((number, other), sides, strict=True)
                )
                found.append(Meeting(other, one, two))
    return found


def block(spec: Spec, block: Block, data: list[Meeting]) -> Facts:
    """Make and store the edges between a tile and later ones."""
    run, number = spec.tiles.run, spec.grid.number(block.index)
    found = [(meeting.other, meeting.edges().columns()) for meeting in data]
    edges = write_edges(run, block.id, number, found)
    return {"edges": edges, "objects": len(read_table(nodes_url(run, block.id), ["id"])["id"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Number the nodes of all tiles."""
    return write_offsets(spec.tiles.run, facts)


def _faces(ours: Box, theirs: Box, *, flat: bool) -> Iterator[tuple[int, bool]]:
    """Axis along which two boxes abut over a face, if they do, and whether theirs comes after."""
    for axis in (2, 3) if flat else (1, 2, 3):
        up = ours[axis].stop == theirs[axis].start
        if not up and theirs[axis].stop != ours[axis].start:
            continue
        others = [i for i in range(4) if i != axis]
        if intersection(tuple(ours[i] for i in others), tuple(theirs[i] for i in others)):
            yield axis, up


def _sections(ours: Box, theirs: Box, axis: int, up: bool) -> tuple[tuple[Box, ...], ...]:
    """Of either side the section at the face and, if there is one, the one behind it."""
    face = [
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(ours, theirs, strict=True)
    ]
    at = ours[axis].stop if up else ours[axis].start

    def section(box: Box, behind: int, low: bool) -> Box:
        place = at - 1 - behind if low else at + behind
        # Where a tile is one voxel thin, nothing is behind, and the section itself stands for it.
        place = min(max(place, box[axis].start), box[axis].stop - 1)
        return tuple(slice(place, place + 1) if i == axis else s for i, s in enumerate(face))

    return tuple(
        tuple(section(box, behind, low) for behind in (0, 1))
        for box, low in ((ours, up), (theirs, not up))
    )


def _unseen(
    layout: Layout, numbers: tuple[int, int], sides: tuple[tuple[Box, ...], ...], axis: int
) -> NDArray[np.bool_]:
    """Where both tiles own their voxels at the face: elsewhere a third one sees across it."""
    owned = (layout.owned(n, side[0]) for n, side in zip(numbers, sides, strict=True))
    one, two = (mask[0].squeeze(axis - 1) for mask in owned)
    return np.asarray(one & two)


def _plane(spec: Spec, number: int, section: Box, axis: int) -> Part:
    return tiles.read_part(spec.tiles, number, section).squeeze(axis - 1)
