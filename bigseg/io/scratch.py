"""Arrays that live only as long as a run: zarr v3, one chunk per task at most."""

from __future__ import annotations

import contextlib
from typing import Any

import zarr
from numpy.typing import DTypeLike
from zarr.codecs import ZstdCodec
from zarr.errors import ContainsArrayError

from bigseg import opened
from bigseg.grid import Index
from bigseg.io.store import open_array, open_store, read_node


def create_scratch(
    url: str, shape: Index, chunks: Index, dtype: DTypeLike, fill: float = 0
) -> None:
    """Create an array of one value, unless it is there already; tasks may do so at once."""
    if read_node(url) is None:
        opened.forget(url)
        with contextlib.suppress(ContainsArrayError):
            zarr.create_array(
                open_store(url, read_only=False),
                shape=shape,
                chunks=chunks,
                dtype=dtype,
                zarr_format=3,
                compressors=ZstdCodec(level=1),
                fill_value=fill,
                config={"write_empty_chunks": False},
            )


def scratch(url: str) -> Any:
    """Array at `url`, for reading and writing."""
    return open_array(url, format=3, write=True)
