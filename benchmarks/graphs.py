"""Synthetic multicut problems of three kinds, with the truth and the places of their nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

SPACING, TILE, HALO = 10.0, 96.0, 16.0
MISSED, SPLIT, FUSED = 0.02, 0.03, 0.0015
"""Shares of detections that a tile misses, sees in two, or takes for one with the next cell."""


@dataclass(frozen=True)
class Graph:
    """A problem: canonical edges (u < v, sorted, none twice) and what is known of its nodes."""

    u: NDArray[np.int32]
    v: NDArray[np.int32]
    costs: NDArray[np.float64]
    truth: NDArray[np.int64]
    """True object of each node."""
    block: NDArray[np.int64]
    """(nodes, 3) place of each node in a grid of blocks."""


def canonical(u, v, costs, truth, block) -> Graph:  # type: ignore[no-untyped-def]
    """Sum parallel edges, drop loops, sort."""
    n = len(truth)
    real = u != v
    low, high = np.minimum(u, v)[real].astype(np.int64), np.maximum(u, v)[real]
    key, inverse = np.unique(low * n + high, return_inverse=True)
    total = np.bincount(inverse, costs[real])
    low, high = np.divmod(key, n)
    return Graph(low.astype(np.int32), high.astype(np.int32), total, truth, block)


def grid(edges: int, random: np.random.Generator) -> Graph:
    """Noisy cubes of 5 voxels on a 6-neighbour grid: hard, one component, nothing to reduce."""
    side = round((edges / 3) ** (1 / 3)) + 1
    number = np.arange(side**3).reshape((side,) * 3)
    where = np.indices(number.shape)
    truth = np.ravel_multi_index(tuple(where // 5), (side // 5 + 1,) * 3)
    ends = []
    for axis in range(3):
        first, second = (np.moveaxis(number, axis, 0)[s].ravel() for s in (np.s_[:-1], np.s_[1:]))
        ends.append(np.stack([first, second]))
    u, v = np.concatenate(ends, axis=1)
    same = truth.ravel()[u] == truth.ravel()[v]
    costs = np.where(same, 0.5, -0.7) + random.normal(0, 1, len(u))
    return canonical(u, v, costs, truth.ravel(), where.reshape(3, -1).T // 16)


def rag(edges: int, random: np.random.Generator) -> Graph:
    """Supervoxels of cells: Delaunay neighbours, boundary evidence weighted by contact size."""
    from scipy.spatial import Delaunay, cKDTree

    n = max(int(edges / 2.8), 10)
    side = n ** (1 / 3)
    points = random.uniform(0, side, (n, 3))
    seeds = random.uniform(0, side, (max(n // 4, 2), 3))
    truth = cKDTree(seeds).query(points)[1]
    simplices = Delaunay(points).simplices
    u, v = np.concatenate([simplices[:, [a, b]] for a in range(4) for b in range(a)]).T
    u, v = np.divmod(np.unique(np.minimum(u, v).astype(np.int64) * n + np.maximum(u, v)), n)
    length = np.linalg.norm(points[u] - points[v], axis=1)
    u, v = (x[length <= np.partition(length, edges)[edges]] for x in (u, v))
    odds = np.where(truth[u] == truth[v], 1.2, -1.5) + random.normal(0, 1, len(u))
    contact = random.lognormal(0, 1.2, len(u))
    block = (points // 12).astype(np.int64)
    return canonical(u, v, odds * contact / contact.mean(), truth, block)


def tile(edges: int, random: np.random.Generator) -> Graph:
    """Cells found on their own in overlapping tiles: what a merge of blocks has to solve."""
    side = max(round((edges / 27) ** (1 / 3)), 2)
    where = np.indices((side,) * 3).reshape(3, -1).T
    place = (where + 0.5 + random.uniform(-0.3, 0.3, where.shape)) * SPACING
    cell, tiles = _detections(place, int(side * SPACING // TILE) + 2)
    kept = random.random(len(cell)) >= MISSED
    split = kept & (random.random(len(cell)) < SPLIT)
    cell, tiles = (np.concatenate([x[kept], x[split]]) for x in (cell, tiles))
    halved = np.zeros(len(cell), np.bool_)
    halved[np.cumsum(kept)[split] - 1] = halved[np.count_nonzero(kept) :] = True
    order = np.lexsort((tiles, cell))
    cell, tiles, halved = cell[order], tiles[order], halved[order]
    node, fused = _fused(cell, tiles, side, random)
    start = np.searchsorted(cell, np.arange(side**3 + 1))
    ends, costs = [], []
    for a, b in _pairs(start, side):
        same_tile, same_cell = tiles[a] == tiles[b], cell[a] == cell[b]
        share = np.where(halved[a] | halved[b], 0.45, 0.75) * np.where(fused[a] | fused[b], 0.6, 1)
        noise = random.normal(0, 1, len(a)) * np.where(same_cell, 0.1, 0.17)
        overlap = np.where(same_cell, share, 0.04) + noise
        p = 0.998 * overlap.clip(0, 1) + 0.001
        ends.append(np.stack([node[a], node[b]]))
        costs.append(np.where(same_tile, -2.0, np.log(p / (1 - p)).clip(-4, 4)))
    u, v = np.concatenate(ends, axis=1)
    names, first, own = np.unique(node, return_index=True, return_inverse=True)
    block = np.stack(np.unravel_index(tiles[first], (int(side * SPACING // TILE) + 2,) * 3), 1)
    assert len(names) == own.max() + 1
    lookup = np.zeros(int(node.max()) + 1, np.int64)
    lookup[names] = np.arange(len(names))
    return canonical(lookup[u], lookup[v], np.concatenate(costs), cell[first], block)


def _detections(place, across):  # type: ignore[no-untyped-def]
    """Cell and tile of each detection: up to two tiles along each axis see a cell."""
    own = (place // TILE).astype(np.int64)
    within = place - own * TILE
    other = np.where(within < HALO, own - 1, np.where(within >= TILE - HALO, own + 1, -1))
    cells, tiles = [], []
    for second in product((False, True), repeat=3):
        at = np.where(second, other, own)
        seen = np.flatnonzero((at >= 0).all(axis=1))
        cells.append(seen)
        tiles.append(np.ravel_multi_index(tuple(at[seen].T), (across,) * 3))
    return np.concatenate(cells), np.concatenate(tiles)


def _fused(cell, tiles, side, random):  # type: ignore[no-untyped-def]
    """Node of each detection, and whether it is one of two cells."""
    node = np.arange(len(cell))
    key = cell * (tiles.max() + 1) + tiles
    wanted = np.flatnonzero(random.random(len(cell)) < FUSED)
    wanted = wanted[(cell[wanted] + 1) % side != 0]
    partner = np.searchsorted(key, key[wanted] + tiles.max() + 1)
    found = partner < len(key)
    found[found] &= key[partner[found]] == key[wanted[found]] + tiles.max() + 1
    node[partner[found]] = wanted[found]
    fused = np.zeros(len(cell), np.bool_)
    fused[partner[found]] = fused[wanted[found]] = True
    return node, fused


def _pairs(start, side) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:  # type: ignore[no-untyped-def]
    """Pairs of detections of one cell, and of cells that are neighbours along each axis."""
    number = np.arange(side**3).reshape((side,) * 3)
    yield from (_product(start, number.ravel(), number.ravel()),)
    for axis in range(3):
        turned = np.moveaxis(number, axis, 0)
        yield _product(start, turned[:-1].ravel(), turned[1:].ravel())


def _product(start, a, b):  # type: ignore[no-untyped-def]
    """All pairs of a detection of cell a[i] and one of cell b[i]."""
    n_a, n_b = np.diff(start)[a], np.diff(start)[b]
    total = n_a * n_b
    pair = np.repeat(np.arange(len(a)), total)
    within = np.arange(total.sum()) - np.repeat(np.cumsum(total) - total, total)
    first, second = start[a][pair] + within // n_b[pair], start[b][pair] + within % n_b[pair]
    kept = (a[pair] != b[pair]) | (first < second)
    return first[kept], second[kept]


KINDS = {"tile": tile, "rag": rag, "grid": grid}
