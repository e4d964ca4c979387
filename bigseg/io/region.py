"""Where in an image objects are looked for: a mask of any resolution, voxel by voxel.

The mask is laid over the image by the physical coordinates of both. A voxel of the image belongs
to the region if the mask is not zero where the centre of the voxel lies. So the region is a
property of voxels, and blocks are skipped only if none of their voxels belongs to it.
"""

from __future__ import annotations

from itertools import product
from math import floor, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bigseg import files
from bigseg.errors import ImageError, SpecError
from bigseg.grid import Box, Index
from bigseg.io.labels import find_labels
from bigseg.io.ome import describe
from bigseg.io.store import open_array
from bigseg.io.units import ratio
from bigseg.io.volume import Volume

SPACE = "zyx"
ALIKE = 1e-3
"""Share of a voxel by which coordinates may differ through rounding."""
AT_ONCE = 1 << 24
"""Voxels of a mask that are read together."""
MOST_SHOWN = 1 << 27
"""Voxels of a mask of which a map is drawn."""
Bools = NDArray[np.bool_]


class Region(BaseModel):
    """Which voxels of an image count, as a mask says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """Array of the mask."""
    axes: str
    """Its axes, some of t, z, y, x."""
    shape: Index
    """One length for each of these."""
    origin: tuple[float, float, float]
    """Voxel of the mask, and share of it, in which the first voxel of the image lies, (z, y, x)."""
    step: tuple[float, float, float]
    """Voxels of the mask per voxel of the image."""

    def read(self, box: Box) -> Bools:
        """Whether voxels of a box (t, z, y, x) of one frame of the image belong: (z, y, x)."""
        places = [self._along(axis, span) for axis, span in zip(SPACE, box[1:], strict=True)]
        spans = [slice(int(at[0]), int(at[-1]) + 1) for at in places]
        found = self._stored((box[0], *spans))
        rows = [at - span.start for at, span in zip(places, spans, strict=True)]
        chosen: Bools = found[np.ix_(*rows)]
        return chosen

    def touches(self, box: Box) -> bool:
        """Whether any voxel of a box (t, z, y, x) of the image belongs to the region."""
        ends = [self._along(axis, span)[[0, -1]] for axis, span in zip(SPACE, box[1:], strict=True)]
        return bool(self._stored((box[0], *(slice(int(a), int(b) + 1) for a, b in ends))).any())

    def overview(self, frame: int = 0) -> Bools | None:
        """Whether a frame has anything at each (y, x) of the mask; None if it is too large."""
        z, y, x = (dict(zip(self.axes, self.shape, strict=True)).get(axis, 1) for axis in SPACE)
        if z * y * x > MOST_SHOWN:
            return None
        found: Bools = self._stored(
            (slice(frame, frame + 1), slice(0, z), slice(0, y), slice(0, x))
        )
        return np.asarray(found.any(axis=0))

    def _along(self, axis: str, span: slice) -> NDArray[np.intp]:
        """Voxel of the mask of each voxel of the image, along an axis of space."""
        if axis not in self.axes:
            return np.zeros(span.stop - span.start, np.intp)
        number = SPACE.index(axis)
        at = self.origin[number] + np.arange(span.start, span.stop) * self.step[number]
        last = self.shape[self.axes.index(axis)] - 1
        return np.clip(np.floor(at + ALIKE * self.step[number]), 0, last).astype(np.intp)

    def _stored(self, box: Box) -> Bools:
        """The mask itself in a box (t, z, y, x) of its own voxels: (z, y, x)."""
        by = dict(zip("tzyx", box, strict=True))
        data = np.asarray(open_array(self.url)[tuple(by[axis] for axis in self.axes)]) != 0
        data = data.reshape([n for n, a in zip(data.shape, self.axes, strict=True) if a != "t"])
        lacking = tuple(i for i, axis in enumerate(SPACE) if axis not in self.axes)
        return np.expand_dims(data, lacking)


def region_of(mask: str, image: Volume) -> Region:
    """Lay a mask over an image.

    Parameters
    ----------
    mask
        URL of an OME-Zarr label image of any resolution, of an image with exactly one, or of an
        image of whole or true and false values without channels. An axis of z or t that it lacks
        means that it holds for all planes or frames.
    image
        The level that is segmented.

    Raises
    ------
    NotFound
        If nothing is there.
    ImageError
        If it holds no labels.
    SpecError
        If it does not lie over the image, or nothing belongs to the region.
    """
    found = Volume.open(_mask_url(mask))
    axes = "".join(found.axes)
    region = Region(
        url=files.join(found.image.url, found.level.path),
        axes=axes,
        shape=found.level.shape,
        **_laid(mask, found, image),
    )
    if "t" in axes and found.shape[0] != image.shape[0]:
        raise SpecError(
            f"The mask {mask} has {found.shape[0]} frames and {image.image.url} has "
            f"{image.shape[0]}; give one with as many frames, or one without time for all."
        )
    if not _any(region, found.unit):
        raise SpecError(
            f"The mask {mask} is 0 everywhere, so there is nothing to segment; objects are looked "
            "for where it is not 0."
        )
    return region


def level_region(url: str, image: Volume, level: int) -> Region:
    """Region whose mask (t, z, y, x), yet to be made, has the voxels of a coarser level."""
    coarse = Volume(image.image, level)
    t, _, z, y, x = coarse.shape
    laid = _by_scale(coarse.shape[2:], image.shape[2:])
    return Region(url=url, axes="tzyx", shape=(t, z, y, x), **laid)


def _mask_url(url: str) -> str:
    """URL of the label image that is meant; an image of true and false is one, too."""
    try:
        image = describe(url)
    except ImageError:
        return find_labels(url)
    if image.dtype.kind == "b" and "c" not in image.axes:
        return url
    if image.dtype.kind == "f" and "c" not in image.axes:
        raise ImageError(
            f"The mask {url} holds {image.dtype}, of which nobody can say what counts; make it "
            "whole numbers, 0 where nothing is to be looked for."
        )
    return find_labels(url)


def _laid(url: str, mask: Volume, image: Volume) -> dict[str, Any]:
    """Origin and step of a mask; an error if it lies elsewhere."""
    if not mask.units and image.units:  # nobody has said how large its voxels are
        for level in range(len(image.image.levels)):
            if _alike(mask, Volume(image.image, level)):
                return _by_scale(mask.shape[2:], image.shape[2:])
    origin, step = [0.0] * 3, [0.0] * 3
    for number, axis in enumerate(SPACE):
        if axis not in mask.axes:
            continue
        here, there = _span(image, axis, image), _span(mask, axis, image)
        if not (_placed(mask) or _placed(image)):  # then first voxels share a corner
            here, there = (0.0, here[1], here[2]), (0.0, there[1], there[2])
        _check_span(url, axis, here, there)
        (start, size, _), (first, length, _) = here, there
        origin[number] = (start + size / 2 - first) / length
        step[number] = size / length
    return {"origin": tuple(origin), "step": tuple(step)}


Span = tuple[float, float, int]
"""Where an axis begins, how long a voxel is, in the image's unit of x, and how many there are."""


def _span(volume: Volume, axis: str, image: Volume) -> Span:
    if axis not in volume.axes:
        return 0.0, 1.0, 1
    number = volume.axes.index(axis)
    unit = ratio(volume.units.get(axis), image.units.get("x"))
    size = volume.level.scale[number] * unit
    return volume.level.translation[number] * unit - size / 2, size, volume.level.shape[number]


def _placed(volume: Volume) -> bool:
    """Whether metadata say where the first voxel lies."""
    return any(volume.level.translation)


def _check_span(url: str, axis: str, image: Span, mask: Span) -> None:
    """Refuse a mask that lies elsewhere, or is not as long as the image, by more than a voxel."""
    (a, size, count), (b, length, number) = image, mask
    stops, slack = (a + size * count, b + length * number), max(size, length) * (1 + ALIKE)
    if b >= stops[0] or stops[1] <= a:
        wrong = "does not overlap"
    elif abs(a - b) > slack or abs(stops[0] - stops[1]) > slack:
        wrong = "does not cover the same as"
    else:
        return
    raise SpecError(
        f"The mask {url} {wrong} the image along {axis}: it reaches from {b:.6g} to "
        f"{stops[1]:.6g}, and the image from {a:.6g} to {stops[0]:.6g}; correct the scale and the "
        "translation in its coordinateTransformations."
    )


def _alike(mask: Volume, level: Volume) -> bool:
    """Whether a mask has the voxels of a level, but for axes that it lacks."""
    return all(
        n == m
        for n, m, axis in zip(mask.shape[2:], level.shape[2:], SPACE, strict=True)
        if axis in mask.axes
    )


def _by_scale(mask: Index, image: Index) -> dict[str, Any]:
    """Origin and step of a mask that is the image made coarser by whole numbers."""
    factors = [max(round(n / m), 1) for n, m in zip(image, mask, strict=True)]
    return {
        "origin": tuple(0.5 / factor for factor in factors),
        "step": tuple(1 / factor for factor in factors),
    }


def _any(region: Region, unit: Index) -> bool:
    """Whether anything belongs; of a large mask only so much is read as it takes to know."""
    by = dict(zip("tzyx", unit, strict=True))
    edges = [by[axis] for axis in region.axes]
    for axis in reversed(range(len(edges))):
        room = floor(AT_ONCE / prod(edges))
        edges[axis] *= max(min(room, -(-region.shape[axis] // edges[axis])), 1)
    array = open_array(region.url)
    starts = (range(0, n, e) for n, e in zip(region.shape, edges, strict=True))
    return any(
        bool(np.any(array[tuple(slice(a, a + e) for a, e in zip(corner, edges, strict=True))]))
        for corner in product(*starts)
    )
