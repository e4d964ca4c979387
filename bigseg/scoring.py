"""Compare two label images of any size: contingency tables of blocks add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.metrics import Scores, score
from bigseg.core.overlap import Counts, Pairs, add_counts, contingency
from bigseg.errors import ImageError
from bigseg.grid import Block, Box, Grid, Index
from bigseg.io.images import opened
from bigseg.io.labels import find_labels
from bigseg.io.source import Source, named
from bigseg.io.store import read_node
from bigseg.io.volume import Volume
from bigseg.run.machine import cores

BLOCK = (1, 64, 1024, 1024)
"""Voxels (t, z, y, x) compared at once, as far as whole stored objects allow."""
FRAME_SHIFT = np.uint64(40)
"""Ids of frame t are counted as id + t · 2⁴⁰: objects of different frames are different objects."""

Reader = Callable[[Box], NDArray[Any]]
"""Labels (t, z, y, x) of a box."""
Table = tuple[Pairs, Counts]


def evaluate(prediction: str, truth: str, *, workers: int | None = None) -> Scores:
    """Judge a label image by the ground truth.

    Block by block in threads of this process: memory depends on the number of objects, not of
    voxels, and the scores are those of the whole arrays. In a series every frame has objects of its
    own, whether ids go on from frame to frame or not.

    Parameters
    ----------
    prediction
        OME-Zarr label image, or an image with exactly one.
    truth
        The same, or a TIFF, PNG or npy mask, of the same shape.
    workers
        Threads; None: as many as cores.

    Raises
    ------
    NotFound, ImageError
        If one of them is missing, holds no integers, or their shapes differ.
    """
    with _labels(prediction, None) as (shape, unit, predicted):
        axes = "".join(axis for axis, n in zip("tzyx", shape, strict=True) if n > 1 or axis in "yx")
        with _labels(truth, axes) as (true_shape, _, true):
            if shape != true_shape:
                raise ImageError(
                    f"{prediction} has shape (t, z, y, x) = {shape}, but {truth} has {true_shape}; "
                    "they must be of the same image and level."
                )
            count = partial(_count, predicted, true)
            grid = Grid(shape, _multiple(unit), (0, 0, 0, 0))
            tables = _windowed(count, grid, workers or cores())
            return score(*add_counts(list(tables)))


def _windowed(count: Callable[[Block], Table], grid: Grid, workers: int) -> Iterator[Table]:
    """Tables of all blocks, summed a few at a time so that they do not pile up."""
    blocks = iter(grid)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(blocks, 8 * workers)):
            yield add_counts(list(pool.map(count, batch)))


def _count(predicted: Reader, true: Reader, block: Block) -> Table:
    frame = np.uint64(block.write[0].start)
    pairs, counts = contingency(predicted(block.write), true(block.write))
    pairs = np.where(pairs > 0, pairs + (frame << FRAME_SHIFT), pairs)
    return pairs, counts


def _multiple(unit: Index) -> Index:
    """Whole stored objects, at least about as large as BLOCK."""
    return tuple(-(-b // u) * u for b, u in zip(BLOCK, unit, strict=True))


@contextmanager
def _labels(url: str, axes: str | None) -> Iterator[tuple[Index, Index, Reader]]:
    """Shape (t, z, y, x), shape of a stored object, and reader of a label image or mask."""
    place = files.absolute(url)
    if read_node(place) is not None:
        volume = Volume.open(find_labels(place))
        _check_type(url, volume.dtype)
        t, _, z, y, x = volume.shape
        yield (t, z, y, x), volume.unit, lambda box: volume.read(box)[:, 0]
        return
    with opened(place) as source:
        understood = set(source.axes.lower()) <= set("tzyx")
        mask = named(source, None if understood or len(axes or "") != len(source.shape) else axes)
        if "c" in mask.axes:
            raise ImageError(f"{url} has channels (axes {mask.axes}); a mask has none.")
        _check_type(url, mask.dtype)
        length = dict(zip(mask.axes, mask.shape, strict=True))
        shape = tuple(length.get(axis, 1) for axis in "tzyx")
        yield shape, (1, 1, 1, 1), partial(_read_mask, mask)


def _read_mask(mask: Source, box: Box) -> NDArray[Any]:
    by_axis = dict(zip("tzyx", box, strict=True))
    data = mask.read(tuple(by_axis[axis] for axis in mask.axes))
    data = data.transpose([mask.axes.index(axis) for axis in "tzyx" if axis in mask.axes])
    return np.expand_dims(data, tuple(i for i, axis in enumerate("tzyx") if axis not in mask.axes))


def _check_type(url: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "ui":
        raise ImageError(f"{url} holds {dtype}, but labels are integers.")
