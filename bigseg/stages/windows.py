"""Intensity ranges of windows of the image, where bright and dark regions shall become alike.

Windows are cut from the image, never from blocks, and all are known before any block is predicted,
so no block sees a range of its own; see `core.local_range`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.local_range import (
    range_at,
    rescale_locally,
    smooth_ranges,
    window_counts,
    window_ranges,
)
from bigseg.errors import ImageError
from bigseg.grid import Block, Box, Grid, Index, size
from bigseg.io.volume import Volume
from bigseg.stages.normalize import Sight, look
from bigseg.types import Facts, Floats, StageSpec


class Spec(StageSpec):
    """What ranges are made of."""

    run: str
    image: str
    level: int
    channels: tuple[int, ...]
    sight: Sight = Sight()
    shape: Index
    """(t, z, y, x)."""
    block: Index
    """(t, z, y, x), multiples of windows."""
    window: Index
    """(z, y, x)."""
    percentiles: tuple[float, float]

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, (0, 0, 0, 0))


def ranges_url(run: str) -> str:
    """Where ranges are: npy (t, c, 2, z, y, x) float32, low and high of each window."""
    return files.join(run, "tables", "windows.npy")


def part_url(spec: Spec, block: Block) -> str:
    """Where the windows of a block are until all are known."""
    return files.join(spec.run, "scratch", "windows", f"{block.id}.npy")


def check(spec: Spec) -> None:
    """Nothing can be wrong that opening the image has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> NDArray[Any]:
    """Voxels of the block: (c, z, y, x)."""
    return look(Volume.open(spec.image, spec.level), block.write, spec.channels, spec.sight)


def block(spec: Spec, block: Block, data: NDArray[Any]) -> Facts:
    """Find the percentiles of each window."""
    return _store(spec, block, data)


def _store(spec: Spec, block: Block, data: NDArray[Any]) -> Facts:
    found = [window_ranges(channel, spec.window, spec.percentiles) for channel in data]
    buffer = io.BytesIO()
    np.save(buffer, np.stack(found))
    files.put(part_url(spec, block), buffer.getvalue())
    return {"windows": int(np.prod(found[0].shape[1:]))}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Say that no window of a block has a range; those around it lend theirs."""
    channels = 1 if spec.sight.mix else len(spec.channels)
    return _store(spec, block, np.zeros((channels, *size(block.write)[1:]), np.float32))


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Join the windows of all blocks and smooth them, frame by frame and channel by channel."""
    frames, *space = spec.shape
    counts = window_counts(tuple(space), spec.window)
    tables: NDArray[np.float64] | None = None
    for one in spec.grid:
        part = np.load(io.BytesIO(files.get(part_url(spec, one))))
        if tables is None:
            tables = np.zeros((frames, len(part), 3, *counts))
        corner = [s.start // w for s, w in zip(one.write[1:], spec.window, strict=True)]
        place = tuple(slice(a, a + n) for a, n in zip(corner, part.shape[2:], strict=True))
        tables[(one.write[0].start, slice(None), slice(None), *place)] = part
    if tables is None or not tables[:, :, 2].any():
        raise ImageError(
            f"No window of {spec.image} has an intensity range (all NaN, infinite or constant), so "
            "there is nothing to segment; choose other --channels."
        )
    smooth = np.stack([[smooth_ranges(channel) for channel in frame] for frame in tables])
    buffer = io.BytesIO()
    np.save(buffer, smooth.astype(np.float32))
    files.put(ranges_url(spec.run), buffer.getvalue())
    return {"windows": sum(fact["windows"] for fact in facts)}


def rescaled(run: str, window: Index, shape: Index, box: Box, data: NDArray[Any]) -> Floats:
    """Normalise voxels (c, z, y, x) of a (t, z, y, x) box of an image by its windows."""
    frame = _stored(ranges_url(run))[box[0].start]
    done = [
        rescale_locally(values, *range_at(bounds, shape[1:], window, box[1:]))
        for values, bounds in zip(data, frame, strict=True)
    ]
    return np.stack(done)


def usual_ranges(run: str) -> list[list[tuple[float, float]]]:
    """Median range of the windows of each channel, for each frame; empty if none are known yet."""
    try:
        found = np.median(_stored(ranges_url(run)), (3, 4, 5))
    except FileNotFoundError:
        return []
    return [[(float(low), float(high)) for low, high in frame] for frame in found]


def _stored(url: str) -> Floats:
    """Ranges of a run; not kept in memory, since a later run may have the same URL."""
    found: Floats = np.load(io.BytesIO(files.get(url)))
    return found
