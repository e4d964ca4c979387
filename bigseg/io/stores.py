"""Which zarr store serves a URL, and what all that write have in common."""

from __future__ import annotations

import asyncio

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, LocalStore, WrapperStore

from bigseg import disk, files
from bigseg.io.bucket import BucketStore
from bigseg.retries import retried, retried_async
from bigseg.storage import bucket


class DiskStore(LocalStore):
    """A folder whose chunks survive a loss of power, as the records do that say they are there.

    zarr's own replaces chunks at once, too, but leaves it to the system when they reach the disk:
    a record could outlive the chunks that it speaks of.
    """

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()
        await asyncio.to_thread(disk.put, self.root / key, value.to_bytes())


class PatientStore(WrapperStore[FsspecStore]):
    """A store of zarr's for all other protocols, whose requests are repeated as ours are."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        store = self._store
        return await retried_async(self._url(key), lambda: store.get(key, prototype, byte_range))

    async def set(self, key: str, value: Buffer) -> None:
        store = self._store
        await retried_async(self._url(key), lambda: store.set(key, value))

    async def exists(self, key: str) -> bool:
        store = self._store
        return await retried_async(self._url(key), lambda: store.exists(key))

    def _url(self, key: str) -> str:
        return f"{self._store.fs.unstrip_protocol(self._store.path)}/{key}"


class WholeStore(WrapperStore[Store]):
    """A store of which only metadata are read: zarr reads a shard before it replaces it whole."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if key.rpartition("/")[2] not in ("zarr.json", ".zarray", ".zattrs", ".zgroup"):
            return None
        return await self._store.get(key, prototype, byte_range)


def remote_store(url: str, *, read_only: bool) -> Store:
    """Zarr store at a URL that is not local."""
    if bucket(url) is not None:
        return BucketStore(url, read_only=read_only)
    files.filesystem(url)  # a missing driver gets a sentence here
    return PatientStore(retried(url, lambda: FsspecStore.from_url(url, read_only=read_only)))
