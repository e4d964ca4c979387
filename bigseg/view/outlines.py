"""Draw objects over an image."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.types import Floats

Rgb = NDArray[np.uint8]
"""(y, x, 3)."""

HUES = 24
GREYS = 64
"""Levels of grey: as many as the eye needs here, and a picture of few colours stays small."""


def _palette() -> Rgb:
    """Colours that stand out from grey, ordered so that successive ids differ much."""
    hues = [(0.13 + i * 0.61803398875) % 1 for i in range(HUES)]
    colours = [colorsys.hls_to_rgb(h, 0.62 if i % 2 else 0.54, 1.0) for i, h in enumerate(hues)]
    return np.round(255 * np.array(colours)).astype(np.uint8)


PALETTE = _palette()


def colours(ids: NDArray[Any]) -> Rgb:
    """Colour of each id, the same wherever the id occurs: (…, 3)."""
    # Ids of neighbours are often near each other; mixing spreads equal remainders.
    mixed = (ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
    return PALETTE[(mixed % np.uint64(HUES)).astype(np.int64)]


def edges(labels: NDArray[Any], width: int = 1) -> NDArray[np.bool_]:
    """Pixels of objects that lie within `width` pixels of something else.

    Parameters
    ----------
    labels : (y, x) integers, 0 = background
    """
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        for axis in (0, 1):
            if labels.shape[axis] <= step:
                continue
            low = tuple(slice(0, -step) if a == axis else slice(None) for a in (0, 1))
            high = tuple(slice(step, None) if a == axis else slice(None) for a in (0, 1))
            differ = labels[low] != labels[high]
            edge[low] |= differ
            edge[high] |= differ
    inside: NDArray[np.bool_] = edge & (labels != 0)
    return inside


def shade(image: Floats) -> Rgb:
    """(y, x) or (y, x, 3) between 0 and 1 as colours; beyond is clipped, NaN is black."""
    clipped = np.clip(np.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    levels = np.round(clipped * (GREYS - 1)) * (255 / (GREYS - 1))
    rgb = np.round(levels).astype(np.uint8)
    return np.repeat(rgb[..., None], 3, axis=-1) if rgb.ndim == 2 else rgb


def overlay(image: Floats, labels: NDArray[Any], width: int = 1) -> Rgb:
    """Outline every object in a colour of its own.

    Parameters
    ----------
    image : (y, x) or (y, x, 3) float
        0 is black, 1 is white.
    labels : (y, x) integers
        0 is background.
    width : int
        Of the outlines, in pixels, inside the objects.

    Returns
    -------
    (y, x, 3) uint8
    """
    rgb = shade(image)
    edge = edges(labels, width)
    rgb[edge] = colours(labels[edge])
    return rgb


def highlight(image: Floats, labels: NDArray[Any], ids: NDArray[Any], width: int = 1) -> Rgb:
    """Outline every object in grey and fill those of `ids` with their colours, see-through."""
    rgb = shade(0.7 * image)
    edge = edges(labels, width)
    rgb[edge] = 150
    chosen = np.isin(labels, ids) & (labels != 0)
    tint = colours(labels[chosen])
    grey = rgb[chosen].astype(np.uint16) // 32 * 32
    rgb[chosen] = ((grey + tint) // 2).astype(np.uint8)
    rgb[chosen & edge] = colours(labels[chosen & edge])
    return rgb


def filled(image: Floats, labels: NDArray[Any], width: int = 1) -> Rgb:
    """Fill every object with a colour of its own, see-through; outlines are not."""
    return highlight(image, labels, np.unique(labels), width)
