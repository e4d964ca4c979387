"""From tiles that a user names to the steps that merge them.

All that can be known without reading labels is checked here, before anything is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.layout import Layout
from bigseg.errors import ImageError, NotFound, SpecError
from bigseg.grid import Index
from bigseg.io.tile_positions import (
    Place,
    Positions,
    from_grid,
    from_metadata,
    from_names,
    from_table,
    in_voxels,
    read_positions,
    shifted,
)
from bigseg.io.tiles import FIELD, Header, expand, headers, natural
from bigseg.io.volume import Volume
from bigseg.merge_spec import MergeSpec
from bigseg.stages import (
    components,
    objects,
    tile_edges,
    tile_publish,
    tile_pyramid,
    tiles,
    write_tiles,
)
from bigseg.steps import Step, graph_steps

TOUCHING = 0.5
"""Repulsion between objects of one tile where tiles only touch: there, what a tile has parted is
better evidence than what lies face to face. Where tiles overlap it has no use."""
SAMPLE = 1000
"""Tiles asked whether they overlap others, at most."""


@dataclass(frozen=True)
class MergePlan:
    """Steps of a run, and the table that they need."""

    steps: list[Step]
    table: dict[str, NDArray[Any]]
    """Table of tiles; see `stages.tiles`."""
    itemsize: int
    """Bytes of a label of the widest tile."""


def plan_merge(spec: MergeSpec, run: str) -> MergePlan:
    """Find the tiles and lay out the steps that merge them.

    Raises
    ------
    SpecError, NotFound, ImageError
        In a sentence, if a tile is missing, is there twice, cannot be read, or differs in kind.
    """
    _check_ways(spec)
    table = _rows_of(spec)
    urls = expand(spec.tiles) if spec.tiles else list(table)
    if not urls:
        raise NotFound("There is nothing to merge; name tiles, or a table with --positions.")
    if spec.grid:  # shells sort t10 before t2
        urls = sorted(urls, key=natural)
    _check_output(spec.target, urls)
    found = headers(urls, spec.axes)
    ndim = _ndim(found)
    positions = _located(spec, found, table, ndim)
    columns = _table(found, positions)
    layout = tiles.arranged(columns).layout
    _check_places(layout, columns["file"], spec.allow_gaps)
    taken = tiles.Spec(
        run=run,
        digest=_digest(columns),
        count=len(layout),
        shape=tuple(int(n) for n in layout.high.max(axis=0)),
        largest=tuple(int(n) for n in (layout.high - layout.low).max(axis=0)[1:]),
        ndim=ndim,
    )
    steps = _steps(spec, taken, found, positions, _repulsion(spec, layout))
    return MergePlan(steps, columns, max(tile.itemsize for tile in found))


def _steps(
    spec: MergeSpec,
    taken: tiles.Spec,
    found: Sequence[Header],
    positions: Positions,
    repulsion: float,
) -> list[Step]:
    scale, units = _voxels(spec, found[0])
    written = write_tiles.Spec(
        tiles=taken,
        target=spec.target,
        axes=_axes(found, taken.shape),
        block=_block(spec, taken),
        scale=scale,
        units=units,
        offset=positions.offset,
    )
    counts, run = taken.grid.counts, taken.run
    steps = [
        Step("tiles", "tiles", taken),
        Step("merge", "tile_edges", tile_edges.Spec(tiles=taken)),
        *graph_steps(
            components.Spec(run=run, counts=counts, beta=spec.beta, repulsion=repulsion),
            objects.Spec(
                run=run, counts=counts, spacing=scale[3 - taken.ndim :], min_size=spec.min_size
            ),
        ),
        Step("write", "write_tiles", written),
    ]
    plan = write_tiles.planned_image(written, 1)
    levels = [Volume(plan, number) for number in range(len(plan.levels))]
    for number, (_, coarse) in enumerate(pairwise(levels), 1):
        t, _, z, y, x = coarse.shape
        level = tile_pyramid.Spec(
            write=written, number=number, shape=(t, z, y, x), block=coarse.unit
        )
        steps.append(Step(f"pyramid-{number}", "tile_pyramid", level))
    steps.append(Step("publish", "tile_publish", tile_publish.Spec(write=written)))
    return steps


def _check_ways(spec: MergeSpec) -> None:
    """Refuse to be told twice where tiles lie."""
    ways = [name for name in ("positions", "pattern", "grid") if getattr(spec, name)]
    if len(ways) > 1:
        raise SpecError(f"Give only one of {', '.join(ways)}: each says where the tiles lie.")
    if spec.pitch and spec.overlap:
        raise SpecError("Give pitch or overlap, not both: each says how far tiles are apart.")
    numbered = spec.pattern or spec.grid or any(FIELD.search(path) for path in spec.tiles)
    if (spec.pitch or spec.overlap) and not numbered:
        raise SpecError("Pitch and overlap are those of a grid; give --grid or --pattern, too.")


def _rows_of(spec: MergeSpec) -> dict[str, Place]:
    if spec.positions is None:
        return {}
    rows = read_positions(spec.positions)
    if not rows:
        raise SpecError(f"The table {spec.positions} has no rows; it needs one for each tile.")
    return rows


def _check_output(target: str, urls: Sequence[str]) -> None:
    """Refuse to write over a tile or into one."""
    output = files.absolute(target)
    for url in urls:
        if f"{url}/".startswith(f"{output}/") or f"{output}/".startswith(f"{url}/"):
            raise SpecError(
                f"The output {output} and the tile {url} are in one place; choose another."
            )


def _ndim(found: Sequence[Header]) -> Literal[2, 3]:
    """Axes of space that all tiles have."""
    kinds = {"".join(a for a in tile.axes if a in "zyx"): tile for tile in found}
    first = found[0]
    for tile in kinds.values():
        if ("z" in tile.axes) != ("z" in first.axes):
            raise ImageError(
                f"{tile.url} has the axes {', '.join(tile.axes)}, but {first.url} has "
                f"{', '.join(first.axes)}; tiles must be all planes or all volumes."
            )
    return 3 if "z" in first.axes else 2


def _located(
    spec: MergeSpec, found: Sequence[Header], table: dict[str, Place], ndim: int
) -> Positions:
    """Where each tile lies."""
    urls = [tile.url for tile in found]
    pattern = spec.pattern or next((path for path in spec.tiles if FIELD.search(path)), None)
    offset: dict[str, float] = {}
    if spec.positions is not None:
        places = from_table(table, spec.positions, urls)
    elif spec.grid:
        pitch = _pitch(spec, found[0], ndim)
        places = in_voxels(from_grid(spec.grid, urls), pitch, urls, spec.allow_gaps)
    elif pattern is not None:
        places = from_names(pattern, urls)
        if spec.pitch or spec.overlap:
            pitch = _pitch(spec, found[0], ndim)
            places = in_voxels(places, pitch, urls, spec.allow_gaps)
    elif len(found) == 1:
        places = [{}]
    else:
        places, offset = from_metadata(found)
    return Positions(shifted(places), offset)


def _pitch(spec: MergeSpec, first: Header, ndim: int) -> Index:
    """Voxels (z, y, x) from one tile of a grid to the next."""
    if spec.pitch:
        return _lengths("pitch", spec.pitch, ndim, fill=1)
    overlap = _lengths("overlap", spec.overlap or (0,), ndim, fill=0)
    pitch = tuple(n - o for n, o in zip(first.shape[1:], overlap, strict=True))
    if min(pitch) < 1:
        raise SpecError(
            f"Tiles of {first.shape[1:]} voxels (z, y, x), as {first.url}, cannot overlap by "
            f"{overlap}; give a smaller --overlap."
        )
    return pitch


def _lengths(name: str, values: Sequence[int], ndim: int, fill: int) -> Index:
    """(z, y, x) of what is given for all axes at once, or for each."""
    values = tuple(values) * ndim if len(values) == 1 else tuple(values)
    if len(values) != ndim:
        raise SpecError(
            f"--{name} {','.join(map(str, values))} must be one number, or {ndim}: "
            f"{','.join('zyx'[3 - ndim :])}."
        )
    return (*(fill,) * (3 - ndim), *values)


def _table(found: Sequence[Header], positions: Positions) -> dict[str, NDArray[Any]]:
    """One row for each frame of each tile, in the order of place."""
    rows = [
        (origin[0] + frame, *origin[1:], *tile.shape[1:], frame, tile.axes, tile.url)
        for tile, origin in zip(found, positions.origins, strict=True)
        for frame in range(tile.shape[0])
    ]
    names = (*tiles.LOW, *tiles.LENGTHS, "frame", "axes", "file")
    return {
        name: np.array(column)
        for name, column in zip(names, zip(*sorted(rows), strict=True), strict=True)
    }


def _check_places(layout: Layout, urls: NDArray[Any], allow_gaps: bool) -> None:
    """Refuse tiles in one place, and voxels without a tile."""
    _, first, count = np.unique(layout.low, axis=0, return_index=True, return_counts=True)
    if count.max() > 1:
        same = (layout.low == layout.low[first[count.argmax()]]).all(axis=1)
        one, two = urls[same][:2]
        at = ", ".join(map(str, layout.low[same][0]))
        raise SpecError(
            f"{one} and {two} both lie at (t, z, y, x) = ({at}); take one out, or correct the "
            "positions."
        )
    gap = None if allow_gaps else layout.gap()
    if gap is not None:
        where = ", ".join(f"{a} {s.start}–{s.stop - 1}" for a, s in zip("tzyx", gap, strict=True))
        raise SpecError(
            f"No tile covers the voxels {where}, counted from the first of all tiles; add what is "
            "missing, correct the positions, or leave them empty with --allow-gaps."
        )


def _repulsion(spec: MergeSpec, layout: Layout) -> float:
    if spec.repulsion is not None:
        return spec.repulsion
    some = range(0, len(layout), max(len(layout) // SAMPLE, 1))
    overlap = any(len(layout.meeting(layout.box(number))) > 1 for number in some)
    return 0.0 if overlap else TOUCHING


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
