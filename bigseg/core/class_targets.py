"""Training targets of the representations other than flows: HoVer maps and classes with borders.

HoVer maps: Graham et al. 2019, Medical Image Analysis 58:101563: how far a pixel lies from the
centre of its object, along y and along x, as a share of the object's extent on that side. Classes:
cell, and in U-Net3 its border, as in Xun et al. 2021, doi 10.1101/2021.12.19.473392.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.holes import fill_holes
from bigseg.core.targets import as_volume, object_boxes
from bigseg.types import Floats, Labels

BORDER = 2.0
"""Pixels of the network from the contour of an object that are border."""


def hover_targets(labels: Labels, *, parity: bool = False) -> Floats:
    """Vertical and horizontal place of each pixel in its object.

    Parameters
    ----------
    labels : (y, x) int
        Instance ids, 0 = background; ids need not be dense.
    parity
        Count from the pixel before the centre, as the published code does.

    Returns
    -------
    (2, y, x) float32
        −1 at the top (left), 0 at the centre of mass, 1 at the bottom (right); 0 in the background.
        Networks learn five times this.
    """
    plane = as_volume(labels)
    maps = np.zeros((2, *labels.shape), np.float32)
    _place(plane, object_boxes(plane), 1 if parity else 0, maps)
    return maps


def border_targets(
    labels: Labels, *, classes: Literal[2, 3] = 3, scale: float = 1.0
) -> NDArray[np.uint8]:
    """Class of each pixel: 0 background, 1 cell, 2 border of a cell.

    Parameters
    ----------
    labels : (y, x) int
        Instance ids, 0 = background; ids need not be dense.
    classes
        2 knows no border.
    scale
        Pixels of the network per pixel: the border is two pixels of the network from the contour.
        The contour are the object's outermost pixels; holes have none.

    Returns
    -------
    (y, x) uint8
    """
    plane = as_volume(labels)
    target: NDArray[np.uint8] = (plane[0] > 0).astype(np.uint8)
    if classes == 3:
        filled = fill_holes(plane[0])
        _mark_borders(filled, _contours(filled), BORDER / scale, target)
    return target


@njit(cache=True, nogil=True)
def _place(plane: NDArray[np.uint32], boxes: NDArray[np.int32], before: int, maps: Floats) -> None:
    for id_ in range(1, len(boxes)):
        _, y0, x0, deep, y1, x1 = boxes[id_]
        if deep == 0:
            continue
        total_y, total_x, n = 0, 0, 0
        for y in range(y0, y1):
            for x in range(x0, x1):
                if plane[0, y, x] == id_:
                    total_y += y
                    total_x += x
                    n += 1
        # The nearest pixel to the centre of mass; every extent is reached by some pixel.
        y_centre = int(np.floor(total_y / n + 0.5)) - before
        x_centre = int(np.floor(total_x / n + 0.5)) - before
        for y in range(y0, y1):
            for x in range(x0, x1):
                if plane[0, y, x] == id_:
                    maps[0, y, x] = _share(y - y_centre, y0 - y_centre, y1 - 1 - y_centre)
                    maps[1, y, x] = _share(x - x_centre, x0 - x_centre, x1 - 1 - x_centre)


@njit(cache=True, nogil=True)
def _share(offset: int, first: int, last: int) -> float:
    """Offset as a share of the extent on its side: −1 … 1."""
    if offset < 0:
        return -offset / first
    return offset / last if offset else 0.0


@njit(cache=True, nogil=True)
def _contours(plane: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Pixels of objects that have a side in common with something else, or with the edge."""
    found = np.zeros(plane.shape, np.bool_)
    high, wide = plane.shape
    for y in range(high):
        for x in range(wide):
            id_ = plane[y, x]
            found[y, x] = id_ != 0 and (
                y in (0, high - 1)
                or x in (0, wide - 1)
                or plane[y - 1, x] != id_
                or plane[y + 1, x] != id_
                or plane[y, x - 1] != id_
                or plane[y, x + 1] != id_
            )
    return found


@njit(cache=True, nogil=True)
def _mark_borders(
    plane: NDArray[np.uint32],
    contours: NDArray[np.bool_],
    radius: float,
    target: NDArray[np.uint8],
) -> None:
    """Make pixels border whose own object's contour is not farther than `radius`."""
    high, wide = plane.shape
    r = int(radius)
    for y in range(high):
        for x in range(wide):
            if contours[y, x]:
                for j in range(max(y - r, 0), min(y + r + 1, high)):
                    for i in range(max(x - r, 0), min(x + r + 1, wide)):
                        near = (j - y) ** 2 + (i - x) ** 2 <= radius * radius
                        if near and target[j, i] and plane[j, i] == plane[y, x]:
                            target[j, i] = 2
