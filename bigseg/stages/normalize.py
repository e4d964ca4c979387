"""One intensity range per channel: percentiles of the whole image, from histograms of its blocks.

The step `normalize` counts the upper 16 bits of every value. Where values are wider, the step
`refine` (this module again, with `fine`) counts the lower bits in the few bins that matter, so that
percentiles are exact; see `core.intensity`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bigseg import files
from bigseg.core.filters import Filters
from bigseg.core.intensity import (
    BINS,
    Counts,
    fine_histogram,
    histogram,
    is_exact_in_one_pass,
    percentiles_of,
    sort_keys,
    wanted_bins,
)
from bigseg.errors import ImageError
from bigseg.grid import Block, Box, Grid, Index, grow, intersection, within
from bigseg.io.volume import Volume
from bigseg.specs.segment import Per
from bigseg.types import Facts, StageSpec


class Sight(BaseModel):
    """How voxels are looked at before their intensities are counted or rescaled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mix: bool = False
    """Whether channels are averaged to grey."""
    smooth: float = 0.0
    sharpen: float = 0.0
    """See `core.filters`."""

    @property
    def filters(self) -> Filters:
        return Filters(self.smooth, self.sharpen)

    @property
    def plain(self) -> bool:
        """Whether voxels stay what they are."""
        return not (self.mix or self.filters.reach)


def look(volume: Volume, box: Box, channels: tuple[int, ...], sight: Sight) -> NDArray[Any]:
    """Voxels of a (t, z, y, x) box of one frame, as the whole image would have them: (c, z, y, x).

    They keep their type unless something is done to them.
    """
    reach = sight.filters.reach
    t, _, z, y, x = volume.shape
    wide = grow(box, (0, 0, reach, reach), (t, z, y, x))
    data: NDArray[Any] = volume.read(wide, channels)[0]
    if sight.mix:
        data = data.mean(0, dtype=np.float32, keepdims=True)
    if not reach:
        return data
    filtered = np.stack([sight.filters.apply(channel) for channel in data])
    return filtered[(slice(None), *within(box, wide)[1:])]


class Spec(StageSpec):
    """What histograms are made of."""

    run: str
    image: str
    level: int
    channels: tuple[int, ...]
    shape: Index
    """(t, z, y, x)."""
    block: Index
    """(t, z, y, x), multiples of the image's chunks."""
    dtype: str
    percentiles: tuple[float, float]
    per: Per
    sight: Sight = Sight()
    fine: bool = False

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, (0, 0, 0, 0))

    @property
    def scratch(self) -> str:
        return files.join(self.run, "scratch", "refine" if self.fine else "normalize")


def ranges_url(run: str) -> str:
    """Where the ranges of a run are: JSON, low and high by frame (or one for all) and channel."""
    return files.join(run, "tables", "intensity.json")


def ranges(run: str) -> list[list[tuple[float, float]]]:
    """Low and high of each channel: one entry, or one for each frame, or for each plane of each."""
    found = json.loads(files.get(ranges_url(run)))
    return [[(low, high) for low, high in frame] for frame in found]


def check(spec: Spec) -> None:
    """Nothing can be wrong that opening the image has not found."""


def prepare(spec: Spec) -> None:
    """Histograms are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> NDArray[Any]:
    """Voxels of the block: (1, c, z, y, x)."""
    return look(Volume.open(spec.image, spec.level), block.write, spec.channels, spec.sight)[None]


def block(spec: Spec, block: Block, data: NDArray[Any]) -> Facts:
    """Count the values of each channel."""
    return _store(spec, block, [data[0]])


def leave_out(spec: Spec, block: Block) -> Facts:
    """Count what can be read, stored object by stored object.

    Raises
    ------
    ImageError
        If other voxels were counted before: ranks would be looked for among the wrong ones.
    """
    volume = Volume.open(spec.image, spec.level)
    parts: list[NDArray[Any]] = []
    for stored in Grid(spec.shape, volume.unit, (0, 0, 0, 0)).meeting(block.write):
        box = intersection(stored.write, block.write)
        with suppress(Exception):  # each store and codec has exceptions of its own
            parts.append(look(volume, box or block.write, spec.channels, spec.sight))
    if spec.fine:
        coarse = spec.model_copy(update={"fine": False})
        before, (now, _) = _sum(coarse, [block]), _counts(coarse, block, parts)
        if not all((a == b).all() for a, b in zip(before, now, strict=True)):
            raise ImageError(
                f"Block {block.id} of {spec.image} could be read once, and cannot now, so "
                "it cannot be left out; see that the image is reachable and continue the run."
            )
    return _store(spec, block, parts)


def _store(spec: Spec, block: Block, parts: Sequence[NDArray[Any]]) -> Facts:
    """Store how often values occur in parts of a block, (c, z, y, x) each."""
    counts, counted = _counts(spec, block, parts)
    files.put(files.join(spec.scratch, f"{block.id}.npz"), _pack(counts))
    voxels = sum(part.size for part in parts)
    return {"voxels": int(voxels), "ignored": int(voxels - counted)}


def _counts(spec: Spec, block: Block, parts: Sequence[NDArray[Any]]) -> tuple[list[Counts], int]:
    """Histograms of each channel, and how many values have a place in them."""
    channels = 1 if spec.sight.mix else len(spec.channels)
    bins = _bins(spec.run)[_frame(spec, block)] if spec.fine else [[]] * channels
    counts = [np.zeros((len(b) if spec.fine else 1, BINS), np.int64) for b in bins]
    counted = 0
    for part in parts:
        for channel, total, wanted in zip(part, counts, bins, strict=True):
            keys = sort_keys(channel)
            total += fine_histogram(keys, wanted) if spec.fine else histogram(keys)[None]
            counted += keys.size
    return counts, counted


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Add the histograms up and read the percentiles off; or the bins that `refine` must count."""
    exact = spec.fine or is_exact_in_one_pass(spec.dtype)
    coarse = spec.model_copy(update={"fine": False})
    if not any(fact["voxels"] for fact in facts):
        raise ImageError(
            f"Nothing of {spec.image} can be read, so there is nothing to segment; "
            f"'bigseg status {spec.run}' says why."
        )
    result: list[Any] = []
    for _, blocks in _frames(spec):
        totals = _sum(coarse, blocks)
        _refuse_empty(spec, totals)
        if not exact:
            result.append([wanted_bins(counts[0], spec.percentiles) for counts in totals])
            continue
        lower: list[Any] = [None] * len(totals)
        if spec.fine:
            bins = _bins(spec.run)[len(result)]
            lower = list(zip(bins, _sum(spec, blocks), strict=True))
        result.append(
            [
                percentiles_of(counts[0], spec.percentiles, spec.dtype, fine)
                for counts, fine in zip(totals, lower, strict=True)
            ]
        )
    url = ranges_url(spec.run) if exact else _bins_url(spec.run)
    files.put(url, json.dumps(result).encode())
    ignored = sum(fact["ignored"] for fact in facts)
    return {"ranges" if exact else "bins": result, "ignored": ignored}


def _refuse_empty(spec: Spec, totals: Sequence[Counts]) -> None:
    names = [f"Channel {channel}" for channel in spec.channels]
    if spec.sight.mix:
        names = ["The mean of all channels"]
    for name, counts in zip(names, totals, strict=True):
        if not counts.any():
            raise ImageError(
                f"{name} of {spec.image} has no finite value (all NaN or infinite), "
                "so there is nothing to segment; choose other --channels."
            )


def _frames(spec: Spec) -> Iterator[tuple[int, list[Block]]]:
    """Blocks that share a range."""
    for frame, blocks in groupby(spec.grid, key=lambda b: _frame(spec, b)):
        yield frame, list(blocks)


def _frame(spec: Spec, block: Block) -> int:
    """Number of the range that a block belongs to."""
    t, z = block.write[0].start, block.write[1].start
    return {"image": 0, "frame": int(t), "plane": int(t * spec.shape[1] + z)}[spec.per]


def _sum(spec: Spec, blocks: Sequence[Block]) -> list[Counts]:
    totals: list[Counts] = []
    for one in blocks:
        counts = _unpack(files.get(files.join(spec.scratch, f"{one.id}.npz")))
        totals = [a + b for a, b in zip(totals, counts, strict=True)] if totals else counts
    return totals


def _pack(counts: Sequence[Counts]) -> bytes:
    """Store only the bins that were hit."""
    arrays: dict[str, Any] = {}
    for channel, rows in enumerate(counts):
        places = np.flatnonzero(rows)
        arrays[f"rows{channel}"] = np.array(len(rows))
        arrays[f"places{channel}"] = places.astype(np.uint32)
        arrays[f"counts{channel}"] = rows.ravel()[places]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _unpack(data: bytes) -> list[Counts]:
    result = []
    with np.load(io.BytesIO(data)) as arrays:
        for channel in range(len(arrays.files) // 3):
            rows = np.zeros((int(arrays[f"rows{channel}"]), BINS), np.int64)
            rows.ravel()[arrays[f"places{channel}"]] = arrays[f"counts{channel}"]
            result.append(rows)
    return result


def _bins_url(run: str) -> str:
    return files.join(run, "scratch", "normalize", "bins.json")


def _bins(run: str) -> list[list[list[int]]]:
    found: list[list[list[int]]] = json.loads(files.get(_bins_url(run)))
    return found
