"""Labels to read box by box, wherever they are: label images, plain arrays, mask files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.errors import ImageError
from bigseg.grid import Box
from bigseg.io.images import opened
from bigseg.io.labels import find_labels
from bigseg.io.ome import AXES
from bigseg.io.source import Source
from bigseg.io.store import read_node
from bigseg.io.volume import Volume

SPACETIME = "tzyx"


@dataclass(frozen=True)
class Mask:
    """Labels as (t, z, y, x), or with axes that nobody has named yet."""

    name: str
    """URL, for messages."""
    axes: str
    """As stored, without channels; empty if they are not known."""
    shape: tuple[int, ...]
    """(t, z, y, x), or as stored where the axes are not known."""
    unit: tuple[int, ...]
    """Stored objects; blocks that are multiples of it read nothing twice."""
    read: Callable[[Box], NDArray[Any]]
    """Labels of a box over `shape`, non-negative whole numbers."""

    def like(self, other: Mask) -> Mask:
        """These labels on the axes of `other`, if they have as many voxels in the same order.

        Files often do not name their axes, or call the slices of a volume frames.
        """
        lengths = tuple(n for n in self.shape if n > 1)
        if self.shape == other.shape or lengths != tuple(n for n in other.shape if n > 1):
            return self
        real = [axis for axis, n in enumerate(other.shape) if n > 1]
        own, inner = self.shape, self.read

        def read(box: Box) -> NDArray[Any]:
            wanted = iter([box[axis] for axis in real])
            there = tuple(next(wanted) if n > 1 else slice(0, 1) for n in own)
            return inner(there).reshape([s.stop - s.start for s in box])

        return replace(self, axes=other.axes, shape=other.shape, unit=other.unit, read=read)


@contextmanager
def opened_mask(url: str) -> Iterator[Mask]:
    """Open labels for reading from several threads.

    Parameters
    ----------
    url : str
        A label image, an image with exactly one, a plain zarr array, or a file that
        `bigseg.io.images.opened` knows: TIFF, PNG, npy.

    Raises
    ------
    NotFound
        If nothing is there.
    ImageError
        If there are no labels: floats, several channels, several label images.
    """
    node = read_node(url)
    if node is not None and node.kind == "group":
        volume = Volume.open(find_labels(url))
        _check(volume.image.url, volume.dtype, volume.shape[1])
        axes = "".join(axis for axis in volume.axes if axis != "c")
        t, _, z, y, x = volume.shape
        yield Mask(url, axes, (t, z, y, x), volume.unit, lambda box: volume.read(box)[:, 0])
        return
    with opened(url) as source:
        yield _from_source(source)


def _from_source(source: Source) -> Mask:
    channels = dict(zip(source.axes, source.shape, strict=True)).get("c", 1)
    _check(source.name, source.dtype, channels)
    lock = threading.Lock()  # readers of files share one position in the file
    known = set(source.axes) <= set(AXES) and len(set(source.axes)) == len(source.axes)
    if not known:

        def read_as_stored(box: Box) -> NDArray[Any]:
            with lock:
                return np.asarray(source.read(box))

        return Mask(source.name, "", source.shape, source.shape, read_as_stored)
    kept = [axis for axis in source.axes if axis != "c"]
    order = [kept.index(axis) for axis in SPACETIME if axis in kept]
    lacking = tuple(i for i, axis in enumerate(SPACETIME) if axis not in kept)
    length = dict(zip(source.axes, source.shape, strict=True))

    def read(box: Box) -> NDArray[Any]:
        by = {"c": slice(0, 1), **dict(zip(SPACETIME, box, strict=True))}
        with lock:
            data = np.asarray(source.read(tuple(by[axis] for axis in source.axes)))
        if "c" in source.axes:
            data = data.squeeze(source.axes.index("c"))
        return np.expand_dims(data.transpose(order), lacking)

    shape = tuple(length.get(axis, 1) for axis in SPACETIME)
    return Mask(source.name, "".join(kept), shape, (1, 1, *shape[2:]), read)


def _check(name: str, dtype: np.dtype[Any], channels: int) -> None:
    if dtype.kind not in "ui":
        raise ImageError(
            f"{name} holds {dtype}, but labels are whole numbers, one per object and 0 for "
            "background; give the label image, or convert it to integers."
        )
    if channels > 1:
        raise ImageError(
            f"{name} has {channels} channels, but labels have none; "
            "is this the image and not its labels?"
        )
