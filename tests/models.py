"""Functions that tests give as models, and images that are themselves the maps they should make."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigseg.core.class_targets import border_targets, hover_targets
from bigseg.core.targets import flow_targets
from tests.worlds import make_image

Array = NDArray[Any]
Function = Callable[..., Any]
SURE = 6.0
"""Logit of an ideal map."""
WHERE = "tests.models"
"""Module of the functions, for `module:function`."""

shapes: list[tuple[int, ...]] = []
"""Of the tiles that `square` was given."""


def model(**attributes: Any) -> Callable[[Function], Function]:
    """Give a function attributes."""

    def give(function: Function) -> Function:
        for name, value in attributes.items():
            setattr(function, name, value)
        return function

    return give


def flows(tiles: Array) -> Array:
    """Show an image of maps as it is."""
    return tiles


@model(outputs=4)
def flows_one_class(tiles: Array) -> Array:
    return tiles


@model(outputs=5)
def flows_two_classes(tiles: Array) -> Array:
    return tiles


@model(outputs=6)
def flows_three_classes(tiles: Array) -> Array:
    return tiles


@model(representation="hover")
def hover(tiles: Array) -> Array:
    return tiles


@model(representation="borders", outputs=2)
def two(tiles: Array) -> Array:
    return tiles


@model(representation="borders", outputs=3)
def three(tiles: Array) -> Array:
    return tiles


@model(tile=64)
def square(tiles: Array) -> Array:
    shapes.append(tiles.shape)
    return tiles


@model(representation="labels")
def components(image: Array) -> Array:
    """Label what is brighter than a half and hangs together."""
    return ndimage.label(image[0] > 0.5)[0]


@model(representation="labels")
def part(image: Array) -> Array:
    return np.zeros((5, 5), int)


@model(representation="labels")
def fractions(image: Array) -> Array:
    return np.zeros(image.shape[1:], np.float32)


@model(representation="labels")
def negative(image: Array) -> Array:
    return np.full(image.shape[1:], -1)


def unknown(tiles: Array) -> Array:
    """Know nothing anywhere."""
    return np.full((len(tiles), 3, *tiles.shape[2:]), np.nan, np.float32)


def one_map(tiles: Array) -> Array:
    return tiles[:, :1]


def steps(tiles: Array) -> Array:
    """Make a map of places in the tile; mirrored, it is another one."""
    y, x = (np.arange(n, dtype=np.float32) for n in tiles.shape[2:])
    found = np.zeros((len(tiles), 3, *tiles.shape[2:]), np.float32)
    found[:, 0], found[:, 1], found[:, 2] = y[:, None], 2 * x, y[:, None] + 3 * x
    return found


def slopes(tiles: Array) -> Array:
    """Make a field that turns with the image: its slope."""
    y, x = np.gradient(tiles[:, 0], axis=(1, 2))
    return np.stack([5 * y, 5 * x, 4 * tiles[:, 0] - 2], 1)


@model(representation="circles")
def circles(tiles: Array) -> Array:
    return tiles


@model(tile="large")
def worded(tiles: Array) -> Array:
    return tiles


not_a_function = 3
made = partial(flows)


def discs(edge: int = 120, ndim: int = 2, *, touching: bool = False) -> Array:
    """Discs or balls in rows, some cut by the edge: (y, x) or (z, y, x) ids."""
    first, step, radius = (0, 20, 10.4) if touching else (8, 18, 6.6)
    centre = np.arange(first, edge + step, step)
    grids = np.indices((edge,) * ndim)
    nearest = [np.abs(g[..., None] - centre).argmin(-1) for g in grids]
    near = sum((g - centre[n]) ** 2 for g, n in zip(grids, nearest, strict=True)) <= radius**2
    ids = np.ravel_multi_index(nearest, (len(centre),) * ndim) + 1
    kept: Array = np.where(near, ids, 0).astype(np.uint32)
    small = np.bincount(kept.ravel())[kept] < 40
    kept[small] = 0
    return kept


def sure(mask: Array) -> Array:
    """Logits of a mask."""
    return np.where(mask, SURE, -SURE).astype(np.float32)


def flow_maps(truth: Array) -> Array:
    """Flow y, flow x, logit: (3, y, x)."""
    return np.concatenate([flow_targets(truth), sure(truth > 0)[None]])


def hover_maps(truth: Array) -> Array:
    """Vertical and horizontal map, logit: (3, y, x)."""
    return np.concatenate([hover_targets(truth), sure(truth > 0)[None]])


def border_maps(truth: Array, classes: int) -> Array:
    """Logits of background, cell, border: (classes, …)."""
    planes = truth.reshape(-1, *truth.shape[-2:])
    found = np.stack([border_targets(p, classes=classes) for p in planes]).reshape(truth.shape)
    return np.stack([sure(found == number) for number in range(classes)])


def image_of(folder: Path | str, maps: Array, name: str = "maps") -> str:
    """Store maps (c, …) as the channels of an image; its URL."""
    axes = "cyx" if maps.ndim == 3 else "czyx"
    block = (1, 64, 64) if maps.ndim == 3 else (32, 32, 32)
    return make_image(f"{folder}/{name}.zarr", maps.astype(np.float32), axes, block=block).image.url


def grey_image(folder: Path | str, truth: Array, name: str = "image") -> str:
    """Store objects as bright as 1 on a background of 0; URL of the image."""
    axes = "zyx"[-truth.ndim :]
    return make_image(f"{folder}/{name}.zarr", (truth > 0).astype(np.float32), axes).image.url
