"""Zarr nodes at any fsspec URL: what lies there, and opening its arrays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import zarr
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore

from bigseg import files
from bigseg.errors import ImageError, NotFound

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
        return LocalStore(files.local_path(url), read_only=read_only)
    files.filesystem(url)  # a missing driver gets a sentence here
    return FsspecStore.from_url(url, read_only=read_only)


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


def open_array(url: str, *, format: ZarrFormat | None = None, write: bool = False) -> Array:
    """Open the array at `url`.

    Raises
    ------
    NotFound
        If there is no array of this zarr format.
    ImageError
        If its metadata cannot be understood.
    """
    store = open_store(url, read_only=not write)
    try:
        return zarr.open_array(store, mode="r+" if write else "r", zarr_format=format)
    except FileNotFoundError as error:
        raise NotFound(f"There is no zarr array at {url}.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ImageError(
            f"The zarr array at {url} cannot be opened ({error}); its metadata is damaged or "
            "uses a codec or data type that zarr does not know."
        ) from error


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
