"""Maps of boundaries and affinities of cells that tests invent."""

from __future__ import annotations

import numpy as np
from scipy import ndimage


def cells(shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    """Voronoi cells that fill an array, from 1."""
    points = np.random.default_rng(seed).integers(0, shape, (count, 3))
    mask = np.ones(shape, bool)
    mask[tuple(points.T)] = False
    place = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    return np.unique(np.ravel_multi_index(place, shape), return_inverse=True)[1].reshape(shape) + 1


def boundary(labels: np.ndarray, sigma: float = 0.7) -> np.ndarray:
    """How a good network would see them."""
    wall = ndimage.maximum_filter(labels, 2) != ndimage.minimum_filter(labels, 2)
    return np.clip(1.6 * ndimage.gaussian_filter(wall.astype(np.float32), sigma), 0, 1)


def affinities(labels: np.ndarray, offsets) -> np.ndarray:
    """What a network that knows the objects gives, as bytes."""
    maps = np.zeros((len(offsets), *labels.shape), np.uint8)
    for k, offset in enumerate(offsets):
        there = np.roll(labels, tuple(-o for o in offset), (0, 1, 2))
        maps[k] = 255 * (labels == there)
    return maps
