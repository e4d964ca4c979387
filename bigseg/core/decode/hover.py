"""HoVer maps to objects: a watershed that starts inside objects and stops where maps fall steeply.

Graham et al. 2019, Medical Image Analysis 58:101563, with the numbers of Xun et al. 2021, doi
10.1101/2021.12.19.473392. Along y the vertical map rises from −1 to 1 within an object and falls
back at its border, and so does the horizontal map along x: a strong fall is a border.

Upstream stretches the strongest fall and the strongest rise of the whole image to 0 and 1 and calls
a border what lies above 0.6, so one sharp border hides all others, in its own image only. Here a
border is where a map falls at all, by more than `FALL` per object diameter: an object comes out the
same whatever box it is cut from, and more of them are found. `parity` does as Scellseg 0.1.8 does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from bigseg.core.quality import remove_objects, sizes
from bigseg.types import Floats

SMOOTHING = 0.075
"""Standard deviation of the derivative, in diameters: that of the published 21-pixel filter, which
is meant for objects of 30 pixels."""
FALL = 0.25
"""Fall of a map over one diameter from which on a pixel is border. Within a round object a map
rises by 2, between two objects it falls by 10."""
PUBLISHED = 0.6
"""The same in the published code: 0 is the steepest rise of the image, 1 its steepest fall."""
HOLE = 0.2
"""Largest hole of a marker that is filled, in squared diameters: a quarter of an object."""

CROSS = ndimage.generate_binary_structure(2, 1)
Plane = NDArray[np.float64]
Flags = NDArray[np.bool_]


def labels_from_hover(
    maps: Floats,
    logits: Floats,
    *,
    threshold: float = 0.5,
    min_size: int = 15,
    diameter: float = 30.0,
    parity: bool = False,
) -> NDArray[np.uint32]:
    """Watershed from the inside of objects.

    Parameters
    ----------
    maps : (2, y, x) float32
        Vertical and horizontal map, −1 to 1: the output of the network divided by 5. Values that
        are not finite count as 0.
    logits : (y, x) float32
        Object against background, before the sigmoid. NaN is background.
    threshold
        Foreground is where the logit is at least this.
    min_size
        Pixels below which the inside of an object is a speck.
    diameter
        Of a usual object, pixels; sets the width of filters.
    parity
        Do as Scellseg 0.1.8: each map is derived along the other's axis, falls are stretched as
        above, the watershed sees where borders are but not how steep, holes of markers are filled
        whatever their size, and objects are taken to be 30 pixels wide.

    Returns
    -------
    (y, x) uint32
        Ids 1..n in C order of the markers, 0 = background.

    Raises
    ------
    ValueError
        The shapes of maps and logits do not fit each other.
    """
    if logits.ndim != 2 or maps.shape != (2, *logits.shape):
        raise ValueError(
            f"maps of shape {maps.shape} do not fit logits of shape {logits.shape}; "
            "expected (2, y, x) with (y, x)."
        )
    if logits.size == 0:
        return np.zeros(logits.shape, np.uint32)
    maps = np.nan_to_num(maps, nan=0.0, posinf=0.0, neginf=0.0)
    inside = logits >= threshold
    if parity:
        inside = _drop_specks(ndimage.label(inside)[0], min_size) > 0
        height, marker = _as_published(maps, inside)
    else:
        fall = np.maximum(_fall(maps[0], 0, diameter), _fall(maps[1], 1, diameter))
        height, marker = fall, _fill_small_holes(inside & (fall < FALL), HOLE * diameter**2)
    seeds = _drop_specks(ndimage.label(_open(marker))[0], min_size)
    return _dense(watershed(height, seeds, mask=inside))


def _fall(one: Floats, axis: int, diameter: float) -> Plane:
    """How much a map falls along an axis, per diameter; (y, x)."""
    order = (1, 0) if axis == 0 else (0, 1)
    change: Plane = ndimage.gaussian_filter(
        one.astype(np.float64), SMOOTHING * diameter, order=order, mode="mirror"
    )
    return -diameter * change


def _as_published(maps: Floats, inside: Flags) -> tuple[Plane, Flags]:
    """Height of the watershed and its markers; (y, x) each."""
    border = np.maximum(_stretched(maps[0], 1), _stretched(maps[1], 0)) * inside
    height = ((border < PUBLISHED) & inside).astype(np.float64)
    for axis in (0, 1):
        height = ndimage.correlate1d(height, [0.25, 0.5, 0.25], axis, mode="mirror")
    return -height, ndimage.binary_fill_holes(inside & (border < PUBLISHED))


def _stretched(one: Floats, axis: int) -> Plane:
    """Border as published, 0 to 1: Sobel over 21 pixels, between the array's extremes; (y, x)."""
    smooth, change = _binomial(20), np.convolve(_binomial(19), [-1, 1])
    plane = _stretch(one).astype(np.float64)
    plane = ndimage.correlate1d(plane, change, axis, mode="mirror")
    plane = ndimage.correlate1d(plane, smooth, 1 - axis, mode="mirror")
    return (1 - _stretch(plane)).astype(np.float64)


def _stretch(plane: NDArray[np.floating]) -> Floats:
    """Between 0 and 1; 0 where all is equal."""
    low, high = float(plane.min(initial=np.inf)), float(plane.max(initial=-np.inf))
    if not high > low:
        return np.zeros(plane.shape, np.float32)
    return ((plane - low) / (high - low)).astype(np.float32)


def _binomial(n: int) -> Plane:
    """Row n of Pascal's triangle, n + 1 numbers."""
    row = np.ones(1)
    for _ in range(n):
        row = np.convolve(row, [1, 1])
    return row


def _fill_small_holes(marker: Flags, most: float) -> Flags:
    """Fill what is enclosed, if it is small: how far one has to look is then known."""
    holes: NDArray[np.int32] = ndimage.label(~marker)[0]
    small = sizes(holes.astype(np.uint32)) <= most
    small[0] = False
    for edge in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        small[edge] = False
    return np.asarray(marker | small[holes])


def _open(marker: Flags) -> Flags:
    """Drop what is thinner than a cross of three pixels; the array's edge cuts nothing off."""
    eroded = ndimage.binary_erosion(marker, CROSS, border_value=1)
    return np.asarray(ndimage.binary_dilation(eroded, CROSS))


def _drop_specks(components: NDArray[np.int32], min_size: int) -> NDArray[np.int32]:
    """Without the components of fewer pixels than `min_size`."""
    labels = components.astype(np.uint32)
    return remove_objects(labels, sizes(labels) < min_size).astype(np.int32)


def _dense(labels: NDArray[np.int32]) -> NDArray[np.uint32]:
    """Ids without gaps, in the same order."""
    found = labels.astype(np.uint32)
    kept = sizes(found) > 0
    kept[0] = False
    return (np.cumsum(kept, dtype=np.uint32) * kept)[found].astype(np.uint32)
