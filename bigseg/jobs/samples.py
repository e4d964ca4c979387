"""Samples of an image that show, all together, what the image does."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, prod

import numpy as np
from skimage.filters import threshold_otsu

from bigseg.grid import Box, Index
from bigseg.io.create import create_image
from bigseg.io.ome import AXES
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs.sampling import tiles_of
from bigseg.types import Floats

TINY, PILOT = {2: (32, 1), 3: (16, 1)}, {2: (160, 6), 3: (64, 1)}
"""Edge, voxels, and number of the samples that tell what a block costs, and how fast it goes."""
EDGES = {2: (640, 320, 160), 3: (192, 96)}
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


def copy_samples(
    volume: Volume, channels: tuple[int, ...], shape: Index, count: int, url: str
) -> int:
    """Make an image whose frames are samples; their number."""
    boxes = typical(volume, channels[0], shape, count)
    axes = tuple(axis for axis in AXES if axis in (*volume.axes, "t"))
    scale = {"t": 1.0} | dict(zip(volume.axes, volume.level.scale, strict=True))
    by = dict(zip(AXES, (len(boxes), volume.shape[1], *shape), strict=True))
    plan = plan_image(
        url,
        axes,
        tuple(by[axis] for axis in axes),
        volume.dtype,
        tuple(scale[axis] for axis in axes),
        (min(shape[0], 64), 64, 64),
    )
    create_image(replace(plan, units=volume.units, channels=volume.image.channels))
    made = Volume.open(url)
    for frame, box in enumerate(boxes):
        data = volume.read(box, channels)[0]
        for number, channel in enumerate(dict.fromkeys(channels)):
            made.write(_whole(frame, shape), data[None, number], channel)
    return len(boxes)


def _whole(frame: int, shape: Index) -> Box:
    return (slice(frame, frame + 1), *(slice(0, n) for n in shape))


def typical(volume: Volume, channel: int, shape: Index, count: int) -> list[Box]:
    """Places of so many samples that hold as much, all together, as the image does.

    A few that lie anywhere would hold too much or too little: objects crowd. So more places are
    looked at, at a coarser level where there is one, for the share of their voxels that is bright;
    they are parted into groups from the emptiest to the fullest, and the most usual of each taken.

    Parameters
    ----------
    volume
        Level of the image that samples are cut from.
    channel
        That is looked at.
    shape
        (z, y, x) of a sample.
    count
        Samples; there are fewer where the image has no more.

    Returns
    -------
    Boxes (t, z, y, x), none twice.
    """
    t, _, *space = volume.shape
    boxes = tiles_of((t, *space), (1, *shape), max(count, CANDIDATES))
    if len(boxes) <= count:
        return boxes
    seen = [_glance(volume, channel, box) for box in boxes]
    everything = np.concatenate(seen)
    if everything.min() == everything.max():
        return boxes[:count]
    bright = threshold_otsu(everything)
    shares = np.array([np.mean(voxels > bright) for voxels in seen])
    groups = np.array_split(np.argsort(shares, kind="stable"), count)
    chosen = (group[np.argmin(abs(shares[group] - shares[group].mean()))] for group in groups)
    return [boxes[number] for number in sorted(map(int, chosen))]


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
