"""Where walks end, grouped: busy voxels that lie together are one sink.

As published for Cellpose (Stringer et al. 2021, Nature Methods 18:100): the histogram of the ends,
its peaks as seeds, and each seed grown over the busy voxels around it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

PEAK_RADIUS = 2
"""A seed has the most hits in the window that reaches this far."""
PEAK_HITS = 10
"""A seed has more hits than this."""
GROWTH = 5
"""Rounds of dilation of a seed."""
BUSY_HITS = 2
"""A seed grows over voxels with more hits than this."""

Rows = NDArray[np.uint32]


def labels_from_ends(rows: Rows, ends: Rows) -> Rows:
    """Give all voxels whose walks end in the same sink the same id.

    Parameters
    ----------
    rows : (z, y, x) uint32
        Number of each foreground voxel, 1..n in C order, 0 = background. Is overwritten.
    ends : (n + 1,) uint32
        Row where the walk of each row ends; 0 at 0.

    Returns
    -------
    (z, y, x) uint32
        Ids in C order of the sinks, without gaps; 0 = background and ends in no sink.
    """
    hits = _count(ends)
    seeds, peaks = _seeds(rows, hits)
    sinks = _grow(rows, hits, seeds, np.argsort(peaks, kind="stable"))
    return _paint(rows, ends, sinks, len(seeds))


@njit(cache=True, nogil=True)
def _count(ends: Rows) -> Rows:
    """Walks that end at each row; none at row 0."""
    hits = np.zeros_like(ends)
    for row in range(1, len(ends)):
        hits[ends[row]] += 1
    return hits


@njit(cache=True, nogil=True)
def _is_peak(rows: Rows, hits: Rows, z: int, y: int, x: int) -> bool:
    """Whether no voxel of the 5-voxel window has more hits, or as many and comes earlier."""
    here = rows[z, y, x]
    deep, high, wide = rows.shape
    for k in range(max(z - PEAK_RADIUS, 0), min(z + PEAK_RADIUS + 1, deep)):
        for j in range(max(y - PEAK_RADIUS, 0), min(y + PEAK_RADIUS + 1, high)):
            for i in range(max(x - PEAK_RADIUS, 0), min(x + PEAK_RADIUS + 1, wide)):
                there = rows[k, j, i]
                if hits[there] > hits[here] or (hits[there] == hits[here] and there < here):
                    return False
    return True


@njit(cache=True, nogil=True)
def _seeds(rows: Rows, hits: Rows) -> tuple[NDArray[np.int64], Rows]:
    """Positions (n, 3) of the peaks of the histogram in C order, and their height (n,)."""
    found = [(0, 0, 0) for _ in range(0)]
    for z, y, x in np.ndindex(rows.shape):
        if hits[rows[z, y, x]] > PEAK_HITS and _is_peak(rows, hits, z, y, x):
            found.append((z, y, x))
    seeds = np.empty((len(found), 3), np.int64)
    peaks = np.empty(len(found), np.uint32)
    for n, (z, y, x) in enumerate(found):
        seeds[n, 0], seeds[n, 1], seeds[n, 2] = z, y, x
        peaks[n] = hits[rows[z, y, x]]
    return seeds, peaks


@njit(cache=True, nogil=True)
def _grow(rows: Rows, hits: Rows, seeds: NDArray[np.int64], order: NDArray[np.int64]) -> Rows:
    """Sink of each row, 0 = none: seeds spread over busy voxels, in `order`; the last one wins."""
    sinks = np.zeros(len(hits), np.uint32)
    queue = np.empty(((2 * GROWTH + 1) ** 3, 3), np.int64)
    for seed in order:
        sink = np.uint32(seed + 1)
        queue[0] = seeds[seed]
        sinks[rows[seeds[seed, 0], seeds[seed, 1], seeds[seed, 2]]] = sink
        done, found = 0, 1
        for _ in range(GROWTH):
            frontier = found
            while done < frontier:
                found = _spread(rows, hits, sinks, sink, queue, done, found)
                done += 1
    return sinks


@njit(cache=True, nogil=True)
def _spread(
    rows: Rows,
    hits: Rows,
    sinks: Rows,
    sink: np.uint32,
    queue: NDArray[np.int64],
    done: int,
    found: int,
) -> int:
    """Take the busy neighbours of `queue[done]` into the sink and the queue; its new length."""
    z, y, x = queue[done]
    deep, high, wide = rows.shape
    for k in range(max(z - 1, 0), min(z + 2, deep)):
        for j in range(max(y - 1, 0), min(y + 2, high)):
            for i in range(max(x - 1, 0), min(x + 2, wide)):
                row = rows[k, j, i]
                if hits[row] > BUSY_HITS and sinks[row] != sink:
                    sinks[row] = sink
                    queue[found, 0], queue[found, 1], queue[found, 2] = k, j, i
                    found += 1
    return found


@njit(cache=True, nogil=True)
def _paint(rows: Rows, ends: Rows, sinks: Rows, n: int) -> Rows:
    """Turn `rows` into the ids of the sinks where their walks end, without gaps."""
    ids = np.zeros(n + 1, np.uint32)
    for row in range(1, len(ends)):
        ids[sinks[ends[row]]] = 1
    ids[0] = 0
    for sink in range(1, n + 1):
        ids[sink] = ids[sink - 1] + 1 if ids[sink] else ids[sink - 1]
    for row in range(len(sinks)):
        if sinks[row]:
            sinks[row] = ids[sinks[row]]
    flat = rows.ravel()
    for voxel in range(len(flat)):
        row = flat[voxel]
        if row:
            flat[voxel] = sinks[ends[row]]
    return rows
