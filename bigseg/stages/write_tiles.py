"""Write the merged labels of tiles, block by block of the whole: each voxel as its owner has it.

As in `write`, the arrays are created here, and the metadata that make them an image come last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bigseg.core.relabel import id_dtype, relabel
from bigseg.grid import Block, Box, Grid, Index, intersection, size, within
from bigseg.io.create import create_arrays
from bigseg.io.ome import Image
from bigseg.io.plan import plan_image
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.stages import divisions, graph, tiles
from bigseg.types import Facts, StageSpec

Part = tuple[int, Box, NDArray[np.uint32], NDArray[np.uint64]]
"""Number of a tile, what it has in common with a block, its labels there, and their final ids."""


class Spec(StageSpec):
    """Where labels go, and what the label image is like."""

    tiles: tiles.Spec
    target: str
    axes: str
    block: Index
    """(z, y, x) that is written at once."""
    scale: tuple[float, float, float]
    """Voxel size (z, y, x)."""
    units: dict[str, str]
    offset: dict[str, float]
    """Physical position of the first voxel along the axes for which it is known."""

    @property
    def grid(self) -> Grid:
        return Grid(self.tiles.shape, (1, *self.block), (0, 0, 0, 0))


def planned_image(spec: Spec, largest: int) -> Image:
    """Plan of the label image, given the largest id."""
    length = dict(zip("tzyx", spec.tiles.shape, strict=True))
    scale = {"t": 1.0, **dict(zip("zyx", spec.scale, strict=True))}
    axes = tuple(spec.axes)
    plan = plan_image(
        spec.target,
        axes,
        tuple(length[axis] for axis in axes),
        id_dtype(largest),
        tuple(scale[axis] for axis in axes),
        spec.block,
    )
    move = tuple(spec.offset.get(axis, 0.0) for axis in axes)
    levels = tuple(
        replace(level, translation=tuple(map(sum, zip(level.translation, move, strict=True))))
        for level in plan.levels
    )
    units = {axis: unit for axis, unit in spec.units.items() if axis in axes}
    return replace(plan, levels=levels, units=units)


def label_image(spec: Spec) -> Image:
    """Plan of the label image; its type holds the largest id."""
    total = read_table(graph.total_url(spec.tiles.run))
    return planned_image(spec, int(total["objects"][0]))


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan of the run has not found."""


def prepare(spec: Spec) -> None:
    """Create the arrays of all levels."""
    create_arrays(label_image(spec), labels=True)


def read(spec: Spec, block: Block) -> list[Part]:
    """Labels of all tiles that a block meets, and the final ids of their objects."""
    return [_part(spec, number, zone) for number, zone in _met(spec, block)]


def _met(spec: Spec, block: Block) -> Iterator[tuple[int, Box]]:
    """Tiles that a block meets, and what it has in common with each."""
    layout = tiles.placed(spec.tiles).layout
    for number in map(int, layout.meeting(block.write)):
        zone = intersection(block.write, layout.box(number))
        if zone is not None:
            yield number, zone


def _part(spec: Spec, number: int, zone: Box) -> Part:
    labels = divisions.read_tile(spec.tiles, number, zone)
    ids = divisions.read_ids(spec.tiles.run, spec.tiles.grid[number].id, number)
    return number, zone, labels, ids


def block(spec: Spec, block: Block, data: list[Part]) -> Facts:
    """Put a block together from the parts that tiles own, and write it."""
    return _write(spec, block, data)


def leave_out(spec: Spec, block: Block) -> Facts:
    """Do it without the tiles that cannot be read."""
    parts: list[Part] = []
    for number, zone in _met(spec, block):
        with suppress(Exception):  # each store and codec has exceptions of its own
            parts.append(_part(spec, number, zone))
    return _write(spec, block, parts)


def _write(spec: Spec, block: Block, data: Sequence[Part]) -> Facts:
    plan, layout = label_image(spec), tiles.placed(spec.tiles).layout
    final = np.zeros(size(block.write), plan.dtype)
    for number, zone, labels, ids in data:
        ours = layout.owned(number, zone)
        wide = relabel(labels, ids, np.uint64 if plan.dtype.itemsize == 8 else np.uint32)
        np.copyto(final[within(zone, block.write)], wide[None], where=ours)
    Volume(plan, 0).write(block.write, final)
    return {"voxels": int(np.count_nonzero(final))}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count the labelled voxels."""
    return {"voxels": sum(fact["voxels"] for fact in facts)}
