"""Tables of points and of tracks, as CSV (also .gz) or Parquet.

Points have a row for each: `t`, `y`, `x`, perhaps `z`, and either `id` and `parent` (the id of the
point it comes from), or `track` and perhaps `parent` (the track it comes from), or all of them,
where `parent` is an id. Other usual names of these columns are known (`NAMES`). No parent is -1, an
empty field, or 0 unless there is a point 0.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.tracking.graph import Rows, check_rows, linked
from bigseg.core.tracking.lineage import LineageError
from bigseg.errors import ImageError, NotFound
from bigseg.io.tables import Columns, read_table
from bigseg.io.track_points import Points, points

NAMES: Mapping[str, tuple[str, ...]] = {
    "t": ("t", "frame", "time", "timepoint"),
    "z": ("z",),
    "y": ("y",),
    "x": ("x",),
    "id": ("id", "node_id", "point", "spot_id"),
    "parent": ("parent", "parent_id"),
    "track": ("track", "track_id", "tracklet"),
}
"""Columns, and by what names they go; large and small letters are the same."""
MORE: Mapping[str, tuple[str, ...]] = {
    "size": ("size", "voxels", "volume", "area"),
    "intensity": ("intensity", "mean_intensity"),
}
"""Columns that help to track points."""
SUFFIXES = (".csv", ".csv.gz", ".parquet")
_LINES = ("track", "begin", "end", "parent")


def is_table(url: str) -> bool:
    """Whether a name is that of a table."""
    return url.lower().endswith(SUFFIXES)


def read_points(url: str, rows: Rows | None = None) -> Points:
    """Read a table of points.

    Parameters
    ----------
    url : str
        CSV, gzipped CSV or Parquet.
    rows : (tracks, 4) or None
        Lines `L B E P` that say what the tracks of a table without parents come from.

    Raises
    ------
    NotFound
        If there is no table.
    ImageError
        If it cannot be read, lacks a column or has fields that are no numbers.
    LineageError
        If ids or frames are there twice, or parents are not there.
    """
    columns = _columns(url)
    _check_places(url, columns)
    n = len(columns["t"])
    position = np.stack([columns.get(a, np.zeros(n)) for a in "zyx"], axis=1).astype(np.float64)
    ids = columns.get("id")
    if ids is None and "track" not in columns:
        raise ImageError(
            f"{url} says nothing of tracks: it needs the columns id and parent, or track."
        )
    if ids is not None and ("parent" in columns or "track" not in columns):
        whole = _whole(url, "id", ids)
        edges = _edges_of_points(url, whole, columns.get("parent", np.full(n, np.nan)))
        return points(url, whole, columns["t"], position, edges)
    track = _whole(url, "track", columns["track"])
    frame = _whole(url, "t", columns["t"])
    order = np.lexsort((track, frame))
    _check_once(url, frame[order], track[order])
    lines = _lines(url, frame, track, columns.get("parent")) if rows is None else rows
    check_rows(lines)
    graph = linked(frame[order], track[order], lines[np.argsort(lines[:, 0])])
    number = np.arange(1, n + 1)
    properties = {"track": track[order]}
    return points(
        url, number, frame[order], position[order], number[graph.links], properties=properties
    )


def read_places(url: str) -> Points:
    """Read a table of points that nobody has tracked yet; what it says of tracks means nothing.

    Besides `t`, `y`, `x` and `z`, it may have `id`, `size` and `intensity`; points without an id
    are numbered from 1 as they come.

    Raises
    ------
    NotFound, ImageError, LineageError
        As `read_points`.
    """
    columns = _columns(url, {**NAMES, **MORE})
    _check_places(url, columns)
    n = len(columns["t"])
    position = np.stack([columns.get(a, np.zeros(n)) for a in "zyx"], axis=1).astype(np.float64)
    ids = _whole(url, "id", columns["id"]) if "id" in columns else np.arange(1, n + 1)
    properties = {name: columns[name] for name in MORE if name in columns}
    none = np.zeros((0, 2), np.int64)
    return points(url, ids, columns["t"], position, none, properties=properties)


def _check_places(url: str, columns: Mapping[str, NDArray[np.float64]]) -> None:
    if lacking := [name for name in ("t", "y", "x") if name not in columns]:
        raise ImageError(
            f"{url} has no column '{lacking[0]}'; points need t, y and x, and z in volumes. "
            f"It has {', '.join(sorted(columns)) or 'none of the known ones'}."
        )


def _columns(
    url: str, names: Mapping[str, tuple[str, ...]] = NAMES
) -> dict[str, NDArray[np.float64]]:
    """Known columns as numbers; an empty field is nan."""
    table = read_columns(url)
    lower = {name.lower(): name for name in table}
    found = {}
    for name, others in names.items():
        there = [lower[other] for other in others if other in lower]
        if there:
            try:
                found[name] = np.asarray(table[there[0]], np.float64)
            except (ValueError, TypeError) as error:
                raise ImageError(
                    f"Column '{there[0]}' of {url} holds something else than numbers: {error}."
                ) from error
    return found


def read_columns(url: str) -> Columns:
    """Columns of a table, CSV or Parquet.

    Raises
    ------
    NotFound, ImageError
        There is none, or it cannot be read.
    """
    return read_table(url) if url.lower().endswith(".parquet") else _csv(url)


def _csv(url: str) -> Columns:
    try:
        data = files.get(url)
        data = gzip.decompress(data) if url.lower().endswith(".gz") else data
        table = pa.csv.read_csv(pa.BufferReader(data))
    except FileNotFoundError as error:
        raise NotFound(f"There is no table at {url}.") from error
    except (pa.ArrowInvalid, gzip.BadGzipFile) as error:
        raise ImageError(
            f"{url} cannot be read as CSV with names in the first line: {error}."
        ) from error
    return {
        name: table.column(name).to_numpy(zero_copy_only=False)
        if not pa.types.is_null(table.schema.field(name).type)
        else np.full(len(table), np.nan)
        for name in table.column_names
    }


def _whole(url: str, name: str, column: NDArray[np.float64]) -> NDArray[np.int64]:
    wrong = ~(np.isfinite(column) & (column == np.floor(column)) & (np.abs(column) < 2**53))
    if wrong.any():
        raise ImageError(
            f"Column '{name}' of {url} has {column[wrong][0]} in row {int(np.argmax(wrong)) + 1}; "
            "whole numbers are needed."
        )
    return column.astype(np.int64)


def _edges_of_points(
    url: str, ids: NDArray[np.int64], parent: NDArray[np.float64]
) -> NDArray[np.int64]:
    has = np.isfinite(parent) & (parent != -1)
    if not (ids == 0).any():
        has &= parent != 0
    source = _whole(url, "parent", parent[has])
    return np.stack([source, ids[has]], axis=1)


def _check_once(url: str, frame: NDArray[np.int64], track: NDArray[np.int64]) -> None:
    twice = (np.diff(frame) == 0) & (np.diff(track) == 0)
    if twice.any():
        row = int(np.argmax(twice))
        raise LineageError(
            f"{url} has track {track[row]} twice in frame {frame[row]}; a track has one point in "
            "a frame at most."
        )


def _lines(
    url: str,
    frame: NDArray[np.int64],
    track: NDArray[np.int64],
    parent: NDArray[np.float64] | None,
) -> Rows:
    """Lines of tracks, whose parent any of their points may name, as long as they agree."""
    ids, number = np.unique(track, return_inverse=True)
    begin = np.full(len(ids), np.iinfo(np.int64).max)
    end = np.full(len(ids), -1)
    np.minimum.at(begin, number, frame)
    np.maximum.at(end, number, frame)
    of = np.zeros(len(ids), np.int64)
    if parent is not None:
        has = np.isfinite(parent) & (parent > 0)
        named = _whole(url, "parent", parent[has])
        of[number[has]] = named
        torn = of[number[has]] != named
        if torn.any():
            raise LineageError(
                f"Track {track[has][torn][0]} in {url} has the parents {named[torn][0]} and "
                f"{of[number[has]][torn][0]}; a track has one."
            )
    return np.stack([ids, begin, end, of], axis=1)


def read_lines(url: str) -> Rows:
    """Lines `L B E P` of a table with the columns track, begin, end and parent.

    Raises
    ------
    NotFound
        If there is no table.
    ImageError
        If a column is missing or is not of whole numbers.
    LineageError
        If lines contradict each other.
    """
    table = read_columns(url)
    lacking = [name for name in _LINES if name not in table]
    if lacking:
        raise ImageError(
            f"{url} has no column '{lacking[0]}'; a table of tracks has {', '.join(_LINES)}."
        )
    rows = [_whole(url, name, np.asarray(table[name], np.float64)) for name in _LINES]
    lines = np.stack(rows, axis=1)
    check_rows(lines)
    return lines
