"""Worlds cut into tiles, each with ids of its own, as other pipelines leave them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.layout import Layout
from bigseg.core.overlap import contingency

Array = NDArray[Any]


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """First voxels of tiles that cover an axis; the last tile may be shorter."""
    step = tile - overlap
    count = max(-(-(length - overlap) // step), 1)
    return [i * step for i in range(count)]


def corners(shape: Sequence[int], tile: Sequence[int], overlap: int) -> Iterator[tuple[int, ...]]:
    """First voxels of the tiles of a regular grid, the last axis first."""
    each = zip(shape, tile, strict=True)
    return product(*(starts(n, t, 0 if t >= n else overlap) for n, t in each))


def own_ids(tile: Array, seed: int, largest: int = 2**62, dtype: Any = np.uint64) -> Array:
    """Give a tile ids that mean nothing elsewhere: random ones, neither dense nor in order."""
    rng = np.random.default_rng(seed)
    ids, dense = np.unique(tile, return_inverse=True)
    new = np.unique(rng.integers(1, largest, 3 * len(ids) + 3).astype(dtype))
    new = rng.permutation(new)[: len(ids)]
    new[ids == 0] = 0
    return new[dense].reshape(tile.shape)


def cut(
    truth: Array, tile: Sequence[int], overlap: int, largest: int = 2**62, dtype: Any = np.uint64
) -> dict[tuple[int, ...], Array]:
    """Tiles of a world by their first voxels."""
    found = {}
    for seed, low in enumerate(corners(truth.shape, tile, overlap)):
        part = truth[tuple(slice(a, a + n) for a, n in zip(low, tile, strict=True))]
        found[low] = own_ids(part, seed, largest, dtype)
    return found


def displaced(
    truth: Array, tile: Sequence[int], overlap: int, seed: int = 0, most: int = 1
) -> dict[tuple[int, ...], Array]:
    """Tiles of a world, each moved as a whole by up to `most` voxels along each axis."""
    rng = np.random.default_rng([seed, most])
    found = {}
    for number, low in enumerate(corners(truth.shape, tile, overlap)):
        steps = rng.integers(-most, most + 1, truth.ndim)
        places = [
            np.clip(np.arange(a, min(a + n, length)) + step, 0, length - 1)
            for a, n, length, step in zip(low, tile, truth.shape, steps, strict=True)
        ]
        found[low] = own_ids(truth[np.ix_(*places)], number)
    return found


def best_possible(truth: Array, tiles: dict[tuple[int, ...], Array], owner: Array) -> Array:
    """What a merge without a mistake would write: each voxel's tile gives it its true object.

    `owner` is the number of the tile that each voxel is taken from; an object of a tile is the one
    of the truth that it has most of.
    """
    found = np.zeros(truth.shape, truth.dtype)
    for number, (low, tile) in enumerate(tiles.items()):
        place = tuple(slice(a, a + n) for a, n in zip(low, tile.shape, strict=True))
        ids, local = np.unique(tile, return_inverse=True)
        local = local.reshape(tile.shape)
        pairs, counts = contingency(local.astype(np.uint32) + 1, truth[place])
        real = (pairs != 0).all(axis=1)
        order = np.argsort(counts[real], kind="stable")
        names = np.zeros(len(ids) + 1, truth.dtype)
        names[pairs[real][order, 0]] = pairs[real][order, 1]
        names[1 + np.flatnonzero(ids == 0)] = 0
        np.copyto(found[place], names[local + 1], where=owner[place] == number)
    return found


def owners(shape: Sequence[int], tiles: dict[tuple[int, ...], Array]) -> Array:
    """Number of the tile that each voxel is taken from: the one in which it lies deepest."""
    flat = 4 - len(shape)
    low = np.array([(0,) * flat + at for at in tiles])
    high = np.array([(1,) * flat + tuple(np.add(at, t.shape)) for at, t in tiles.items()])
    layout = Layout(low, high)
    found = np.zeros(shape, np.int64)
    for number, (at, tile) in enumerate(tiles.items()):
        place = tuple(slice(a, a + n) for a, n in zip(at, tile.shape, strict=True))
        found[place][layout.owned(number).reshape(tile.shape)] = number
    return found


def save(folder: Path, tiles: dict[tuple[int, ...], Array]) -> str:
    """Store tiles as npy files whose names say where they lie; return the path with fields."""
    folder.mkdir(parents=True, exist_ok=True)
    axes = "zyx"[-len(next(iter(tiles))) :]
    name = "tile" + "".join(f"_{axis}{{{axis}}}" for axis in axes) + ".npy"
    for low, tile in tiles.items():
        place = dict(zip(axes, low, strict=True))
        np.save(folder / name.format(**place), tile)
    return str(folder / name)


def voronoi(shape: Sequence[int], count: int, gap: float = 0.0, seed: int = 0) -> Array:
    """Cells that fill all, or are `gap` voxels apart."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (count, len(shape))) * np.array(shape)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distance, nearest = cKDTree(points).query(grid.reshape(-1, len(shape)), 2)
    labels = nearest[:, 0].reshape(shape).astype(np.uint32) + 1
    labels[(distance[:, 1] - distance[:, 0] < gap).reshape(shape)] = 0
    return np.asarray(labels)


def rods(length: int = 64) -> Array:
    """Rods 1 to 4 voxels wide, along x and oblique: (y, x)."""
    world = np.zeros((length * 2, length), np.uint32)
    number = 0
    for width in (1, 2, 3, 4):
        for slope in (0, 0.5, 1):
            number += 1
            top = 4 + number * 9
            for x in range(length):
                y = round(top + slope * (x - length // 2) * 0.3)
                world[y : y + width, x] = number
    return world


def errors(found: Array, truth: Array) -> tuple[int, int]:
    """Objects of the truth that are in pieces, and objects found that hold several."""
    pairs, _ = contingency(found.reshape(truth.shape), truth)
    real = pairs[(pairs != 0).all(axis=1)]
    split = np.unique(real[:, 1], return_counts=True)[1]
    fused = np.unique(real[:, 0], return_counts=True)[1]
    return int((split > 1).sum()), int((fused > 1).sum())
