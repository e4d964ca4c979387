"""A few rows of a large table: read them, or put others in their place, a stretch at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import NotFound
from bigseg.io.tables import Columns

KEY = "id"


def read_rows(url: str, ids: NDArray[np.integer[Any]]) -> Columns:
    """Rows of a table that is sorted by `id`; those that are not there are left out.

    Raises
    ------
    NotFound
        If there is no table.
    """
    with _opened(url) as table:
        parts = [
            table.read_row_group(group, use_threads=False)
            for group in range(table.num_row_groups)
            if _meets(table, group, ids)
        ]
        found = pa.concat_tables(parts or [table.schema_arrow.empty_table()])
    columns = {name: found.column(name).to_numpy() for name in found.column_names}
    rows = np.isin(columns[KEY].astype(np.int64), ids)
    return {name: column[rows] for name, column in columns.items()}


def replace_rows(url: str, gone: NDArray[np.integer[Any]], rows: Mapping[str, NDArray[Any]]) -> int:
    """Take the rows of some ids out, and put `rows` in; doing it twice changes nothing.

    The table stays sorted by `id`. Memory is that of one stretch of rows, and of the file.

    Returns
    -------
    int
        Rows of the table afterwards.
    """
    sink, count = io.BytesIO(), 0
    out = np.union1d(gone, rows[KEY].astype(np.int64))
    with _opened(url) as table:
        new = pa.table(dict(rows)).select(table.schema_arrow.names).cast(table.schema_arrow)
        options = {"compression": "zstd", "use_dictionary": False}  # numbers that hardly repeat
        with pq.ParquetWriter(sink, table.schema_arrow, **options) as writer:
            for stretch in _mended(table, out, new.sort_by(KEY)):
                writer.write_table(stretch)
                count += len(stretch)
    files.put(url, sink.getvalue())
    return count


def _mended(table: pq.ParquetFile, out: NDArray[Any], new: pa.Table) -> Iterator[pa.Table]:
    """Stretches of the table without some ids, and with the new rows at their places."""
    keys, used = new.column(KEY).to_numpy(), 0
    for group in range(table.num_row_groups):
        stretch = table.read_row_group(group, use_threads=False)
        ids = stretch.column(KEY).to_numpy()
        until = int(np.searchsorted(keys, ids[-1], "right")) if len(ids) else used
        drop = np.isin(ids.astype(np.int64), out)
        if drop.any() or until > used:
            kept = [stretch.filter(pa.array(~drop)), new.slice(used, until - used)]
            stretch = pa.concat_tables(kept).sort_by(KEY)
        used = max(until, used)
        if len(stretch):
            yield stretch
    if used < len(new):
        yield new.slice(used)


def _meets(table: pq.ParquetFile, group: int, ids: NDArray[Any]) -> bool:
    """Whether a stretch may hold one of some ids."""
    column = table.schema_arrow.get_field_index(KEY)
    known = table.metadata.row_group(group).column(column).statistics
    if known is None or not known.has_min_max:
        return True
    return bool(((ids >= known.min) & (ids <= known.max)).any())


@contextmanager
def _opened(url: str) -> Iterator[pq.ParquetFile]:
    try:
        file = files.open_read(url)
    except FileNotFoundError:
        raise NotFound(f"There is no table at {url}.") from None
    with file, pq.ParquetFile(file) as table:
        yield table
