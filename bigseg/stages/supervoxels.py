"""Cut maps of boundaries or affinities into pieces, block by block: opinions without a band.

A block sees enough of its neighbours to find the seeds near its faces as they do; what it makes of
the halo is left out. Pieces are named by their seeds, by which `regions` knows a piece that a face
has cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bigseg.core.boundary_maps import Eight, Offset, boundary_of_affinities, eight_bits
from bigseg.core.instances import compact
from bigseg.core.objects import measure_objects
from bigseg.core.supervoxels import Growth, Seeds, mutex_pieces, watershed_pieces
from bigseg.errors import ImageError
from bigseg.grid import Block, Box, Index, size
from bigseg.io.tables import write_table
from bigseg.io.volume import Volume
from bigseg.stages.graph import nodes_url
from bigseg.stages.opinions import Opinions, create_opinions, write_opinion
from bigseg.types import Facts, StageSpec


class Maps(StageSpec):
    """Where maps are, and what they mean."""

    image: str
    level: int
    source: Literal["boundaries", "affinities"]
    channels: tuple[int, ...]
    """Of the image: one of boundaries, or one for each offset."""
    offsets: tuple[Offset, ...] = ()
    """Of each channel of affinities."""


class Spec(Opinions):
    """How pieces are made, and in which blocks."""

    maps: Maps
    method: Literal["watershed", "mutex-watershed"]
    threshold: float
    sigma: float
    min_size: int
    """Of a piece, voxels."""
    slices: bool
    reach: float
    spacing: tuple[float, float, float]
    """Voxel lengths along z, y, x, in those of x."""

    @property
    def growth(self) -> Growth:
        return Growth(
            self.threshold, self.sigma, self.min_size, self.slices, self.reach, self.spacing
        )


def read_maps(maps: Maps, box: Box) -> Eight:
    """Maps of a box (t, z, y, x) as eight bits: (k, z, y, x).

    Raises
    ------
    ImageError
        A value is no probability.
    """
    data = Volume.open(maps.image, maps.level).read(box, maps.channels)[0]
    try:
        return eight_bits(data)
    except ImageError as error:
        place = ", ".join(f"{s.start}:{s.stop}" for s in box)
        raise ImageError(f"{maps.image} at (t, z, y, x) = ({place}): {error}") from None


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Create the array of opinions."""
    create_opinions(spec)


def read(spec: Spec, block: Block) -> Eight:
    """Maps of a block with its halo, (k, z, y, x)."""
    return read_maps(spec.maps, block.read)


def block(spec: Spec, block: Block, data: Eight) -> Facts:
    """Make the pieces of a block; store them and their table."""
    return _store(spec, block, *_pieces(spec, data))


def leave_out(spec: Spec, block: Block) -> Facts:
    """Store that a block has no pieces."""
    labels = np.zeros(size(block.read)[1:], np.uint32)
    return _store(spec, block, labels, np.zeros(0, np.int64))


def _store(spec: Spec, block: Block, labels: NDArray[np.uint32], seeds: Seeds) -> Facts:
    table = measure_objects(
        labels,
        read=block.read,
        write=block.write,
        shape=spec.shape,
        means={"flow_error": np.full(len(seeds), np.nan)},
        count=len(seeds),
    )
    opinion, ids = compact(labels[block.crop[1:]])
    write_opinion(spec, block, opinion)
    rows = {name: column[ids - 1] for name, column in table.items()}
    rows["id"] = np.arange(1, len(ids) + 1, dtype=np.uint64)
    rows["seed"] = _in_image(seeds[ids - 1], block.read, spec.shape)
    write_table(nodes_url(spec.run, block.id), rows)
    return {"objects": len(ids)}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count the pieces; one that a face cuts counts in every block."""
    return {"objects": sum(fact["objects"] for fact in facts)}


def _pieces(spec: Spec, maps: Eight) -> tuple[NDArray[np.uint32], Seeds]:
    if spec.method == "mutex-watershed":
        return mutex_pieces(maps, spec.maps.offsets, spec.growth)
    if spec.maps.source == "affinities":
        boundary = boundary_of_affinities(maps, spec.maps.offsets)
    else:
        boundary = maps[0].astype(np.float32) / np.float32(255)
    return watershed_pieces(boundary, spec.growth)


def _in_image(seeds: Seeds, box: Box, shape: Index) -> Seeds:
    """Flat index in a frame of the image of voxels of a box (t, z, y, x)."""
    there = np.unravel_index(np.maximum(seeds, 0), size(box)[1:])
    moved = tuple(at + s.start for at, s in zip(there, box[1:], strict=True))
    return np.where(seeds < 0, -1, np.ravel_multi_index(moved, shape[1:])).astype(np.int64)
