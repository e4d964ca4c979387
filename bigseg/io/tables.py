"""Tables of numbers as parquet files at any URL."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import ImageError, NotFound

Columns = dict[str, NDArray[Any]]
READERS = 4
"""Tables that `read_tables` reads at the same time."""


def write_table(url: str, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write named columns of equal length as one parquet file, at once.

    Parameters
    ----------
    url : str
        Local path or fsspec URL; its folder is created.
    columns
        One-dimensional arrays of numbers, booleans or strings.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"The columns of {url} must be equally long, not {lengths}.")
    table = pa.table({name: pa.array(np.asarray(column)) for name, column in columns.items()})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    files.put(url, sink.getvalue())


def read_table(url: str, columns: Sequence[str] | None = None) -> Columns:
    """Columns of the parquet file at `url`, in their order, or only those of some names.

    Raises
    ------
    NotFound
        If there is no file.
    ImageError
        If it is no parquet file.
    """
    try:
        names = None if columns is None else list(columns)
        # One table is small; threads would only be started for it.
        table = pq.read_table(pa.BufferReader(files.get(url)), columns=names, use_threads=False)
    except FileNotFoundError as error:
        raise NotFound(f"There is no table at {url}.") from error
    except pa.ArrowInvalid as error:
        raise ImageError(f"{url} is not a parquet file ({error}).") from error
    return {name: table.column(name).to_numpy() for name in table.column_names}


def read_tables(urls: Iterable[str], columns: Sequence[str] | None = None) -> Iterator[Columns]:
    """Tables one after the other; a few are read ahead, so few are ever in memory."""
    queue = iter(urls)
    ahead: deque[Future[Columns]] = deque()
    with ThreadPoolExecutor(READERS) as pool:
        while True:
            ahead += [
                pool.submit(read_table, u, columns) for u in islice(queue, 2 * READERS - len(ahead))
            ]
            if not ahead:
                return
            yield ahead.popleft().result()
