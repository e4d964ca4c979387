"""Small objects at any fsspec URL: read, put atomically, list, delete.

Arrays go through zarr; this is for records, tables and pages.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import io
import os
import posixpath
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

import fsspec
import obstore
from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from bigseg import buckets, disk
from bigseg.retries import retried
from bigseg.storage import Unreachable, bucket

__all__ = ["Unreachable"]

READ_AHEAD = 1 << 22
"""Bytes of an object that are read at once: few requests for large files."""


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """File system of a URL that is neither a bucket nor local, and the path inside it.

    Raises
    ------
    Unreachable
        If the protocol is unknown, or the package that speaks it is not installed.
    """
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        raise Unreachable(f"{url} needs a package that is not installed: {error}.") from error
    except ValueError as error:
        raise Unreachable(f"{url} cannot be opened: {error}.") from error
    return fs, str(path)


def is_local(url: str) -> bool:
    """Whether `url` is a path on this machine's file system."""
    return "://" not in url or url.startswith("file://")


def local_path(url: str) -> Path:
    """Path of a local URL."""
    return Path(url.removeprefix("file://"))


def join(url: str, *parts: str) -> str:
    """`url` with `parts` appended, whatever the protocol."""
    return "/".join([url.rstrip("/"), *parts])


def absolute(url: str) -> str:
    """Give `url` a form that means the same in another process: local paths become absolute."""
    return os.path.abspath(local_path(url)) if is_local(url) else url.rstrip("/")


def relative(url: str, start: str) -> str:
    """Path that leads from the folder `start` to `url`, or `url` itself on another file system.

    >>> relative("/data/embryo.zarr", "/data/embryo.zarr/labels/cells")
    '../../'
    """
    (one, place), (other, here) = (_split(absolute(place)) for place in (url, start))
    if one != other:
        return absolute(url)
    path = posixpath.relpath(place, here)
    return path + "/" if path.endswith("..") else path


def _split(url: str) -> tuple[str, str]:
    """Protocol and bucket, which must agree, and an absolute path."""
    if is_local(url):
        return "file", str(local_path(url))
    protocol, _, rest = url.partition("://")
    bucket, _, path = rest.partition("/")
    return f"{protocol}://{bucket}", f"/{path}"


def exists(url: str) -> bool:
    """Whether there is an object or folder at `url`."""
    if is_local(url):
        return local_path(url).exists()
    if (place := bucket(url)) is not None:
        return buckets.stat(url, *place) is not None or buckets.is_folder(url, *place)
    fs, path = filesystem(url)
    fs.invalidate_cache(path)  # another process may have written since the folder was listed
    return retried(url, lambda: bool(fs.exists(path)))


def get(url: str) -> bytes:
    """Content of the object at `url`; FileNotFoundError if there is none.

    Raises
    ------
    Unreachable
        If a remote object can be neither read nor said to be missing.
    """
    if is_local(url):
        return local_path(url).read_bytes()
    if (place := bucket(url)) is not None:
        store, key = place
        return retried(url, lambda: bytes(obstore.get(store, key).bytes()))
    fs, path = filesystem(url)
    return retried(url, lambda: bytes(fs.cat_file(path)))


def put(url: str, data: bytes) -> None:
    """Write the object at `url` at once: readers see the old object or the new, never a part."""
    if is_local(url):
        disk.put(local_path(url), data)
        return
    if (place := bucket(url)) is not None:
        store, key = place
        retried(url, lambda: obstore.put(store, key, data, use_multipart=False))
        return
    fs, remote = filesystem(url)
    retried(url, lambda: fs.pipe_file(remote, data))


def create(url: str, data: bytes) -> bool:
    """Write the object at `url` unless there is one; of many callers, one is told that it did.

    Parameters
    ----------
    data
        Should tell the caller from others, as by an id: if the answer to a request is lost, the
        object is known by it to be the caller's own.

    Returns
    -------
    Whether the object is the caller's. It is there with all its content in either case.

    Raises
    ------
    Unreachable
        If the store cannot do this at once (only disks, S3, GCS, Azure and memory can).
    """
    if is_local(url):
        return disk.link(local_path(url), data)
    if (place := bucket(url)) is not None:
        return buckets.put_if(url, *place, data, "create")
    fs, path = _in_memory(url)
    with disk.ALONE:
        if fs.exists(path):
            return False
        fs.pipe_file(path, data)
    return True


def replace(url: str, data: bytes, expected: bytes) -> bool:
    """Write the object at `url` if its content is still `expected`, at once.

    Parameters
    ----------
    data
        Should tell the caller from others, see `create`, and be new each time.

    Returns
    -------
    Whether it was, and is now `data`; false also if there is no object.

    Raises
    ------
    Unreachable
        If the store cannot do this at once, see `create`.
    """
    if is_local(url):
        return disk.swap(local_path(url), data, expected)
    if (place := bucket(url)) is not None:
        store, key = place
        try:
            found = retried(url, lambda: buckets.with_version(store, key))
        except FileNotFoundError:
            return False
        return found[0] == expected and buckets.put_if(url, store, key, data, found[1])
    fs, path = _in_memory(url)
    with disk.ALONE:
        if not fs.exists(path) or fs.cat_file(path) != expected:
            return False
        fs.pipe_file(path, data)
    return True


def size(url: str) -> int:
    """Bytes of the object at `url`."""
    if (place := bucket(url)) is not None:
        found = buckets.stat(url, *place)
        if found is None:
            raise FileNotFoundError(f"{url} does not exist.")
        return int(found["size"])
    fs, path = filesystem(url)
    return retried(url, lambda: int(fs.size(path)))


def stamp(url: str) -> str:
    """Something that changes when the object at `url` does, without reading it."""
    if (place := bucket(url)) is not None:
        found = buckets.stat(url, *place)
        if found is None:
            raise FileNotFoundError(f"{url} does not exist.")
        return f"{found['e_tag']} {found['last_modified']} {found['size']}"
    fs, path = filesystem(url)
    fs.invalidate_cache(path)
    return retried(url, lambda: str(fs.ukey(path)))


def open_read(url: str) -> BinaryIO:
    """Open the object at `url`, to read any part of it; parts of remote ones are read ahead.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    if is_local(url):
        return local_path(url).open("rb")
    if (place := bucket(url)) is not None:
        reader = io.BufferedReader(buckets.Reader(url, *place, size(url)), READ_AHEAD)
        return cast(BinaryIO, reader)
    fs, path = filesystem(url)
    file = retried(url, lambda: fs.open(path, "rb"))
    if getattr(file, "size", 0) is None:  # a server that reads only from begin to end
        return io.BytesIO(get(url))
    return cast(BinaryIO, file)


def sha256(url: str) -> str:
    """SHA-256 of the object at `url`, of which only a part is in memory at a time."""
    found = hashlib.sha256()
    with open_read(url) as file:
        while chunk := file.read(1 << 22):
            found.update(chunk)
    return found.hexdigest()


def check_writable(url: str) -> None:
    """Make sure that objects can be written below `url`, which need not exist yet.

    Raises
    ------
    Unreachable
        If they cannot; nothing is left behind in either case.
    """
    place = url
    if is_local(url):
        path = local_path(absolute(url))
        while not path.exists():
            path = path.parent
        place = str(path)
    probe = join(place, f".{uuid.uuid4().hex}.part")
    try:
        put(probe, b"")
        remove(probe)
    except Unreachable as error:
        raise Unreachable(f"{url} cannot be written: {error}") from None
    except Exception as error:  # each remote driver has exceptions of its own
        raise Unreachable(
            f"{url} cannot be written ({type(error).__name__}: {error}); "
            "choose another place or get the permission."
        ) from None


def names(url: str) -> list[str]:
    """Sorted names in the folder at `url`; empty if there is no such folder."""
    if is_local(url):
        folder = local_path(url)
        if not folder.is_dir():
            return []
        found = [entry.name for entry in os.scandir(folder)]
    elif (place := bucket(url)) is not None:
        found = buckets.listed(url, *place)
    else:
        fs, path = filesystem(url)
        fs.invalidate_cache(path)
        try:
            listing = retried(url, lambda: fs.ls(path, detail=False))
        except FileNotFoundError:
            return []
        found = [str(p).rstrip("/").rsplit("/", 1)[-1] for p in listing]
    return sorted(name for name in found if not name.endswith(disk.UNFINISHED))


def tree(url: str) -> list[str]:
    """Sorted paths, from `url`, of all objects below it; empty if there is no such folder."""
    if is_local(url):
        top = str(local_path(url))
        found = [
            os.path.relpath(os.path.join(folder, name), top)
            for folder, _, inside in os.walk(top)
            for name in inside
        ]
    elif (place := bucket(url)) is not None:
        store, key = place
        paths = retried(url, lambda: [one["path"] for one in buckets.below(store, key)])
        found = [path.removeprefix(f"{key}/") for path in paths]
    else:
        fs, top = filesystem(url)
        fs.invalidate_cache(top)
        top = top.rstrip("/")
        found = [str(p).removeprefix(f"{top}/") for p in retried(url, lambda: fs.find(top))]
    return sorted(path for path in found if not path.endswith(disk.UNFINISHED))


def is_folder(url: str) -> bool:
    """Whether there is a folder at `url`."""
    if is_local(url):
        return local_path(url).is_dir()
    if (place := bucket(url)) is not None:
        return buckets.is_folder(url, *place)
    fs, path = filesystem(url)
    return retried(url, lambda: bool(fs.isdir(path)))


def matching(pattern: str) -> list[str]:
    """URLs of the objects that a pattern with ``*``, ``?`` and ``[…]`` names, sorted."""
    if is_local(pattern):
        return sorted(glob.glob(str(local_path(pattern))))
    if bucket(pattern) is None:
        fs, path = filesystem(pattern)
        found = retried(pattern, lambda: fs.glob(path))
        return sorted(str(fs.unstrip_protocol(p)) for p in found)
    protocol, _, rest = pattern.partition("://")
    name, *parts = rest.rstrip("/").split("/")
    places = [f"{protocol}://{name}"]
    for part in parts:  # a listing for each folder that matches so far
        if glob.has_magic(part):
            places = [
                join(place, name) for place in places for name in fnmatch.filter(names(place), part)
            ]
        else:
            places = [join(place, part) for place in places]
    return sorted(place for place in places if glob.has_magic(parts[-1]) or exists(place))


def remove(url: str) -> None:
    """Delete the object or folder at `url`, if it is there."""
    if is_local(url):
        path = local_path(url)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return
    if (place := bucket(url)) is not None:
        buckets.delete(url, *place)
        return
    fs, remote = filesystem(url)
    fs.invalidate_cache(remote)
    if retried(url, lambda: fs.exists(remote)):
        retried(url, lambda: fs.rm(remote, recursive=True))


def remove_all(urls: Sequence[str]) -> None:
    """Delete objects of one store, in as few requests as there can be; some may be gone already."""
    place = bucket(urls[0]) if urls else None
    if place is None:
        for url in urls:
            remove(url)
        return
    keys = [key for _, key in filter(None, map(bucket, urls))]
    buckets.delete_keys(urls[0], place[0], keys)


def upload(path: Path, url: str) -> bool:
    """Copy a file to `url` unless there is an object, as `create` does; for files beyond memory."""
    if (place := bucket(url)) is not None:
        store, key = place
        return buckets.put_if(url, store, key, path, "create")
    return create(url, path.read_bytes())


def sweep(url: str) -> int:
    """Delete what killed writers left at `url`; only disks show it, and it is never data."""
    return disk.sweep(local_path(url)) if is_local(url) else 0


def protocol(url: str) -> str:
    """Name of the file system behind `url`: file, s3, gs, az, http, memory and so on."""
    return "file" if is_local(url) else str(fsspec.utils.get_protocol(url))


def _in_memory(url: str) -> tuple[AbstractFileSystem, str]:
    if protocol(url) != "memory":
        raise Unreachable(
            f"{url} lies in a store of kind '{protocol(url)}', where of several processes more "
            "than one could take the same thing; use a disk, S3, GCS or Azure."
        )
    return filesystem(url)
