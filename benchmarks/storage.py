"""What a store costs: requests and seconds for each way to speak to S3; what fsync costs on a disk.

python benchmarks/storage.py [--disk DIR]

S3 is moto's server on this machine, so the seconds are of clients and server together; the
requests are those of any S3. s3fs is measured where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import zarr
from moto.server import ThreadedMotoServer
from obstore.store import S3Store
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from bigseg.io.bucket import BucketStore
from bigseg.io.store import open_array
from bigseg.io.stores import DiskStore, WholeStore

SIDE = 256
LARGE = 512
"""Of a shard of 256 MiB, as others make them."""
CHUNK = 64


class Counted(logging.Handler):
    """Counts the requests that the server logs."""

    def __init__(self) -> None:
        super().__init__()
        self.methods: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        request = record.getMessage().partition('"')[2]
        self.methods[next(m for m in METHODS if m in request)] += 1


METHODS = ("GET", "PUT", "POST", "HEAD", "DELETE")


@contextmanager
def server() -> Iterator[Counted]:
    """Serve S3 on this machine; the environment says where."""
    log, counted = logging.getLogger("werkzeug"), Counted()
    log.handlers, log.propagate = [counted], False
    log.setLevel(logging.INFO)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*moto.get_host_and_port()),
    }  # fmt: skip
    boto3.client("s3").create_bucket(Bucket="bench")
    yield counted
    moto.stop()


def stores() -> dict[str, Callable[[str], Any]]:
    """Ways to speak to S3, by name: path → zarr store."""

    def obstore(path: str) -> Any:
        return ObjectStore(S3Store("bench", prefix=path, client_options={"allow_http": True}))

    ways: dict[str, Callable[[str], Any]] = {
        "bigseg": lambda path: BucketStore(f"s3://bench/{path}", read_only=False),
        "zarr, obstore": obstore,
    }
    if importlib.util.find_spec("s3fs"):
        ways["zarr, s3fs"] = lambda path: FsspecStore.from_url(f"s3://bench/{path}")
    return ways


def voxels(side: int = SIDE) -> np.ndarray[Any, Any]:
    """Noise of a camera, which compresses to a little more than half."""
    return np.random.default_rng(0).poisson(200, (side,) * 3).astype(np.uint16)


def array(store: Any, *, sharded: bool, side: int = SIDE) -> Any:
    """An empty array of one block."""
    shards = (side,) * 3 if sharded else None
    return zarr.create_array(
        store, shape=(side,) * 3, chunks=(CHUNK,) * 3, shards=shards, dtype="u2"
    )


def reader(name: str, store: Any) -> Any:
    """An array as each way reads it."""
    if name == "bigseg":
        return open_array(store.url)
    return zarr.open_array(store, mode="r")


def put(array: Any, block: np.ndarray[Any, Any]) -> None:
    """Write all of an array."""
    array[:] = block


def measure(name: str, counted: Counted, todo: Callable[[], Any]) -> None:
    """Print what an action takes."""
    counted.methods.clear()
    started = time.perf_counter()
    todo()
    seconds = time.perf_counter() - started
    time.sleep(0.1)  # the last request is logged after it is answered
    requests = " + ".join(f"{n} {method}" for method, n in sorted(counted.methods.items()))
    print(f"| {name} | {requests or 'none'} | {seconds:.2f} |")


def buckets() -> None:
    """Requests and seconds of each way."""
    block = voxels()
    print("| what | requests | s |\n| --- | --- | ---: |")
    with server() as counted:
        for name, way in stores().items():
            for sharded in (False, True):
                kind = "shard" if sharded else "64 chunks"
                store = way(f"{name.replace(', ', '-')}-{sharded}")
                array(store, sharded=sharded)
                whole = WholeStore(store) if name == "bigseg" else store
                write, read = zarr.open_array(whole, mode="r+"), reader(name, store)
                measure(
                    f"{name}: write {kind}",
                    counted,
                    lambda a=write: a.set_basic_selection((), block),
                )
                measure(f"{name}: read {kind}", counted, lambda a=read: a[:])
                measure(f"{name}: read a face of {kind}", counted, lambda a=read: a[:24])
                measure(f"{name}: read it again", counted, lambda a=read: a[:24])
        parts(counted)


PARTS = {
    "a corner": (slice(0, 24),) * 3,
    "a face": (slice(0, 24), slice(None), slice(None)),
    "a block of 256³": (slice(0, 256),) * 3,
    "the next block": (slice(0, 256), slice(0, 256), slice(256, 512)),
}
"""What blocks want of a shard that is larger than they are, one after the other."""


def parts(counted: Counted) -> None:
    """Requests for parts of a large shard."""
    block = voxels(LARGE)
    ways = stores()
    put(array(ways["bigseg"]("large"), sharded=True, side=LARGE), block)
    for name, way in ways.items():
        read = reader(name, way("large"))
        for what, box in PARTS.items():
            text = f"{name}: read {what} of a shard of {LARGE}³"
            measure(text, counted, lambda a=read, b=box: a[b])


def disks(folder: str) -> None:
    """What it costs that chunks survive a loss of power."""
    block = voxels()
    print("\n| disk | s |\n| --- | ---: |")
    for name, kind in (("zarr", LocalStore), ("bigseg", DiskStore)):
        for sharded in (False, True):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                made = array(kind(Path(place) / "a"), sharded=sharded)
                started = time.perf_counter()
                made[:] = block
                seconds = time.perf_counter() - started
            print(f"| {name}: write {'shard' if sharded else '64 chunks'} | {seconds:.2f} |")


def main() -> None:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--disk", default=None, help="folder on the disk to measure")
    folder = parser.parse_args().disk
    buckets()
    disks(folder or tempfile.gettempdir())


if __name__ == "__main__":
    main()
