"""Make an OME-Zarr image of TIFF, PNG, npy, zarr and more, streaming so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import ImageError, OutputExists
from bigseg.grid import Block, Grid, Index
from bigseg.io.create import create_arrays, publish
from bigseg.io.ome import AXES, Image, Version
from bigseg.io.plan import plan_image
from bigseg.io.pyramid import level_grid, shrink_block
from bigseg.io.source import Source
from bigseg.io.stack import opened_all
from bigseg.io.store import read_node
from bigseg.io.volume import Volume

BLOCKS = {True: (64, 512, 512), False: (1, 4096, 4096)}
"""What is stored as one object in 3D and in 2D: many slices deep would mean decoding each often."""
_SLAB = 128 * 2**20
"""Bytes to hold of the source at once, unless one stored object is more."""

Progress = Callable[[int, int], None]


def convert(
    sources: Sequence[str],
    output: str,
    *,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
    version: Version = "0.5",
    block: Index | None = None,
    progress: Progress | None = None,
) -> Image:
    """Write an OME-Zarr image with its pyramid; the sources are only read.

    Memory depends on the block, not on the size of the sources. If anything fails, nothing is left
    at `output`; an interrupted conversion is no image, as its metadata come last.

    Parameters
    ----------
    sources
        Files, folders or patterns; several are stacked, see `bigseg.io.stack.opened_all`.
    output : str
        Local path or fsspec URL, where nothing may be yet.
    axes : str or None
        Names of the axes in the order of the sources, for example "tzyx"; None if they say it.
    voxel_size : (z, y, x) or (y, x), or None
        In micrometers; None takes what the sources say.
    version : "0.4" or "0.5"
    block : (z, y, x) or None
        Shape of one stored object.
    progress
        Called with the number of blocks done and of all.

    Raises
    ------
    OutputExists
        If something is at `output`.
    NotFound, ImageError
        If a source is missing or unclear, or sources do not fit together.
    """
    if version not in ("0.4", "0.5"):
        raise ImageError(f"NGFF {version} cannot be written; choose 0.5 (zarr v3) or 0.4 (v2).")
    _check_output(sources, output)
    with opened_all(list(sources), axes) as source:
        plan = _planned(source, files.absolute(output), voxel_size, version, block)
        try:
            create_arrays(plan)
            _fill(source, plan, progress or (lambda done, of: None))
            publish(plan, windows=_windows(plan))
        except BaseException:
            files.remove(output)  # nothing was there before
            raise
    return plan


def _check_output(sources: Sequence[str], output: str) -> None:
    if files.exists(output):
        raise OutputExists(f"{output} exists already; delete it or choose another name.")
    for source in sources:
        inside = files.absolute(output).startswith(files.absolute(source).rstrip("/") + "/")
        if inside and read_node(source) is not None:
            raise ImageError(f"{output} lies inside the zarr {source}; choose a place outside.")


def _planned(
    source: Source,
    url: str,
    voxel_size: Sequence[float] | None,
    version: Version,
    block: Index | None,
) -> Image:
    axes = tuple(axis for axis in AXES if axis in source.axes)
    shape = tuple(source.shape[source.axes.index(axis)] for axis in axes)
    if 0 in shape:
        raise ImageError(f"{source.name} is empty: its shape is {source.shape}.")
    scale, units = dict(source.scale), dict(source.units)
    if voxel_size is not None:
        given = _voxel_size(voxel_size)
        scale |= given
        units |= dict.fromkeys(given, "micrometer")
    depth = dict(zip(axes, shape, strict=True)).get("z", 1)
    plan = plan_image(
        url,
        axes,
        shape,
        source.dtype,
        tuple(scale.get(axis, 1.0) for axis in axes),
        block or BLOCKS[depth > 1],
        version,
    )
    count = dict(zip(axes, shape, strict=True)).get("c", 1)
    channels = source.channels if len(source.channels) == count else ()
    return replace(plan, units={a: units[a] for a in axes if a in units}, channels=channels)


def _voxel_size(sizes: Sequence[float]) -> dict[str, float]:
    if len(sizes) in (2, 3) and all(0 < size < float("inf") for size in sizes):
        return dict(zip("zyx"[-len(sizes) :], map(float, sizes), strict=True))
    raise ImageError(
        f"The voxel size must be two or three positive numbers (z, y, x) in micrometers, "
        f"not {tuple(sizes)}."
    )


def _fill(source: Source, plan: Image, progress: Progress) -> None:
    volumes = [Volume(plan, number) for number in range(len(plan.levels))]
    slabs = _slabs(volumes[0])
    coarser = [(fine, coarse, level_grid(coarse)) for fine, coarse in pairwise(volumes)]
    total = len(slabs) + sum(len(grid) for _, _, grid in coarser)
    done = 0
    for slab in slabs:
        data = _read(source, slab)
        for channel in range(data.shape[1]):
            volumes[0].write(slab.write, data[:, channel], channel)
        progress(done := done + 1, total)
    for fine, coarse, grid in coarser:
        for part in grid:
            shrink_block(fine, coarse, part.write, labels=False)
            progress(done := done + 1, total)


def _windows(plan: Image) -> list[tuple[float, float]]:
    """Range of each channel in which viewers should show it: of the coarsest level's middle frame.

    Without it they would show a 12-bit image that is stored in 16 bits as black.
    """
    if not plan.channels:
        return []
    coarsest = Volume(plan, len(plan.levels) - 1)
    t, channels, z, y, x = coarsest.shape
    box = (slice(t // 2, t // 2 + 1), slice(z // 3, z - z // 3), slice(0, y), slice(0, x))
    windows = []
    for channel in range(channels):
        values = coarsest.read(box, (channel,)).astype(np.float64)
        finite = values[np.isfinite(values)]
        low, high = np.percentile(finite, (0.1, 99.9)) if finite.size else (0.0, 1.0)
        windows.append((float(low), float(max(high, low + 1e-6))))
    return windows


def _slabs(volume: Volume) -> Grid:
    """Whole stored objects, as many along x and then y as memory allows.

    Files are decoded plane by plane, so wide slabs decode each plane fewer times.
    """
    t, channels, z, y, x = volume.shape
    shape, slab = (t, z, y, x), list(volume.unit)
    for axis in (3, 2):
        size = prod(slab) * channels * volume.dtype.itemsize
        slab[axis] *= max(1, min(_SLAB // size, ceil(shape[axis] / slab[axis])))
    return Grid(shape, tuple(slab), (0, 0, 0, 0))


def _read(source: Source, slab: Block) -> NDArray[Any]:
    """(t, c, z, y, x) voxels of a slab."""
    t, z, y, x = slab.write
    by = dict(zip(AXES, (t, slice(None), z, y, x), strict=True))
    data = source.read(tuple(by[axis] for axis in source.axes))
    order = sorted(range(data.ndim), key=lambda i: AXES.index(source.axes[i]))
    lacking = tuple(i for i, axis in enumerate(AXES) if axis not in source.axes)
    return np.expand_dims(data.transpose(order), lacking)
