"""All tiles of a merge and where they lie, as a table; what is wrong with them is found here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.layout import Layout
from bigseg.errors import ImageError, NotFound, SpecError
from bigseg.grid import Index
from bigseg.io.tile_positions import (
    Place,
    from_grid,
    from_metadata,
    from_names,
    from_table,
    in_voxels,
    read_positions,
    shifted,
)
from bigseg.io.tiles import FIELD, Header, expand, headers, natural
from bigseg.specs.tiles import MergeSpec

LOW = ("t", "z", "y", "x")
LENGTHS = ("depth", "height", "width")
"""Columns of the table of tiles: first voxel of each, and voxels along each axis."""


@dataclass(frozen=True)
class Placed:
    """The table of tiles, as it is used."""

    files: tuple[str, ...]
    axes: tuple[str, ...]
    frames: NDArray[np.int64]
    """Which frame of its file each tile is."""
    layout: Layout


@dataclass(frozen=True)
class Found:
    """What there is to merge."""

    tiles: list[Header]
    ndim: Literal[2, 3]
    columns: dict[str, NDArray[Any]]
    """Table of tiles, one row for each frame of each: see `arranged`."""
    offset: dict[str, float]
    """Physical position of the first voxel of the whole along the axes for which it is known."""


def find_tiles(spec: MergeSpec) -> Found:
    """Find the tiles that a user names, and where they lie.

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
    places, offset = _located(spec, found, table, ndim)
    columns = _table(found, shifted(places))
    _check_places(arranged(columns), spec.allow_gaps)
    return Found(found, ndim, columns, offset)


def arranged(table: Mapping[str, NDArray[Any]]) -> Placed:
    """Turn the columns of the table of tiles into what is used."""
    low = np.stack([table[name] for name in LOW], 1).astype(np.int64)
    lengths = np.stack([np.ones(len(low)), *(table[name] for name in LENGTHS)], 1)
    names, axes = (tuple(map(str, table[name])) for name in ("file", "axes"))
    layout = Layout(low, low + lengths.astype(np.int64))
    return Placed(names, axes, table["frame"].astype(np.int64), layout)


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
) -> tuple[list[Place], dict[str, float]]:
    """Where each tile lies, and where the whole begins in physical units, if that is known."""
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
    return places, offset


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


def _table(found: Sequence[Header], origins: Sequence[Index]) -> dict[str, NDArray[Any]]:
    """One row for each frame of each tile, in the order of place."""
    rows = [
        (origin[0] + frame, *origin[1:], *tile.shape[1:], frame, tile.axes, tile.url)
        for tile, origin in zip(found, origins, strict=True)
        for frame in range(tile.shape[0])
    ]
    names = (*LOW, *LENGTHS, "frame", "axes", "file")
    return {
        name: np.array(column)
        for name, column in zip(names, zip(*sorted(rows), strict=True), strict=True)
    }


def _check_places(placed: Placed, allow_gaps: bool) -> None:
    """Refuse tiles in one place, and voxels without a tile."""
    layout, urls = placed.layout, np.array(placed.files)
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
