"""A zarr store in a bucket: one request for each object, repeated within bounds when it fails.

zarr's own stores send twice the requests (fsspec), or write large objects in parts (obstore), and
all read each inner chunk of a shard by itself (see `bigseg.io.shards`); `benchmarks/storage.py`
counts them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, NotSupportedError
from obstore.store import AzureStore, HTTPStore
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from bigseg import files
from bigseg.retries import retried_async
from bigseg.storage import bucket

T = TypeVar("T")

KEPT = 1024
"""Indexes of shards that are kept; one of 64 chunks has a kilobyte."""


@dataclass(frozen=True)
class Stored:
    """What is known of a shard in a bucket."""

    index: bytes
    """The last bytes of it, which say where its chunks are."""
    size: int
    version: str | None
    """Names what was written, so that parts of two versions are never put together."""


class WrittenAnew(Exception):
    """An object is not the one that its index was read of."""


class BucketStore(Store):
    """Objects below a URL of S3, GCS, Azure or HTTP; pickled, it is no more than the URL."""

    def __init__(self, url: str, *, read_only: bool = True) -> None:
        super().__init__(read_only=read_only)
        self.url = url
        self.indexes: OrderedDict[str, Stored] = OrderedDict()
        """By key, those that were read last."""
        self.shape: tuple[int, ...] | None = None
        """Of the array that is read, if this is one and that is known."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BucketStore):
            return False
        return (self.url, self.read_only) == (other.url, other.read_only)

    def __hash__(self) -> int:
        return hash(self.url)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.url, self.read_only)

    def __str__(self) -> str:
        return self.url

    def with_read_only(self, read_only: bool = False) -> BucketStore:
        return BucketStore(self.url, read_only=read_only)

    @property
    def supports_writes(self) -> bool:
        return True

    @property
    def supports_deletes(self) -> bool:
        return True

    @property
    def supports_listing(self) -> bool:
        return not isinstance(self._place("")[0], HTTPStore)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        try:
            if byte_range is None:
                data = await self._whole(key)
            elif isinstance(byte_range, SuffixByteRequest):
                data = (await self.end(key, byte_range.suffix))[1]
            elif isinstance(byte_range, RangeByteRequest):
                data = await self.span(key, byte_range.start, byte_range.end)
            elif isinstance(byte_range, OffsetByteRequest):
                data = (await self._whole(key))[byte_range.offset :]
        except FileNotFoundError:
            return None
        return prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, wanted) for key, wanted in key_ranges]

    async def exists(self, key: str) -> bool:
        try:
            await self._try(key, obstore.head_async)
        except FileNotFoundError:
            return False
        return True

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()
        data = value.to_bytes()
        await self._try(
            key, lambda store, path: obstore.put_async(store, path, data, use_multipart=False)
        )

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        self._check_writable()
        data = value.to_bytes()
        with suppress(AlreadyExistsError, FileExistsError):
            await self._try(
                key, lambda store, path: obstore.put_async(store, path, data, mode="create")
            )

    async def delete(self, key: str) -> None:
        self._check_writable()
        with suppress(FileNotFoundError):
            await self._try(key, obstore.delete_async)

    async def list(self) -> AsyncIterator[str]:
        for path in files.tree(self.url):
            yield path

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for path in files.tree(self.url):
            if path.startswith(prefix):
                yield path

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        for name in files.names(files.join(self.url, prefix.strip("/"))):
            yield name

    async def getsize(self, key: str) -> int:
        return int((await self._try(key, obstore.head_async))["size"])

    def _place(self, key: str) -> tuple[Any, str]:
        place = bucket(files.join(self.url, key))
        if place is None:
            raise files.Unreachable(f"{self.url} is not in a bucket.")
        return place

    async def _try(self, key: str, request: Callable[[Any, str], Awaitable[T]]) -> T:
        store, path = self._place(key)
        return await retried_async(files.join(self.url, key), lambda: request(store, path))

    async def _whole(self, key: str) -> bytes:
        async def request(store: Any, path: str) -> bytes:
            answer = await obstore.get_async(store, path)
            return bytes(await answer.bytes_async())

        return await self._try(key, request)

    async def end(self, key: str, index: int, length: int | None = None) -> tuple[Stored, bytes]:
        """What is known of an object whose last `index` bytes say what is in it, and its end.

        Parameters
        ----------
        length
            Bytes of the end, if more than these.
        """
        most = max(index, length or 0)

        async def request(store: Any, path: str) -> tuple[bytes, Any]:
            if isinstance(store, AzureStore):  # knows no ranges from the end
                meta = await obstore.head_async(store, path)
                size = meta["size"]
                span: Any = {"range": (max(size - most, 0), size)}
                answer = await obstore.get_async(store, path, options=span)
                return bytes(await answer.bytes_async()), meta
            span = {"range": {"suffix": most}}
            answer = await obstore.get_async(store, path, options=span)
            return bytes(await answer.bytes_async()), answer.meta

        try:
            data, meta = await self._try(key, request)
        except NotSupportedError:  # a web server that knows no ranges
            data = await self._whole(key)
            meta = {"size": len(data), "e_tag": None}
        return Stored(data[-index:], int(meta["size"]), meta["e_tag"]), data

    async def span(self, key: str, start: int, stop: int, version: str | None = None) -> bytes:
        """Bytes of an object; WrittenAnew if it is not of that version any more."""

        async def request(store: Any, path: str) -> tuple[bytes, Any]:
            asked: Any = {"range": (start, stop)}
            answer = await obstore.get_async(store, path, options=asked)
            return bytes(await answer.bytes_async()), answer.meta["e_tag"]

        try:
            data, found = await self._try(key, request)
        except NotSupportedError:  # a web server that knows no ranges
            return (await self._whole(key))[start:stop]
        if version is not None and found != version:
            raise WrittenAnew(key)
        return data

    def keep_index(self, key: str, stored: Stored) -> None:
        """Keep what is known of a shard while it is only read."""
        if self.read_only:
            self.indexes[key] = stored
            while len(self.indexes) > KEPT:
                self.indexes.popitem(last=False)


def _reopened(url: str, read_only: bool) -> BucketStore:
    return BucketStore(url, read_only=read_only)
