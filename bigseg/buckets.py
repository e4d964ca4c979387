"""Objects in the buckets of S3, GCS and Azure, and on web servers: requests that are repeated."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import obstore
from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError
from obstore.store import HTTPStore

from bigseg.retries import retried
from bigseg.storage import Bucket, Unreachable

if TYPE_CHECKING:
    from obstore import ObjectMeta, UpdateVersion

READ_AT_MOST = 1 << 24
"""Bytes of one request, so that it ends in time on a slow line."""
DELETED_AT_ONCE = 1000


def with_version(store: Bucket, key: str) -> tuple[bytes, UpdateVersion]:
    """Content of an object, and which version of it that is."""
    found = obstore.get(store, key)
    meta = found.meta
    known = {"e_tag": meta["e_tag"], "version": meta["version"]}
    said = {name: value for name, value in known.items() if value is not None}
    return bytes(found.bytes()), cast("UpdateVersion", said)


def put_if(url: str, store: Bucket, key: str, data: bytes | Path, mode: Any) -> bool:
    """Put an object if the store's own is as `mode` says."""
    sent = 0

    def request() -> bool:
        nonlocal sent
        sent += 1
        try:
            obstore.put(store, key, data, mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError, FileExistsError):
            # If a former try of ours did it, and only its answer was lost, the object is ours.
            ours = data.read_bytes() if isinstance(data, Path) and sent > 1 else data
            return sent > 1 and bytes(obstore.get(store, key).bytes()) == ours
        return True

    try:
        return retried(url, request)
    except FileNotFoundError:
        return False  # it was removed meanwhile, and is not what was expected


def stat(url: str, store: Bucket, key: str) -> ObjectMeta | None:
    """What is known of an object; None if there is none."""
    try:
        return retried(url, lambda: obstore.head(store, key)) if key else None
    except FileNotFoundError:
        return None


def is_folder(url: str, store: Bucket, key: str) -> bool:
    """Whether there are objects below; HTTP has no folders."""
    if isinstance(store, HTTPStore):
        return False
    prefix = f"{key}/" if key else None
    first = retried(url, lambda: next(iter(obstore.list(store, prefix, chunk_size=1)), []))
    return len(first) > 0


def listed(url: str, store: Bucket, key: str) -> list[str]:
    """Names of objects and folders directly below a key."""
    if isinstance(store, HTTPStore):
        raise Unreachable(f"{url} cannot be listed, as HTTP has no folders; name what is in it.")
    prefix = f"{key}/" if key else None
    found = retried(url, lambda: obstore.list_with_delimiter(store, prefix))
    paths = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
    return [path.rstrip("/").rsplit("/", 1)[-1] for path in paths]


def delete(url: str, store: Bucket, key: str) -> None:
    """Delete an object and all below it."""
    with suppress(FileNotFoundError):
        retried(url, lambda: obstore.delete(store, key))
    keys = retried(url, lambda: [one["path"] for one in below(store, key)])
    delete_keys(url, store, keys)


def delete_keys(url: str, store: Bucket, keys: list[str]) -> None:
    """Delete objects, many in one request where the store can do so."""
    for first in range(0, len(keys), DELETED_AT_ONCE):
        some = keys[first : first + DELETED_AT_ONCE]
        with suppress(FileNotFoundError):  # S3 does not mind; others stop at one that is gone
            retried(url, partial(obstore.delete, store, some))


def below(store: Bucket, key: str) -> Iterator[ObjectMeta]:
    """All objects below a key."""
    if isinstance(store, HTTPStore):
        return
    for some in obstore.list(store, f"{key}/"):
        yield from some


class Reader(io.RawIOBase):
    """Parts of an object in a bucket, each asked for until it is there."""

    def __init__(self, url: str, store: Bucket, key: str, size: int) -> None:
        self._url, self._store, self._key, self._size = url, store, key, size
        self._at = 0
        self._whole: bytes | None = None  # where a server knows no parts

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(start + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._at, READ_AT_MOST)
        if length <= 0:
            return 0
        buffer[:length] = self._bytes(length)
        self._at += length
        return length

    def _get(self) -> Any:
        return obstore.get(self._store, self._key).bytes()

    def _bytes(self, length: int) -> memoryview:
        start = self._at
        if self._whole is None:
            try:
                return memoryview(
                    retried(
                        self._url,
                        lambda: obstore.get_range(
                            self._store, self._key, start=start, length=length
                        ),
                    )
                )
            except NotSupportedError:
                self._whole = bytes(retried(self._url, self._get))
        return memoryview(self._whole)[start : start + length]
