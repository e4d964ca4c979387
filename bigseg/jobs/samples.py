"""Samples of an image that show, all together, what the image does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

import numpy as np
from numpy.typing import DTypeLike
from skimage.filters import threshold_otsu

from bigseg.grid import Box, Index, size, within
from bigseg.io.create import create_image
from bigseg.io.ome import AXES
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs.sampling import tiles_of
from bigseg.types import Floats

TINY, PILOT = {2: (32, 1), 3: (16, 1)}, {2: (160, 6), 3: (64, 1)}
"""Edge, voxels, and number of the samples that tell what a block costs, and how fast it goes."""
EDGES = {2: (640, 320, 160), 3: (192, 128, 96)}
"""Of larger samples. A network that sees less than several objects at once is not sure of anything:
in a volume of nuclei it keeps 2.6 times as much of 64 voxels as of them in the whole, and no more
of 96."""
SAMPLES = {2: 6, 3: 3}
"""That larger samples should be; with fewer, smaller ones are better."""
LITTLE = 3
"""Times as long as the first samples may all of an image take, to be looked at instead."""
FILLED = 16
"""Pixels by which a network's planes are longer than a sample, about."""
STRIDE = 16
CANDIDATES = 32
"""Places that are looked at, of which the samples are those that stand for all best."""
GLANCE = 1 << 16
"""Voxels that a look at a candidate takes, about."""
FACTOR = 4.0
"""Times as wide as those of the image may voxels be of a level that is good enough for that."""


def pilot(volume: Volume, ndim: int) -> tuple[Index, int]:
    """Shape and number of the samples that come first: all, if that takes little longer."""
    first, whole = of_edge(volume, ndim, *PILOT[ndim]), _everything(volume, ndim)
    return whole if filled(*whole) <= LITTLE * filled(*first) else first


def choose(volume: Volume, ndim: int, most: float) -> tuple[Index, int] | None:
    """Shape and number of samples that take as long as so many voxels; None if none do."""
    whole = _everything(volume, ndim)
    if filled(*whole) <= most:
        return whole
    for edge in EDGES[ndim]:
        shape = _sample(volume, ndim, edge)
        count = int(most / filled(shape, 1))
        if count >= (SAMPLES[ndim] if edge != EDGES[ndim][-1] else 1):
            return shape, count
    return None


def _everything(volume: Volume, ndim: int) -> tuple[Index, int]:
    frames, _, depth, y, x = volume.shape
    return ((depth, y, x), frames) if ndim == 3 else ((1, y, x), frames * depth)


def of_edge(volume: Volume, ndim: int, edge: int, count: int) -> tuple[Index, int]:
    """So many samples, that wide."""
    return _sample(volume, ndim, edge), count


def filled(shape: Index, count: int) -> float:
    """Voxels of samples as a network is shown them, which is what takes time."""
    return count * prod(n + FILLED for n in shape if n > 1)


def _sample(volume: Volume, ndim: int, edge: int) -> Index:
    """(z, y, x) of a sample: a cube in voxels' own lengths, or a plane."""
    _, _, *space = volume.shape
    z, _, x = volume.spacing
    if ndim == 2:
        edges = [1, edge, edge]
    else:
        deep = ceil(edge * min(x / z, 1.0) / STRIDE) * STRIDE
        edges = [max(deep, 8), edge, edge]
    return tuple(min(e, n) for e, n in zip(edges, space, strict=True))


def is_whole(volume: Volume, shape: Index) -> bool:
    """Whether a sample is a frame, or a plane of it."""
    return volume.shape[3:] == shape[1:] and shape[0] in (1, volume.shape[2])


@dataclass(frozen=True)
class Sample:
    """A part of an image that is shown, and what of it is looked at."""

    shown: Box
    """(t, z, y, x)."""
    kept: Box
    """Without what lies near a face at which it is cut, where a network is sure of nothing."""
    shape: Index
    """(t, z, y, x) of the image."""

    @property
    def inner(self) -> Box:
        """What is looked at, (z, y, x), in voxels of what is shown."""
        return within(self.kept, self.shown)[1:]

    @property
    def share(self) -> float:
        """Voxels that are looked at, of those that are shown."""
        return prod(size(self.kept)) / prod(size(self.shown))

    def reach(self, axis: int, span: tuple[int, int], reach: float) -> float:
        """Length of an interval along an axis, and so much more on each side with more beyond it.

        Objects are seen of which a part lies in it, so it stands for as much more.
        """
        start, stop = span
        before, after = start > 0, stop < self.shape[axis]
        return stop - start + reach * (before + after)


def cut_samples(
    volume: Volume, channel: int, shape: Index, count: int, margin: Index
) -> list[Sample]:
    """Choose so many parts of an image; see `typical`.

    Parameters
    ----------
    shape
        (z, y, x) of what is shown.
    margin
        (z, y, x) voxels that are shown and not looked at, along faces that are cut.
    """
    t, _, *space = volume.shape
    whole = (t, *space)
    found = []
    for box in tiles_of(whole, (1, *shape), max(count, CANDIDATES)):
        kept = [box[0]]
        for span, n, edge, rim in zip(box[1:], space, shape, margin, strict=True):
            rim = min(rim, edge // 4)
            low, high = rim * (span.start > 0), rim * (span.stop < n)
            kept.append(slice(span.start + low, span.stop - high))
        found.append(Sample(box, tuple(kept), whole))
    return typical(volume, channel, found, count)


def copy_samples(
    volume: Volume, channels: tuple[int, ...], samples: Sequence[Sample], url: str, mask: str
) -> bool:
    """Make an image whose frames are samples, and a mask of what is looked at if it is not all."""
    shape = size(samples[0].shown)[1:]
    axes = tuple(axis for axis in AXES if axis in (*volume.axes, "t"))
    scale = {"t": 1.0} | dict(zip(volume.axes, volume.level.scale, strict=True))
    by = dict(zip(AXES, (len(samples), volume.shape[1], *shape), strict=True))

    def create(url: str, axes: tuple[str, ...], dtype: DTypeLike) -> Volume:
        plan = plan_image(
            url,
            axes,
            tuple(by[axis] for axis in axes),
            dtype,
            tuple(scale[axis] for axis in axes),
            (min(shape[0], 64), 64, 64),
        )
        named = volume.image.channels if "c" in axes else ()
        units = {axis: unit for axis, unit in volume.units.items() if axis in axes}
        create_image(replace(plan, units=units, channels=named))
        return Volume.open(url)

    made = create(url, axes, volume.dtype)
    partly = any(sample.share < 1 for sample in samples)
    looked = create(mask, tuple(a for a in axes if a != "c"), np.uint8) if partly else None
    for frame, sample in enumerate(samples):
        data, place = volume.read(sample.shown, channels)[0], _whole(frame, shape)
        for number, channel in enumerate(dict.fromkeys(channels)):
            made.write(place, data[None, number], channel)
        if looked is not None:
            inside = np.zeros((1, *shape), np.uint8)
            inside[0][sample.inner] = 1
            looked.write(place, inside)
    return partly


def _whole(frame: int, shape: Index) -> Box:
    return (slice(frame, frame + 1), *(slice(0, n) for n in shape))


def typical(volume: Volume, channel: int, samples: Sequence[Sample], count: int) -> list[Sample]:
    """So many samples that hold as much, all together, as the image does.

    A few that lie anywhere would hold too much or too little: objects crowd. So more places are
    looked at, at a coarser level where there is one, for the share of their voxels that is bright;
    they are parted into groups from the emptiest to the fullest, and the most usual of each taken.

    Parameters
    ----------
    volume
        Level of the image that samples are cut from.
    channel
        That is looked at.
    samples
        Places to choose from, spread evenly.
    count
        Samples; there are fewer where the image has no more.
    """
    if len(samples) <= count:
        return list(samples)
    seen = [_glance(volume, channel, sample.kept) for sample in samples]
    everything = np.concatenate(seen)
    if everything.min() == everything.max():
        return list(samples[:count])
    bright = threshold_otsu(everything)
    shares = np.array([np.mean(voxels > bright) for voxels in seen])
    groups = np.array_split(np.argsort(shares, kind="stable"), count)
    chosen = (group[np.argmin(abs(shares[group] - shares[group].mean()))] for group in groups)
    return [samples[number] for number in sorted(map(int, chosen))]


def _glance(volume: Volume, channel: int, box: Box) -> Floats:
    """Some voxels of a box, evenly spread."""
    coarse = volume
    for number in range(volume.number + 1, len(volume.image.levels)):
        level = Volume(volume.image, number)
        if level.spacing[2] <= FACTOR * volume.spacing[2]:
            coarse = level
    ratios = [m / n for n, m in zip(volume.shape[2:], coarse.shape[2:], strict=True)]
    spans = [
        slice(int(s.start * r), max(int(s.stop * r), int(s.start * r) + 1))
        for s, r in zip(box[1:], ratios, strict=True)
    ]
    found = coarse.read((box[0], *spans), (channel,)).ravel()
    return found[:: max(found.size // GLANCE, 1)].astype(np.float32)
