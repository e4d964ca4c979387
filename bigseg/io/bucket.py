"""A zarr store in a bucket: one request for each object, repeated within bounds when it fails.

zarr's own stores send twice the requests (fsspec), or write large objects in parts and read each
inner chunk of a shard by itself (obstore); `benchmarks/storage.py` counts them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
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

WINDOW = 1 << 23
"""Bytes read at once of a shard of which only some chunks are wanted."""
KEPT = 16
"""Windows kept, as the chunks of a shard are asked for one after the other."""


class BucketStore(Store):
    """Objects below a URL of S3, GCS, Azure or HTTP; pickled, it is no more than the URL."""

    def __init__(self, url: str, *, read_only: bool = True) -> None:
        super().__init__(read_only=read_only)
        self.url = url
        self._windows: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._sizes: dict[str, int] = {}

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
                data = await self._end(key, byte_range.suffix)
            elif isinstance(byte_range, RangeByteRequest):
                data = await self._part(key, byte_range.start, byte_range.end)
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

    async def _end(self, key: str, length: int) -> bytes:
        """Last bytes of an object: the index of a shard, of which chunks will be wanted next."""

        async def request(store: Any, path: str) -> tuple[bytes, int]:
            most = max(length, WINDOW)
            if isinstance(store, AzureStore):  # knows no ranges from the end
                size = (await obstore.head_async(store, path))["size"]
                start = max(size - most, 0)
                found = await obstore.get_range_async(store, path, start=start, end=size)
                return bytes(found), int(size)
            answer = await obstore.get_async(store, path, options={"range": {"suffix": most}})
            return bytes(await answer.bytes_async()), int(answer.meta["size"])

        try:
            data, size = await self._try(key, request)
        except NotSupportedError:  # a web server that knows no ranges
            data = await self._whole(key)
            size = len(data)
        if self.read_only:
            self._sizes[key] = size
            self._keep(key, size - len(data), data)
        return data[-length:]

    async def _part(self, key: str, start: int, end: int) -> bytes:
        """Part of an object, with what follows if more of it will be wanted."""
        for (of, first), data in reversed(self._windows.items()):
            if of == key and first <= start and end <= first + len(data):
                self._windows.move_to_end((of, first))
                return data[start - first : end - first]
        of_all = key in self._sizes
        begin = start // WINDOW * WINDOW if of_all else start
        last = max(end, min(begin + WINDOW, self._sizes.get(key, 0)))
        data = bytes(
            await self._try(
                key,
                lambda store, path: obstore.get_range_async(store, path, start=begin, end=last),
            )
        )
        if of_all:
            self._keep(key, begin, data)
        return data[start - begin : end - begin]

    def _keep(self, key: str, start: int, data: bytes) -> None:
        self._windows[key, start] = data
        while len(self._windows) > KEPT:
            self._windows.popitem(last=False)


def _reopened(url: str, read_only: bool) -> BucketStore:
    return BucketStore(url, read_only=read_only)
