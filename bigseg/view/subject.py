"""What a report is about: an image, its labels, their table, and the blocks they were made in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bigseg.core.intensity import rescale
from bigseg.errors import ImageError
from bigseg.grid import Box, Grid, Index, size
from bigseg.io.masks import Mask
from bigseg.io.ome import Image
from bigseg.io.volume import Volume
from bigseg.types import Floats
from bigseg.view.slices import Table

TINTS = ((0.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.2, 0.5, 1.0), (1.0, 1.0, 0.0))
"""Colours of several channels shown together: green, magenta, blue, yellow."""


@dataclass(frozen=True)
class About:
    """What a report says of what was asked for."""

    title: str
    said: str
    """How the labels were made."""
    rows: Sequence[tuple[str, str]]
    """What they were made with, and its name."""
    target: str
    """URL of the labels."""
    settings: BaseModel
    """All that could be chosen."""
    level: int = 0
    """Of the image."""
    anisotropy: float | None = None
    """Voxel height over voxel width, if it was chosen."""
    flow_threshold: float = 0.0
    """Largest flow error; 0 if there is none."""
    filled: bool = False
    """Whether objects are filled in pictures, since they fill all, or there is no image."""
    part: str = "block"
    """What has faces at which objects may be cut."""
    pieces: str = ""
    """What an object consists of besides."""


@dataclass(frozen=True)
class Subject:
    """Everything that the pictures of a report need."""

    about: About
    image: Image
    """Without channels only its axes, sizes and levels mean something."""
    channels: tuple[int, ...]
    ranges: list[list[tuple[float, float]]]
    """Low and high of each channel, for each frame or for all."""
    grid: Grid
    """Blocks of the labels, (t, z, y, x)."""
    ndim: int
    table: Table
    labels: Image | None
    """None if the run has not got that far."""
    borders: Callable[[Box], Sequence[Box]] | None = None
    """Parts whose faces are drawn, those that meet a box; None: the blocks of `grid`."""
    truth: Mask | None = None
    scores: dict[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> Index:
        """(t, z, y, x)."""
        return self.grid.shape

    @property
    def volume(self) -> Volume:
        """Level that was segmented."""
        return Volume(self.image, self.about.level)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Size of a voxel (z, y, x), as the segmentation took it."""
        z, y, x = self.volume.spacing
        tall = self.about.anisotropy
        return (x * tall if tall else z), y, x

    def levels(self) -> list[int]:
        """Levels, from that which was segmented, whose labels fit the image voxel by voxel."""
        pairs = zip(
            self.image.levels[self.about.level :],
            self.labels.levels if self.labels else (),
            strict=False,
        )
        same = []
        for number, (one, other) in enumerate(pairs):
            space = [n for n, a in zip(one.shape, self.image.axes, strict=True) if a != "c"]
            if tuple(space) != other.shape:
                break
            same.append(number)
        return same or [0]

    def shape_at(self, level: int) -> Index:
        """(t, z, y, x) at a level, 0 being that which was segmented."""
        t, _, z, y, x = Volume(self.image, self.about.level + level).shape
        return t, z, y, x

    def read_image(self, box: Box, level: int = 0) -> Floats:
        """Voxels of a box (t, z, y, x) of one frame as (c, z, y, x), scaled for the eye."""
        if not self.channels:
            return np.zeros((1, *size(box)[1:]), np.float32)
        volume = Volume(self.image, self.about.level + level)
        data = _readable(volume, box, self.channels)[0]
        limits = self.ranges[self._range(box)]
        scaled = [rescale(c, *limit) for c, limit in zip(data, limits, strict=True)]
        return np.stack(scaled).astype(np.float32, copy=False)

    def _range(self, box: Box) -> int:
        """Number of the intensity range of a box: one for all, for its frame, or for its plane."""
        frames, depth = self.grid.shape[:2]
        if len(self.ranges) <= frames:
            return int(box[0].start) if len(self.ranges) > 1 else 0
        return int(box[0].start * depth + min((box[1].start + box[1].stop) // 2, depth - 1))

    def read_labels(self, box: Box, level: int = 0) -> NDArray[Any]:
        """Final ids of a box of one frame: (z, y, x); zeros where there are no labels yet."""
        if self.labels is None:
            return np.zeros([s.stop - s.start for s in box[1:]], np.uint32)
        found: NDArray[Any] = Volume(self.labels, level).read(box)[0, 0]
        return found


def _readable(volume: Volume, box: Box, channels: tuple[int, ...]) -> NDArray[Any]:
    """Voxels of a box (t, z, y, x) as (t, c, z, y, x); zeros where stored pieces are damaged.

    A run may have left those out; its page shows all that can be seen.
    """
    try:
        return volume.read(box, channels)
    except ImageError:
        if all(s.stop - s.start <= n for s, n in zip(box, volume.unit, strict=True)):
            t, *space = size(box)
            return np.zeros((t, len(channels), *space), volume.dtype)
    axis = max(range(4), key=lambda a: (box[a].stop - box[a].start) / volume.unit[a])
    unit, side = volume.unit[axis], box[axis]
    middle = max((side.start + side.stop) // 2 // unit, side.start // unit + 1) * unit
    halves = [
        _readable(volume, (*box[:axis], part, *box[axis + 1 :]), channels)
        for part in (slice(side.start, middle), slice(middle, side.stop))
    ]
    return np.concatenate(halves, axis=axis + (axis > 0))


def _exposed(channel: Floats) -> Floats:
    """Brightness for the eye: the brightest spots keep their structure, and so do dim objects."""
    known = np.clip(np.nan_to_num(channel, nan=0.0, posinf=1.0, neginf=0.0), 0, None)
    white = max(float(np.quantile(known, 0.998)), 1.0)
    exposed: Floats = np.clip(known / white, 0, 1) ** np.float32(0.75)
    return exposed


def blend(channels: Floats) -> Floats:
    """(c, y, x) as (y, x) grey, or (y, x, 3) colours if there are several."""
    if len(channels) == 1:
        return _exposed(channels[0])
    parts = [
        _exposed(channel)[..., None] * np.array(tint, np.float32)
        for channel, tint in zip(channels, TINTS, strict=False)
    ]
    mixed: Floats = np.clip(np.sum(parts, axis=0, dtype=np.float32), 0, 1)
    return mixed
