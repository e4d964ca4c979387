"""Read parts of shards in buckets in few requests: those of neighbouring chunks are one.

zarr asks for the index of a shard and then for each chunk by itself. Which chunks it will want is
known before, so here the index of a shard is asked for once (and kept while the array is open),
and chunks together. A request costs money and waiting, as much as some bytes do (`REQUEST`), so
what lies between two chunks is read along if it is shorter than that, and all of a shard if there
is little of it that is not wanted.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline
from zarr.storage import StorePath

from bigseg.grid import Index
from bigseg.io.bucket import BucketStore, Stored, WrittenAnew

REQUEST = 1 << 23
"""Bytes that cost as much as a request: of a GET in a cloud 30 ms of waiting and its price, which
is about what a core costs for as long, at 100 MB/s."""
END = 1 << 20
"""Bytes that are read with an index: small shards are read whole by it."""
CHECKSUM = 4
"""Bytes at the end of an index."""
NOTHING = 2**64 - 1
"""Place of a chunk that is not stored."""
Chunks = tuple[range, ...]
"""Which chunks of a shard are wanted, along each axis."""


class ShardPipeline(BatchedCodecPipeline):
    """zarr's own way of reading, with fewer requests for parts of shards."""

    async def read(self, batch_info: Iterable[Any], out: Any, *rest: Any, **named: Any) -> Any:
        """Read chunks or shards as zarr does; shards are asked for by `Part`."""
        parts = [(self._part(one[0], one[1], one[2]), *one[1:]) for one in batch_info]
        return await super().read(parts, out, *rest, **named)

    def _part(self, getter: Any, spec: Any, selection: Any) -> Any:
        """What zarr asks for the bytes of a shard; the shard itself if nothing can be saved."""
        codec = self.array_bytes_codec
        if not (
            isinstance(codec, ShardingCodec)
            and isinstance(getter, StorePath)
            and isinstance(getter.store, BucketStore)
            and getattr(codec.index_location, "value", codec.index_location) == "end"
            and [type(one) for one in codec.index_codecs] == [BytesCodec, Crc32cCodec]
        ):
            return getter
        wanted = _chunks(selection, codec.chunk_shape)
        if wanted is None:
            return getter
        counts = tuple(n // c for n, c in zip(spec.shape, codec.chunk_shape, strict=True))
        there = _inside(getter.path, spec.shape, getter.store.shape)
        stored = prod(ceil(n / c) for n, c in zip(there, codec.chunk_shape, strict=True))
        spare = prod(there) * (1 - prod(map(len, wanted)) / stored)
        size = spec.dtype.to_native_dtype().itemsize
        return Part(getter, getter.store, wanted, counts, prod(there) * size, int(spare * size))


register_pipeline(ShardPipeline)


def _chunks(selection: Any, chunk: Index) -> Chunks | None:
    """Chunks that a selection of a shard touches; None if it is no box."""
    found: list[range] = []
    for one, length in zip(selection, chunk, strict=True):
        if isinstance(one, int | np.integer):
            found.append(range(int(one) // length, int(one) // length + 1))
        elif isinstance(one, slice) and one.start is not None and one.stop is not None:
            found.append(range(one.start // length, ceil(one.stop / length)))
        else:
            return None
    return tuple(found)


def _inside(key: str, shard: Index, shape: Index | None) -> Index:
    """Voxels of a shard that lie inside the array, along each axis; its key says where it is."""
    if shape is None:
        return shard
    place = [int(number) for number in re.findall(r"\d+", key)[-len(shard) :]]
    return tuple(min(s, n - i * s) for i, s, n in zip(place, shard, shape, strict=True))


@dataclass
class Part:
    """Some chunks of a shard, for zarr to ask for one after the other."""

    place: StorePath
    store: BucketStore
    wanted: Chunks
    counts: Index
    """Chunks of the shard, along each axis."""
    most: int
    """Bytes of the shard if nothing were compressed."""
    spare: int
    """Of these, what is not wanted."""
    held: list[tuple[int, bytes]] = field(default_factory=list)
    """Where bytes of it begin that have been read, and these."""

    async def get(
        self, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if isinstance(byte_range, SuffixByteRequest):
            try:
                data = await self._read(byte_range.suffix)
            except FileNotFoundError:
                return None
        elif isinstance(byte_range, RangeByteRequest):
            found = self._found(byte_range.start, byte_range.end)
            if found is None:  # it lies elsewhere than the index said
                return await self.place.get(prototype, byte_range)
            data = found
        else:
            return await self.place.get(prototype, byte_range)
        return prototype.buffer.from_bytes(data)

    async def _read(self, length: int) -> bytes:
        """Read what is wanted; the index, which has so many bytes."""
        key = self.place.path
        for _ in range(2):
            stored = self.store.indexes.get(key)
            if stored is None:
                stored, begin, data = await self._first(length)
                self.held = [(begin, data)]
                self.store.keep_index(key, stored)
            try:
                await self._rest(stored)
            except WrittenAnew:
                self.store.indexes.pop(key, None)
                continue
            return stored.index
        self.held = []  # zarr may ask for each chunk by itself
        return (await self.store.end(key, length))[1]

    async def _first(self, length: int) -> tuple[Stored, int, bytes]:
        """The index, and what is read with it: all, if nearly all is wanted."""
        more = 2 * self.most if self.spare <= REQUEST else END  # noise may take more than its bytes
        stored, data = await self.store.end(self.place.path, length, length + more)
        return stored, stored.size - len(data), data

    async def _rest(self, stored: Stored) -> None:
        """Read what is not held yet of the chunks that are wanted."""
        spans = [span for span in self._spans(stored) if self._found(*span) is None]
        joined = join(spans, REQUEST)
        self.held += await asyncio.gather(
            *(self._span(stored, start, stop) for start, stop in joined)
        )

    async def _span(self, stored: Stored, start: int, stop: int) -> tuple[int, bytes]:
        return start, await self.store.span(self.place.path, start, stop, stored.version)

    def _spans(self, stored: Stored) -> list[tuple[int, int]]:
        """Where the chunks that are wanted begin and end, by the index."""
        if len(stored.index) != 16 * prod(self.counts) + CHECKSUM:
            return []
        index = np.frombuffer(stored.index[:-CHECKSUM], "<u8")
        places: NDArray[np.uint64] = index.reshape(*self.counts, 2)
        found = (places[chunk].tolist() for chunk in product(*self.wanted))
        return [
            (start, start + length)
            for start, length in found
            if start != NOTHING and start + length <= stored.size
        ]

    def _found(self, start: int, stop: int) -> bytes | None:
        for begin, data in self.held:
            if begin <= start and stop <= begin + len(data):
                return data[start - begin : stop - begin]
        return None


def join(spans: list[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Spans of bytes, rising, of which those are one that are no further apart than `gap`."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if joined and start - joined[-1][1] <= gap:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return joined
