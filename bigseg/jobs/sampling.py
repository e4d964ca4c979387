"""A few planes of an image of any size, as a network would see them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.intensity import rescale
from bigseg.core.local_range import (
    range_at,
    rescale_locally,
    smooth_ranges,
    window_ranges,
)
from bigseg.core.planes import positions, resample
from bigseg.errors import ImageError
from bigseg.grid import Box, Index
from bigseg.io.volume import Volume
from bigseg.specs.segment import Per
from bigseg.stages.normalize import Sight, look
from bigseg.types import Floats

SAMPLES = 8
CANDIDATES = 24
"""Places that are looked at, of which the samples are the ones with most to see."""
EDGE = 512
"""Longest edge of a sample: voxels of the image, and pixels of the network."""
ROOT = 1.1673039782614187
"""Solution of r⁵ = r + 1, whose powers spread points evenly in four dimensions."""


@dataclass(frozen=True)
class View:
    """How the network is shown samples: as `predict` shows it the image."""

    sight: Sight = field(default_factory=Sight)
    percentiles: tuple[float, float] = (1.0, 99.0)
    """Intensities that become 0 and 1."""
    per: Per = "image"
    """Whether they are those of all samples, or of each (for each frame or plane of the image)."""
    intensity: tuple[float, float] | None = None
    """Values that become 0 and 1 instead."""
    invert: bool = False
    window: int | None = None
    """Voxels along y and x of windows that have intensity ranges of their own."""
    restore: str | None = None
    """Name, path or URL of a restoring network that samples go through first."""


PLAIN = View()
"""Percentiles of all samples."""


def draw_samples(volume: Volume, channels: tuple[int, ...], view: View = PLAIN) -> list[Floats]:
    """Planes of an image in which there is something to see.

    Parameters
    ----------
    volume
        Image of any size.
    channels
        Which are read.
    view
        How they are shown; ranges come from all candidates, also from those that are no samples.

    Returns
    -------
    (c, y, x) float32 each
        Normalised; pixels are as high as wide.
    """
    boxes = candidate_boxes((volume.shape[0], *volume.shape[2:]))
    crops = [look(volume, box, channels, view.sight)[:, 0] for box in boxes]
    scaled = [np.empty(crop.shape, np.float32) for crop in crops]
    for channel in range(len(crops[0])):
        values = [crop[channel] for crop in crops]
        if not any(np.isfinite(one).any() for one in values):
            raise ImageError(
                f"Channel {channels[channel]} of {volume.image.url} has no finite value in any "
                "sample, so --diameter auto has nothing to measure; give it with --diameter."
            )
        for sample, shown in zip(scaled, _shown(values, view), strict=True):
            sample[channel] = shown
    best = sorted(range(len(scaled)), key=lambda n: -_contrast(scaled[n]))[:SAMPLES]
    _, tall, wide = volume.spacing
    return [resized(scaled[n], tall / wide, 1.0) for n in sorted(best)]


def _shown(crops: list[NDArray[Any]], view: View) -> list[Floats]:
    """Crops (y, x) of a channel with what is dark at 0 and what is bright at 1."""
    together = view.intensity or _range(crops, view)
    shown = []
    for crop in crops:
        if view.window is not None and view.intensity is None:
            scaled = _locally(crop, (1, view.window, view.window), view.percentiles)
        else:
            own = view.per != "image" and view.intensity is None
            scaled = rescale(crop, *(_range([crop], view) if own else together))
        shown.append(1 - scaled if view.invert else scaled)
    return shown


def _locally(crop: NDArray[Any], window: Index, percentiles: tuple[float, float]) -> Floats:
    """Scale a crop (y, x) by windows of its own, as if there were no more of the image."""
    plane = crop[None]
    smooth = smooth_ranges(window_ranges(plane, window, percentiles))
    everywhere = tuple(slice(0, n) for n in plane.shape)
    scaled: Floats = rescale_locally(plane, *range_at(smooth, plane.shape, window, everywhere))[0]
    return scaled


def _range(crops: list[NDArray[Any]], view: View) -> tuple[float, float]:
    """Percentiles of the finite values of crops."""
    values = np.concatenate([crop[np.isfinite(crop)] for crop in crops])
    low, high = np.percentile(values, view.percentiles) if values.size else (0.0, 1.0)
    return float(low), float(high)


def candidate_boxes(shape: Index) -> list[Box]:
    """Planes all over an image (t, z, y, x), none twice, each as large as a sample may be."""
    edges = (1, 1, min(shape[2], EDGE), min(shape[3], EDGE))
    starts = (
        [int(s * (n - e + 1)) for s, n, e in zip(shares, shape, edges, strict=True)]
        for shares in _spread(CANDIDATES)
    )
    return _boxes(starts, edges)


def tiles_of(shape: Index, edges: Index, count: int) -> list[Box]:
    """At most so many tiles of an image (t, z, y, x), none twice, the rim as likely as others."""
    counts = [-(-n // e) for n, e in zip(shape, edges, strict=True)]
    starts = (
        [
            min(int(s * c) * e, n - e)
            for s, c, e, n in zip(shares, counts, edges, shape, strict=True)
        ]
        for shares in islice(_spread(8 * count), 1, None)  # the first is the middle
    )
    return _boxes(starts, edges)[:count]


def _spread(count: int) -> Iterator[list[float]]:
    """Evenly spread points between 0 and 1, along four axes."""
    for number in range(count):
        yield [(0.5 + number * ROOT ** -(axis + 1)) % 1 for axis in range(4)]


def _boxes(starts: Iterable[Sequence[int]], edges: Index) -> list[Box]:
    """Boxes of equal shape, none twice."""
    boxes: list[Box] = []
    for corner in starts:
        box = tuple(slice(a, a + e) for a, e in zip(corner, edges, strict=True))
        if box not in boxes:
            boxes.append(box)
    return boxes


def _contrast(sample: Floats) -> float:
    """How much there is to see; what is far brighter than the rest counts no more than bright."""
    return float(np.clip(sample, 0, 1.5).std(axis=(1, 2)).sum())


def resized(sample: Floats, tall: float, wide: float) -> Floats:
    """Resize (c, y, x) by factors of y and x."""
    for axis, factor in ((1, tall), (2, wide)):
        length = sample.shape[axis]
        wanted = max(round(length * factor), 1)
        sample = resample(sample, axis, positions(0, wanted, length / wanted))
    return sample
