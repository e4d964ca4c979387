"""From tiles that a user names to the steps that merge them.

All that can be known without reading labels is checked here, before anything is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bigseg.core.layout import Layout
from bigseg.errors import SpecError
from bigseg.grid import Index
from bigseg.io.tile_table import Found, arranged, find_tiles
from bigseg.io.tiles import Header
from bigseg.plans.steps import Step, graph_steps, pyramid_steps
from bigseg.specs.tiles import MergeSpec
from bigseg.stages import (
    components,
    objects,
    report,
    seams,
    tile_edges,
    tile_publish,
    tiles,
    write_tiles,
)

TOUCHING = 1.0
"""Repulsion between objects of one tile where tiles share a few sections or only touch: there, what
a tile has parted is better evidence than what lies face to face. Where they share more, it has no
use. See `benchmarks/tiles.py`."""
SAMPLE = 1000
"""Tiles asked whether they overlap others, at most."""


@dataclass(frozen=True)
class MergePlan:
    """Steps of a run, and the table that they need."""

    steps: list[Step]
    table: dict[str, NDArray[Any]]
    """Table of tiles; see `stages.tiles`."""
    layout: Layout
    itemsize: int
    """Bytes of a label of the widest tile."""


def plan_merge(spec: MergeSpec, run: str) -> MergePlan:
    """Find the tiles and lay out the steps that merge them.

    Raises
    ------
    SpecError, NotFound, ImageError
        In a sentence, if a tile is missing, is there twice, cannot be read, or differs in kind.
    """
    found = find_tiles(spec)
    columns, layout = found.columns, arranged(found.columns).layout
    taken = tiles.Spec(
        run=run,
        digest=_digest(columns),
        count=len(layout),
        shape=tuple(int(n) for n in layout.high.max(axis=0)),
        largest=tuple(int(n) for n in (layout.high - layout.low).max(axis=0)[1:]),
        ndim=found.ndim,
    )
    steps = _steps(spec, taken, found, _repulsion(spec, layout, found.ndim))
    return MergePlan(steps, columns, layout, max(tile.itemsize for tile in found.tiles))


def _steps(spec: MergeSpec, taken: tiles.Spec, found: Found, repulsion: float) -> list[Step]:
    scale, units = _voxels(spec, found.tiles[0])
    written = write_tiles.Spec(
        tiles=taken,
        target=spec.target,
        axes=_axes(found.tiles, taken.shape),
        block=_block(spec, taken),
        scale=scale,
        units=units,
        offset=found.offset,
    )
    counts, run = taken.grid.counts, taken.run
    joined = components.Spec(run=run, counts=counts, beta=spec.beta, repulsion=repulsion)
    steps = [
        Step("tiles", "tiles", taken),
        Step("merge", "tile_edges", tile_edges.Spec(tiles=taken)),
        *graph_steps(
            joined,
            objects.Spec(
                run=run, counts=counts, spacing=scale[3 - taken.ndim :], min_size=spec.min_size
            ),
        ),
        Step("write", "write_tiles", written),
    ]
    plan = write_tiles.planned_image(written, 1)
    steps += pyramid_steps(written, plan)
    steps.append(Step("publish", "tile_publish", tile_publish.Spec(write=written)))
    steps.append(Step("seams", "seams", seams.Spec(joined=joined, tiled=taken)))
    told = report.Spec(run=run, settings=spec, channels=(), tiled=written)
    return [*steps, Step("report", "report", told)]


def _repulsion(spec: MergeSpec, layout: Layout, ndim: int) -> float:
    if spec.repulsion is not None:
        return spec.repulsion
    some = range(0, len(layout), max(len(layout) // SAMPLE, 1))
    return 0.0 if any(_overlaps_widely(layout, number, ndim) for number in some) else TOUCHING


def _overlaps_widely(layout: Layout, number: int, ndim: int) -> bool:
    """Whether a tile shares more than a few sections with another."""
    ours = layout.box(number)
    others = (int(n) for n in layout.meeting(ours) if n != number)
    return any(not tile_edges.thin_axes(ours, layout.box(n), ndim) for n in others)


def _voxels(spec: MergeSpec, first: Header) -> tuple[tuple[float, float, float], dict[str, str]]:
    """Voxel size (z, y, x), and units."""
    if spec.voxel_size is not None and len(spec.voxel_size) not in (2, 3):
        raise SpecError(f"voxel_size {spec.voxel_size} must be two numbers, y,x, or three, z,y,x.")
    given = dict(zip("xyz", reversed(spec.voxel_size or ()), strict=False))
    size = {**first.scale, **given}
    units = dict.fromkeys("zyx", spec.unit) if spec.unit else first.units
    z, y, x = (float(size.get(axis) or 1.0) for axis in "zyx")
    return (z, y, x), {axis: unit for axis, unit in units.items() if unit}


def _axes(found: Sequence[Header], shape: Index) -> str:
    """Axes of the whole: those of the tiles, and those along which they are laid."""
    have = set("yx").union(*(tile.axes for tile in found))
    long = {axis for axis, n in zip("tzyx", shape, strict=True) if n > 1}
    return "".join(axis for axis in "tzyx" if axis in have | long)


def _block(spec: MergeSpec, taken: tiles.Spec) -> Index:
    """Voxels (z, y, x) that are written at once: about 2²⁴."""
    if spec.block is not None:
        if len(spec.block) not in (2, 3):
            raise SpecError(f"--block {spec.block} must be two numbers, y,x, or three, z,y,x.")
        fill = (1,) if taken.ndim == 2 else (min(taken.shape[1], 256),)
        block = spec.block if len(spec.block) == 3 else (*fill, *spec.block)
        return block if taken.ndim == 3 else (1, *block[1:])
    if taken.ndim == 2:
        return 1, 2048, 2048
    z, wide = min(taken.shape[1], 256), 256
    while z * (2 * wide) ** 2 <= 1 << 24:
        wide *= 2
    return z, wide, wide


def _digest(columns: dict[str, NDArray[Any]]) -> str:
    text = json.dumps({name: column.tolist() for name, column in columns.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
