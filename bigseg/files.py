"""Small objects at any fsspec URL: read, put atomically, list, delete.

Arrays go through zarr; this is for records, tables and pages.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
import uuid
from pathlib import Path

import fsspec
from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from bigseg.errors import BigsegError

_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure"}


class Unreachable(BigsegError, OSError):
    """A URL's file system cannot be reached: driver, address or credentials are missing."""


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """File system of a URL and the path inside it.

    Raises
    ------
    Unreachable
        If the protocol is unknown, or the package that speaks it is not installed.
    """
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(protocol(url))
        remedy = f"pip install 'bigseg[{extra}]'" if extra else str(error)
        raise Unreachable(f"{url} needs a package that is not installed: {remedy}.") from error
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
    fs, path = filesystem(url)
    fs.invalidate_cache(path)  # another process may have written since the folder was listed
    return bool(fs.exists(path))


def get(url: str) -> bytes:
    """Content of the object at `url`; FileNotFoundError if there is none.

    Raises
    ------
    Unreachable
        If a remote object can be neither read nor said to be missing.
    """
    fs, path = filesystem(url)
    try:
        return bytes(fs.cat_file(path))
    except FileNotFoundError:
        raise
    except Exception as error:  # each remote driver has exceptions of its own
        if is_local(url):
            raise
        raise Unreachable(
            f"{url} cannot be read ({type(error).__name__}: {error}); "
            "check the address and the credentials."
        ) from error


def put(url: str, data: bytes) -> None:
    """Write the object at `url` at once: readers see the old object or the new, never a part."""
    if not is_local(url):
        fs, remote = filesystem(url)
        fs.pipe_file(remote, data)
        return
    path = local_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def size(url: str) -> int:
    """Bytes of the object at `url`."""
    fs, path = filesystem(url)
    return int(fs.size(path))


def sha256(url: str) -> str:
    """SHA-256 of the object at `url`, of which only a part is in memory at a time."""
    found = hashlib.sha256()
    fs, path = filesystem(url)
    with fs.open(path, "rb") as file:
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
    except Exception as error:  # each remote driver has exceptions of its own
        raise Unreachable(
            f"{url} cannot be written ({type(error).__name__}: {error}); "
            "choose another place or get the permission."
        ) from error


def names(url: str) -> list[str]:
    """Sorted names in the folder at `url`; empty if there is no such folder."""
    if is_local(url):
        folder = local_path(url)
        if not folder.is_dir():
            return []
        found = [entry.name for entry in os.scandir(folder)]
    else:
        fs, path = filesystem(url)
        fs.invalidate_cache(path)
        try:
            found = [str(p).rstrip("/").rsplit("/", 1)[-1] for p in fs.ls(path, detail=False)]
        except FileNotFoundError:
            return []
    return sorted(name for name in found if not name.endswith(".part"))


def remove(url: str) -> None:
    """Delete the object or folder at `url`, if it is there."""
    if is_local(url):
        path = local_path(url)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        return
    fs, remote = filesystem(url)
    fs.invalidate_cache(remote)
    if fs.exists(remote):
        fs.rm(remote, recursive=True)


def protocol(url: str) -> str:
    """Name of the file system behind `url`: file, s3, gs, az, http, memory and so on."""
    return "file" if is_local(url) else str(fsspec.utils.get_protocol(url))
