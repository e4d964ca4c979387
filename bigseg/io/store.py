"""Zarr nodes at any fsspec URL: what lies there, and opening its arrays."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any, Literal

import zarr
from zarr.abc.store import Store

from bigseg import files, opened
from bigseg.errors import BigsegError, ImageError, NotFound
from bigseg.io.bucket import BucketStore
from bigseg.io.shards import ShardPipeline
from bigseg.io.stores import DiskStore, WholeStore, remote_store

ZarrFormat = Literal[2, 3]
Array = zarr.Array[Any]


@dataclass(frozen=True)
class Node:
    """One zarr group or array as its metadata files describe it."""

    kind: Literal["group", "array"]
    format: ZarrFormat
    attributes: dict[str, Any]


def open_store(url: str, *, read_only: bool = True) -> Store:
    """Return the zarr store rooted at `url`."""
    if files.is_local(url):
        return DiskStore(files.local_path(url), read_only=read_only)
    return remote_store(url, read_only=read_only)


def read_node(url: str) -> Node | None:
    """Return the node at `url`, or None if no zarr metadata is there.

    Raises
    ------
    ImageError
        If metadata is there but is not JSON, or the place cannot be read.
    """
    if (meta := _json(url, "zarr.json")) is not None:
        kind: Literal["group", "array"] = "array" if meta.get("node_type") == "array" else "group"
        return Node(kind, 3, dict(meta.get("attributes") or {}))
    if _json(url, ".zgroup") is not None:
        return Node("group", 2, _json(url, ".zattrs") or {})
    if _json(url, ".zarray") is not None:
        return Node("array", 2, _json(url, ".zattrs") or {})
    return None


def write_group(url: str, format: ZarrFormat, attributes: dict[str, Any]) -> None:
    """Create or replace the group metadata at `url`, each file at once."""
    if format == 3:
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        files.put(files.join(url, "zarr.json"), _dump(group))
        return
    # Attributes last: they are what makes the group an image.
    files.put(files.join(url, ".zgroup"), _dump({"zarr_format": 2}))
    files.put(files.join(url, ".zattrs"), _dump(attributes))


def open_array(
    url: str, *, format: ZarrFormat | None = None, write: bool = False, whole: bool = False
) -> Array:
    """Open the array at `url`.

    Parameters
    ----------
    format
        Of zarr; None for whatever is there.
    write
        To change it.
    whole
        To write whole shards and chunks, and nothing else: nothing is read before it is replaced.

    Raises
    ------
    NotFound
        If there is no array of this zarr format.
    ImageError
        If its metadata cannot be understood.
    """
    how = ("array", format, write, whole)
    return opened.once(url, how, lambda: _open(url, format, write=write, whole=whole))


def _open(url: str, format: ZarrFormat | None, *, write: bool, whole: bool) -> Array:
    store = open_store(url, read_only=not write)
    try:
        if not write:
            return _open_to_read(store, format)
        with _PIPELINE, zarr.config.set({"codec_pipeline.path": own_pipeline()}):
            place = WholeStore(store) if whole else store
            return zarr.open_array(place, mode="r+", zarr_format=format)
    except BigsegError:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"There is no zarr array at {url}.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ImageError(
            f"The zarr array at {url} cannot be opened ({error}); its metadata is damaged or "
            "uses a codec or data type that zarr does not know."
        ) from error


def _open_to_read(store: Store, format: ZarrFormat | None) -> Array:
    if not isinstance(store, BucketStore):
        return zarr.open_array(store, mode="r", zarr_format=format)
    with _PIPELINE, zarr.config.set({"codec_pipeline.path": FEW_REQUESTS}):
        array = zarr.open_array(store, mode="r", zarr_format=format)
    store.shape = array.shape
    return array


FEW_REQUESTS = f"{ShardPipeline.__module__}.{ShardPipeline.__qualname__}"
"""Name of the codec pipeline that reads from buckets."""
_PIPELINE = threading.Lock()
"""zarr's settings are of the process, and an array takes its pipeline from them when it opens."""


def own_pipeline() -> str:
    """Name of the codec pipeline that writes: always zarr's own, whatever the user has chosen.

    That of zarrs overwrites shards in place: of 12 writers that were killed, 5 left a shard that
    could not be read (zarrs-python 0.2.3, see its issue 185). zarr's replaces a chunk at once.
    """
    fused = "FusedCodecPipeline"  # since zarr 3.3; less work for the same
    module = zarr.core.codec_pipeline
    name = fused if hasattr(module, fused) else "BatchedCodecPipeline"
    return f"zarr.core.codec_pipeline.{name}"


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, allow_nan=False).encode()


def _json(url: str, name: str) -> dict[str, Any] | None:
    """Parse the JSON object `name` in the folder `url`; None if there is none."""
    place = files.join(url, name)
    try:
        data = files.get(place)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except files.Unreachable as error:
        raise ImageError(str(error)) from error
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ImageError(f"{place} is not JSON ({error}); the file is damaged.") from error
    if not isinstance(value, dict):
        raise ImageError(f"{place} holds no JSON object; the file is damaged.")
    return value
