"""Compare the opinions of touching blocks: the edges of the graph of all objects.

A block and its later neighbours (over faces, edges and corners) have labelled a common zone. Every
pair of objects that shares voxels there is an edge, owned by the earlier block; where they touch
across the face, that is counted, too. See `core.edges`; what it is worth is decided in
`components`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.edges import edge_columns
from bigseg.core.faces import Contacts, face_contacts
from bigseg.grid import Block, Box, Grid, intersection, within
from bigseg.io.scratch import scratch
from bigseg.io.tables import read_table
from bigseg.stages.graph import nodes_url, write_edges, write_offsets
from bigseg.stages.opinions import Opinions, is_outside, keep_box, read_opinion
from bigseg.types import Facts, StageSpec

Edges = tuple[int, Mapping[str, NDArray[Any]]]
"""Number of a neighbour, and what was counted of each pair of objects; see `graph.write_edges`."""


class Spec(StageSpec):
    """Whose opinions are compared."""

    opinions: Opinions
    flows: str | None = None
    """Array of predicted flows, int8 (t, k, z, y, x), of which the first k are flows."""

    @property
    def grid(self) -> Grid:
        return self.opinions.grid


@dataclass(frozen=True)
class Zone:
    """What a block and a later neighbour say of the voxels that both have labelled."""

    number: int
    """Of the neighbour."""
    ours: NDArray[np.uint32]
    theirs: NDArray[np.uint32]
    face: tuple[Box, Box] | None
    """Last layer of the block's own voxels and first of the neighbour's, within the zone; None if
    they touch along an edge or in a corner only."""
    flows: NDArray[np.int8] | None
    """Flows of both layers, (k, z, y, x)."""

    def contacts(self) -> Contacts | None:
        """What meets across the face."""
        if self.face is None:
            return None
        one, other = self.face
        if self.flows is None:
            return face_contacts(self.ours[one], self.theirs[other])
        axis = next(i for i in range(3) if one[i] != other[i])
        sides = (np.take(self.flows, [side], axis=axis + 1) for side in (0, 1))
        return face_contacts(self.ours[one], self.theirs[other], *sides)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the labelling step has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> list[Zone]:
    """Both opinions about the zones that a block has in common with later neighbours."""
    return [_zone(spec, block, other, box) for other, box in _in_common(spec, block)]


def _in_common(spec: Spec, block: Block) -> Iterator[tuple[Block, Box]]:
    """Later neighbours of a block, and the voxels that both have labelled."""
    opinions, grid = spec.opinions, spec.grid
    own = keep_box(opinions, block)
    if is_outside(opinions, own):
        return
    for index in grid.neighbours(block.index, (2, 3) if opinions.ndim == 2 else (1, 2, 3)):
        other = grid.block_at(index)
        box = intersection(own, keep_box(opinions, other))
        if box is not None:
            yield other, box


def _zone(spec: Spec, block: Block, other: Block, box: Box) -> Zone:
    """Both opinions about a box."""
    ours, theirs = (read_opinion(spec.opinions, one, box) for one in (block, other))
    layers = _layers(block.write, other.write)
    flows = _flows(spec, layers) if layers and ours.any() and theirs.any() else None
    face = None if layers is None else (_in(box, layers[0]), _in(box, layers[1]))
    return Zone(spec.grid.number(other.index), ours, theirs, face, flows)


def _in(box: Box, layer: Box) -> Box:
    """A layer within an array (z, y, x) that holds `box`."""
    return within(layer, box)[1:]


def _layers(one: Box, other: Box) -> tuple[Box, Box] | None:
    """Layers of voxels on both sides of the face at which two boxes touch, if they do."""
    apart = [axis for axis in range(len(one)) if one[axis] != other[axis]]
    if len(apart) != 1:
        return None
    (axis,) = apart
    at = other[axis].start

    def layer(box: Box, first: int) -> Box:
        return (*box[:axis], slice(first, first + 1), *box[axis + 1 :])

    return layer(one, at - 1), layer(other, at)


def _flows(spec: Spec, layers: tuple[Box, Box]) -> NDArray[np.int8] | None:
    """Flows of both layers, read at once."""
    if spec.flows is None:
        return None
    t, *space = (slice(a.start, b.stop) for a, b in zip(*layers, strict=True))
    return np.asarray(scratch(spec.flows)[(t, slice(0, spec.opinions.ndim), *space)][0], np.int8)


def block(spec: Spec, block: Block, data: list[Zone]) -> Facts:
    """Make and store the edges between a block and its later neighbours."""
    return _store(spec, block, [_edges(zone) for zone in data])


def leave_out(spec: Spec, block: Block) -> Facts:
    """Store edges to those later neighbours only with which the block can be compared."""
    found: list[Edges] = []
    for other, box in _in_common(spec, block):
        with suppress(Exception):  # each store and codec has exceptions of its own
            found.append(_edges(_zone(spec, block, other, box)))
    return _store(spec, block, found)


def _edges(zone: Zone) -> Edges:
    return zone.number, edge_columns(zone.ours, zone.theirs, zone.contacts())


def _store(spec: Spec, block: Block, found: Sequence[Edges]) -> Facts:
    run = spec.opinions.run
    edges = write_edges(run, block.id, spec.grid.number(block.index), found)
    return {"edges": edges, "objects": len(read_table(nodes_url(run, block.id), ["id"])["id"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Number the nodes of all blocks."""
    return write_offsets(spec.opinions.run, facts)
