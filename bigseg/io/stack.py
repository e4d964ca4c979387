"""Many files as one array: folders and patterns of frames or slices."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import ImageError, NotFound
from bigseg.grid import Box
from bigseg.io.images import KNOWN, opened
from bigseg.io.source import Source, named
from bigseg.io.store import read_node


@contextmanager
def opened_all(paths: Sequence[str], axes: str | None = None) -> Iterator[Source]:
    """Open files, folders and patterns as one array.

    Several files are stacked in the order of the numbers in their names, along z if they are
    planes, along t if they are volumes or their names say so (t003, frame_12, time-7).

    Parameters
    ----------
    paths
        What `bigseg.io.images.opened` knows, folders of such files, patterns with * and ?.
    axes : str or None
        Names of the axes of the whole, in their order; of a stack, the first is that along which
        files are stacked.

    Raises
    ------
    ImageError
        If files differ in shape or type, or axes are not understood.
    """
    members = expanded(paths)
    if len(members) == 1:
        with opened(members[0]) as source:
            yield named(source, axes)
        return
    inner = axes[1:] if axes else None
    with opened(members[0]) as source:
        first = named(source, inner)
    for member in members[1:]:
        with opened(member) as source:
            _check_alike(first, named(source, inner))
    along = axes[0].lower() if axes else _stack_axis(first.axes, members)

    def read(box: Box) -> NDArray[Any]:
        return np.stack([_read_one(member, box[1:]) for member in members[box[0]]])

    shape = (len(members), *first.shape)
    whole = replace(first, axes=along + first.axes, shape=shape, read=read)
    yield named(replace(whole, name=f"the stack of {len(members)} files from {first.name}"), None)


def expanded(paths: Sequence[str]) -> list[str]:
    """Every single file, folders and patterns resolved, numbers in names counting as numbers."""
    found = [member for path in paths for member in _members(path)]
    if not found:
        raise NotFound("There is nothing to convert; name files, folders or patterns.")
    return found


def _members(path: str) -> list[str]:
    if not files.is_local(path) or read_node(path) is not None:
        return [path]
    if os.path.isdir(path):
        found = [p for p in sorted(map(str, Path(path).iterdir())) if p.lower().endswith(KNOWN)]
        kinds = sorted({Path(p).suffix.lower() for p in found})
        if len(kinds) > 1:
            raise ImageError(
                f"{path} holds files of several kinds ({', '.join(kinds)}); "
                f"name those to take by a pattern, for example '{path}/*{kinds[0]}'."
            )
        if not found:
            raise NotFound(f"{path} holds no files that can be converted ({', '.join(KNOWN)}).")
        return sorted(found, key=_natural)
    if not os.path.exists(path) and glob.has_magic(path):
        found = sorted(glob.glob(path), key=_natural)
        if not found:
            raise NotFound(f"No file matches {path}.")
        return found
    return [path]


def _natural(path: str) -> list[tuple[int, str]]:
    """Key that sorts slice 10 after slice 9."""
    parts = re.split(r"(\d+)", os.path.basename(path).lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _check_alike(first: Source, other: Source) -> None:
    if (other.shape, other.dtype, other.axes) != (first.shape, first.dtype, first.axes):
        raise ImageError(
            f"{other.name} has shape {other.shape} and type {other.dtype}, but {first.name} has "
            f"{first.shape} and {first.dtype}; all files of a stack must be alike."
        )


_FRAME = re.compile(r"(?:^|[^a-z])(?:t|time|timepoint|frame)[_-]?\d+", re.IGNORECASE)


def _stack_axis(axes: str, members: list[str]) -> str:
    frames = all(_FRAME.search(Path(member).stem) for member in members)
    free = [a for a in (("t", "z") if frames else ("z", "t")) if a not in axes]
    if not free:
        raise ImageError(
            f"{members[0]} and the files after it have the axes {', '.join(axes)} already; "
            "they cannot be stacked along z or t. Convert them one by one."
        )
    return free[0]


def _read_one(path: str, box: Box) -> NDArray[Any]:
    with opened(path) as source:
        return source.read(box)
