"""Film strips: a few frames around an event, objects in the colours of their tracks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.lineage import Lineages
from bigseg.grid import Box, Index
from bigseg.types import Floats
from bigseg.view.outlines import Rgb, colours, edges, overlay, shade
from bigseg.view.pictures import Picture, display_shape, resize_image, resize_labels

PANEL = 200
"""Pixels of the longer side of a picture."""
BEFORE, AFTER = 2, 2
"""Frames shown before a division and after its daughters are there."""


@dataclass(frozen=True)
class Reel:
    """Where frames come from."""

    shape: Index
    """(t, z, y, x)."""
    labels: Callable[[Box], NDArray[np.unsignedinteger]]
    """Tracks in a box of one frame: (z, y, x)."""
    image: Callable[[Box], Floats] | None
    """Brightness of that box, 0 to 1: (z, y, x)."""
    spacing: tuple[float, float, float]
    """Size of a voxel, (z, y, x)."""


@dataclass(frozen=True)
class Event:
    """A division that is shown."""

    mother: int
    daughters: tuple[int, ...]
    frame: int
    """Last frame of the mother."""
    place: tuple[float, float, float]
    """Voxel (z, y, x) in the middle."""
    radius: float
    """Voxels along x to show around it."""


def events(
    found: Lineages, centre: NDArray[np.float64], width: NDArray[np.float64], most: int
) -> list[Event]:
    """Divisions to show: those whose families are seen longest, spread over the series.

    Parameters
    ----------
    found
        Lineages of n detections.
    centre
        (n, 3) voxels.
    width
        (n,) extent of each object in voxels along x.
    """
    mothers = np.flatnonzero(found.daughters > 1)
    if not len(mothers):
        return []
    age = np.minimum(found.length[mothers], BEFORE + 1)
    young = np.array([found.length[found.parent == m + 1].min() for m in mothers])
    order = mothers[np.lexsort((mothers, -(age + np.minimum(young, AFTER + 1))))]
    good = np.sort(order[: max(len(order) // 4, most)])
    chosen = good[np.linspace(0, len(good) - 1, min(most, len(good))).round().astype(int)]
    return [_event(found, int(m), centre, width) for m in chosen]


def _event(
    found: Lineages, mother: int, centre: NDArray[np.float64], width: NDArray[np.float64]
) -> Event:
    daughters = np.flatnonzero(found.parent == mother + 1)
    rows = [_row(found, mother, found.end[mother])]
    rows += [_row(found, int(d), found.begin[d]) for d in daughters]
    around = centre[rows]
    reach = np.abs(around[:, 1:] - around[:, 1:].mean(axis=0)).max()
    z, y, x = around.mean(axis=0)
    names = tuple(int(d) + 1 for d in daughters)
    radius = float(reach + 2.5 * width[rows].max() / 2 + 6)
    return Event(mother + 1, names, int(found.end[mother]), (z, y, x), radius)


def _row(found: Lineages, track: int, frame: int) -> int:
    return int(np.flatnonzero((found.track == track + 1) & (found.frame == frame))[0])


def strip(reel: Reel, event: Event) -> list[Picture]:
    """Frames around a division."""
    first = max(event.frame - BEFORE, 0)
    last = min(event.frame + 1 + AFTER, reel.shape[0] - 1)
    family = (event.mother, *event.daughters)
    return [
        Picture(_frame(reel, event, frame, family), f"frame {frame}")
        for frame in range(first, last + 1)
    ]


def _frame(reel: Reel, event: Event, frame: int, family: Sequence[int]) -> Rgb:
    z, y, x = event.place
    middle = min(max(round(z), 0), reel.shape[1] - 1)
    spans = [_span(v, event.radius, n) for v, n in zip((y, x), reel.shape[2:], strict=True)]
    box = (slice(frame, frame + 1), slice(middle, middle + 1), *spans)
    tracks = reel.labels(box)[0]
    shape = display_shape(tracks.shape, reel.spacing[1:], PANEL)
    bright = None if reel.image is None else resize_image(reel.image(box)[0], shape)
    return painted(resize_labels(tracks, shape), bright, family)


def _span(centre: float, radius: float, length: int) -> slice:
    start = int(max(min(round(centre - radius), length - round(2 * radius)), 0))
    return slice(start, int(min(start + round(2 * radius) + 1, length)))


def painted(
    tracks: NDArray[np.unsignedinteger], bright: Floats | None, family: Sequence[int] = ()
) -> Rgb:
    """Tracks in their colours: outlines over the image, or filled where there is none.

    Parameters
    ----------
    tracks, bright
        (y, x).
    family
        Tracks that are not dimmed; all if empty.
    """
    if bright is not None:
        picture = overlay(bright, tracks, 2)
    else:
        picture = shade(np.zeros(tracks.shape, np.float32))
        inside = tracks > 0
        picture[inside] = colours(tracks[inside])
        picture[edges(tracks)] = 0
    if family:
        others = ~np.isin(tracks, np.array(family))
        picture[others] = (picture[others] * 0.45).astype(np.uint8)
    return picture


def overview(reel: Reel, frames: Sequence[int]) -> list[Picture]:
    """Whole frames, in the plane amid all, every object in the colour of its track."""
    middle = reel.shape[1] // 2
    whole = tuple(slice(0, n) for n in reel.shape[2:])
    pictures = []
    for frame in frames:
        box = (slice(frame, frame + 1), slice(middle, middle + 1), *whole)
        tracks = reel.labels(box)[0]
        shape = display_shape(tracks.shape, reel.spacing[1:], 420)
        bright = None if reel.image is None else resize_image(reel.image(box)[0], shape)
        pictures.append(Picture(painted(resize_labels(tracks, shape), bright), f"frame {frame}"))
    return pictures
