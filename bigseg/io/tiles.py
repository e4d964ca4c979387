"""Tiles of labels in files of any kind: find them, look at their axes and sizes, read a frame."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bigseg import files
from bigseg.core.overlap import as_ids
from bigseg.errors import ImageError, NotFound
from bigseg.grid import Index
from bigseg.io.images import KNOWN, opened
from bigseg.io.labels import find_labels
from bigseg.io.source import Source, named
from bigseg.io.store import read_node
from bigseg.types import Labels

SPACETIME = "tzyx"
USUAL_AXES = {2: "yx", 3: "zyx", 4: "tzyx"}
"""Axes of arrays that do not name them."""
FIELD = re.compile(r"\{([a-z_]*)\}")
READERS = 16
"""Files looked at at the same time."""


@dataclass(frozen=True)
class Header:
    """What there is to know of a tile without reading its labels."""

    url: str
    axes: str
    """As stored."""
    shape: Index
    """(t, z, y, x)."""
    itemsize: int
    scale: dict[str, float]
    """Size of a voxel along the axes for which it is known."""
    units: dict[str, str]


def expand(paths: Sequence[str]) -> list[str]:
    """Every single tile: folders, patterns with * and ?, and paths with {y} and the like resolved.

    Numbers in names count as numbers.

    Raises
    ------
    NotFound
        If a folder is empty, or nothing matches a pattern.
    """
    found = [member for path in paths for member in _members(path)]
    return [files.absolute(path) for path in found]


def headers(urls: Sequence[str], axes: str | None) -> list[Header]:
    """Look at all tiles, several at a time; see `header`."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda url: header(url, axes), urls))


def header(url: str, axes: str | None) -> Header:
    """Look at one tile.

    Raises
    ------
    NotFound
        If nothing is there.
    ImageError
        If it cannot be read, its axes are not clear, or it holds no labels.
    """
    with opened_tile(url, axes) as source:
        length = dict(zip(source.axes, source.shape, strict=True))
        shape = tuple(length.get(axis, 1) for axis in SPACETIME)
        if 0 in shape:
            raise ImageError(f"{url} is empty: (t, z, y, x) = {shape}; leave it out.")
        size = source.dtype.itemsize
        return Header(url, source.axes, shape, size, dict(source.scale), dict(source.units))


def read_frame(url: str, axes: str, frame: int) -> Labels:
    """Labels of one frame of a tile, (z, y, x), as uint32 or uint64.

    Raises
    ------
    ImageError
        If the file is damaged, or ids are negative.
    """
    with opened_tile(url, axes) as source:
        whole = zip(source.axes, source.shape, strict=True)
        box = tuple(slice(frame, frame + 1) if a == "t" else slice(0, n) for a, n in whole)
        try:
            data = np.asarray(source.read(box))
        except ImageError:
            raise
        except Exception as error:  # each codec has exceptions of its own
            raise ImageError(f"{url} cannot be read ({error}); the file is damaged.") from error
    space = [axis for axis in "zyx" if axis in axes]
    others = tuple(i for i, axis in enumerate(axes) if axis not in space)
    left = [axis for axis in axes if axis in space]
    plain = data.squeeze(others).transpose([left.index(axis) for axis in space])
    try:
        return as_ids(np.expand_dims(plain, tuple(range(3 - plain.ndim))))
    except ImageError as error:
        raise ImageError(f"{url}: {error}") from error


@contextmanager
def opened_tile(url: str, axes: str | None = None) -> Iterator[Source]:
    """Open one tile, its axes named, its labels whole numbers; see `header` for what is refused."""
    with _here(url) as place:
        try:
            with opened(place) as source:
                yield _checked(source, url, axes)
        except ImageError as error:
            raise ImageError(str(error).replace(place, url)) from error


@contextmanager
def _here(url: str) -> Iterator[str]:
    """Where a tile can be opened: the label image that is meant, or a copy of a remote file."""
    if files.is_local(url) or not url.lower().endswith(KNOWN):
        node = read_node(url)
        yield find_labels(url) if node is not None and node.kind == "group" else url
        return
    with tempfile.NamedTemporaryFile(suffix=os.path.splitext(url)[1]) as copy:
        try:
            copy.write(files.get(url))
        except FileNotFoundError:
            raise NotFound(f"There is nothing at {url}.") from None
        copy.flush()
        yield copy.name


def _checked(source: Source, url: str, axes: str | None) -> Source:
    if source.dtype.kind not in "ui":
        raise ImageError(
            f"{url} holds {source.dtype}, but labels are whole numbers, one per object and 0 for "
            "background; give the labels and not the image, or convert them to integers."
        )
    if axes is None and not set(source.axes) <= {*SPACETIME, "c"}:
        axes = USUAL_AXES.get(len(source.shape))
    found = named(source, axes)
    channels = dict(zip(found.axes, found.shape, strict=True)).get("c", 1)
    if channels > 1:
        raise ImageError(
            f"{url} has {channels} channels, but labels have none; is this the image and not its "
            "labels? If these are planes or frames, name the axes with --axes."
        )
    return found


def _members(path: str) -> list[str]:
    if FIELD.search(path):
        return _matching(FIELD.sub("*", path), path)
    if glob.has_magic(path) and not files.exists(path):
        return _matching(path, path)
    if not files.is_local(path) or not os.path.isdir(path) or read_node(path) is not None:
        return [path]
    names = [name for name in files.names(path) if name.lower().endswith((*KNOWN, ".zarr"))]
    if not names:
        raise NotFound(
            f"{path} holds no tiles ({', '.join(KNOWN)} or .zarr); name files, or a pattern."
        )
    return [files.join(path, name) for name in sorted(names, key=natural)]


def _matching(pattern: str, said: str) -> list[str]:
    found = files.matching(pattern)
    if not found:
        raise NotFound(f"No file matches {said}; check the path and its numbers.")
    return sorted(found, key=natural)


def natural(path: str) -> list[tuple[int, str]]:
    """Key that sorts tile 10 after tile 9."""
    parts = re.split(r"(\d+)", path.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
