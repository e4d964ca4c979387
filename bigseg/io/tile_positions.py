"""Where tiles lie: from a table, from numbers in names, from a grid, or from their metadata."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from math import prod

import numpy as np

from bigseg import files
from bigseg.errors import ImageError, NotFound, SpecError
from bigseg.grid import Index
from bigseg.io.labels import find_labels
from bigseg.io.ome import describe
from bigseg.io.store import read_node
from bigseg.io.tiles import FIELD, READERS, SPACETIME, Header
from bigseg.io.units import ratio

Place = dict[str, int]
"""Voxel, or number in a grid, along the axes that are known."""


def read_positions(url: str) -> dict[str, Place]:
    """Rows of a table with the columns file, z, y, x and t: URL of each file, and its first voxel.

    Names are relative to the folder of the table. Columns are parted by comma, semicolon or tab.

    Raises
    ------
    NotFound
        If there is no table.
    SpecError
        If it lacks columns, or a value is no whole number.
    """
    try:
        text = files.get(url).decode("utf-8-sig")
    except FileNotFoundError:
        raise NotFound(f"There is no table of positions at {url}.") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{url} is not a CSV table: {error}.") from None
    head = text.partition("\n")[0]
    mark = max(",;\t", key=head.count)
    rows = list(csv.DictReader(io.StringIO(text), delimiter=mark, skipinitialspace=True))
    names = [name.strip().lower() for name in head.strip().split(mark)]
    if not {"file", "y", "x"} <= set(names):
        raise SpecError(
            f"{url} has the columns {', '.join(names)}; it needs file, y and x, and z and t where "
            "there are any."
        )
    found: dict[str, Place] = {}
    folder = files.absolute(url).rpartition("/")[0]
    for number, row in enumerate(rows, 2):
        values = {key.strip().lower(): (text or "").strip() for key, text in row.items() if key}
        file = values["file"]
        whole = "://" in file or file.startswith("/")
        place = files.absolute(file if whole else files.join(folder, file))
        if place in found:
            raise SpecError(f"{url} names {file} twice, again in line {number}; leave one out.")
        found[place] = {a: _whole(url, number, a, values[a]) for a in SPACETIME if a in values}
    return found


def _whole(url: str, line: int, axis: str, text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not value.is_integer():
        raise SpecError(
            f"{url} says {axis} = '{text}' in line {line}; positions are whole numbers of voxels."
        )
    return int(value)


def from_table(table: Mapping[str, Place], url: str, urls: Sequence[str]) -> list[Place]:
    """Place of each tile by its path, or by its name where names differ."""
    by_name: dict[str, list[str]] = {}
    for path in table:
        by_name.setdefault(_name(path), []).append(path)
    keys = []
    for path in urls:
        same = [path] if path in table else by_name.get(_name(path), [])
        if len(same) != 1:
            raise SpecError(
                f"{url} has {len(same) or 'no'} row(s) for the tile {path}; it needs one for each."
            )
        keys.append(same[0])
    if missing := [path for path in table if path not in set(keys)]:
        raise SpecError(
            f"{url} names {missing[0]}, which is not among the {len(urls)} tiles; name it, too, or "
            "take its row out."
        )
    return [table[key] for key in keys]


def from_names(pattern: str, urls: Sequence[str]) -> list[Place]:
    """Numbers in the names of tiles, where `pattern` has {t}, {z}, {y}, {x}; {} is any text."""
    fields = FIELD.findall(pattern)
    unknown = [name for name in fields if name and name not in SPACETIME]
    if unknown or not set(fields) & set("zyx"):
        what = f"has the field {{{unknown[0]}}}" if unknown else "has no field {z}, {y} or {x}"
        raise SpecError(
            f"The pattern '{pattern}' {what}; write {{z}}, {{y}}, {{x}}, {{t}} where names have "
            "these numbers, and {} for any other text."
        )
    if len({f for f in fields if f}) < len([f for f in fields if f]):
        raise SpecError(f"The pattern '{pattern}' has a field twice; write {{}} for one of them.")
    wanted = re.compile("(?:^|/)" + _expression(pattern.rpartition("://")[2]) + "/?$")
    places = []
    for url in urls:
        match = wanted.search(url)
        if match is None:
            raise SpecError(
                f"The tile {url} does not match the pattern '{pattern}'; correct the pattern, or "
                "name only the tiles that match."
            )
        places.append({axis: int(text) for axis, text in match.groupdict().items()})
    return places


def _expression(pattern: str) -> str:
    """Regular expression of a pattern; of a whole path, the end is compared."""
    text = ""
    for i, part in enumerate(FIELD.split(pattern.lstrip("./"))):
        if i % 2 == 0:
            text += re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
        else:
            text += rf"(?P<{part}>-?\d+)" if part else "[^/]*"
    return text


def from_grid(grid: Sequence[int], urls: Sequence[str]) -> list[Place]:
    """Numbers in a grid, for tiles in their order, the last axis first."""
    axes = "zyx"[-len(grid) :] if 2 <= len(grid) <= 3 else ""
    if not axes:
        raise SpecError(f"--grid {','.join(map(str, grid))} must be rows,columns or z,y,x.")
    if prod(grid) != len(urls):
        raise SpecError(
            f"A grid of {' x '.join(map(str, grid))} has {prod(grid)} tiles, but {len(urls)} are "
            "given; where tiles are missing, give --positions or --pattern."
        )
    return [dict(zip(axes, place, strict=True)) for place in product(*map(range, grid))]


def in_voxels(
    places: Sequence[Place], pitch: Index, urls: Sequence[str], gaps: bool
) -> list[Place]:
    """Voxels of tiles whose numbers in a grid are known, `pitch` (z, y, x) apart.

    Raises
    ------
    SpecError
        If the grid has a hole and gaps are not allowed.
    """
    axes = [axis for axis in SPACETIME if axis in places[0]]
    there = {tuple(place[axis] for axis in axes) for place in places}
    numbers = [sorted({place[i] for place in there}) for i in range(len(axes))]
    ranges = [range(n[0], n[-1] + 1) for n in numbers]
    if not gaps and len(there) < prod(map(len, ranges)):
        hole = next(place for place in product(*ranges) if place not in there)
        named = ", ".join(f"{axis} = {n}" for axis, n in zip(axes, hole, strict=True))
        raise SpecError(
            f"The grid of {len(urls)} tiles has a hole: none has {named}. Add the tile, or leave "
            "its voxels empty with --allow-gaps."
        )
    step = {"t": 1, **dict(zip("zyx", pitch, strict=True))}
    return [{axis: n * step[axis] for axis, n in place.items()} for place in places]


def from_metadata(tiles: Sequence[Header]) -> tuple[list[Place], dict[str, float]]:
    """Voxels from the translations of OME-Zarr tiles, and the physical position of the first.

    Raises
    ------
    SpecError
        If a tile is no OME-Zarr, or none says where it lies.
    ImageError
        If voxels differ in size.
    """
    for tile in tiles:
        _check_scale(tiles[0], tile)
    with ThreadPoolExecutor(READERS) as pool:
        corners = list(pool.map(_corner, tiles))
    if len(tiles) > 1 and len({tuple(corner.items()) for corner in corners}) == 1:
        raise SpecError(
            f"All {len(tiles)} tiles say that they lie in one place; the metadata of "
            f"{tiles[0].url} need a translation, or give --positions, --pattern or --grid."
        )
    axes = [axis for axis in SPACETIME if axis in corners[0]]
    offset = {axis: min(corner[axis] for corner in corners) for axis in axes}
    scale = {axis: tiles[0].scale.get(axis) or 1.0 for axis in axes}
    places = [{a: round((corner[a] - offset[a]) / scale[a]) for a in axes} for corner in corners]
    return places, offset


def _corner(tile: Header) -> dict[str, float]:
    """Physical position of the first voxel of a tile."""
    node = read_node(tile.url)
    if node is None or node.kind == "array":
        raise SpecError(
            f"{tile.url} does not say where it lies; say it with --positions TABLE, "
            "--pattern 'tile_y{y}_x{x}.tif' or --grid ROWS,COLUMNS."
        )
    level = describe(find_labels(tile.url)).levels[0]
    return dict(zip(tile.axes, level.translation, strict=True))


def _check_scale(first: Header, other: Header) -> None:
    for axis in "zyx":
        ours, theirs = (tile.scale.get(axis, 1.0) for tile in (first, other))
        theirs *= ratio(other.units.get(axis), first.units.get(axis))
        if abs(ours - theirs) > 1e-3 * abs(ours):
            raise ImageError(
                f"{other.url} has voxels of {theirs:g} along {axis}, but {first.url} has {ours:g}; "
                "all tiles must have one voxel size."
            )


def shifted(places: Sequence[Place]) -> tuple[Index, ...]:
    """First voxels (t, z, y, x) so that the smallest along each axis is 0."""
    found = np.array([[place.get(axis, 0) for axis in SPACETIME] for place in places], np.int64)
    return tuple(tuple(map(int, row)) for row in found - found.min(axis=0))


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
