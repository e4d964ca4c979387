"""Flows and cell probabilities to objects: voxels that end in the same sink are one object.

The method is that of Cellpose (Stringer et al. 2021, Nature Methods 18:100): every foreground
voxel walks along the flow, and the voxels that gather around one spot are one object. Here a walk
is only followed for its first steps; then the map "voxel -> voxel where the walk stands" is
composed with itself, which doubles the steps each time.

Interpolation is at voxel centres and relative to the voxel that walks, so an object comes out
bit-identical whatever box it is cut from, as long as its basin lies inside.
"""

from __future__ import annotations

from math import ceil, log2
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

WALK = 10
"""Steps followed one by one; enough for all but the slowest flow to leave its voxel."""

PEAK_RADIUS = 2
"""A seed has the most hits in the window that reaches this far."""
PEAK_HITS = 10
"""A seed has more hits than this."""
GROWTH = 5
"""Rounds of dilation of a seed."""
BUSY_HITS = 2
"""A seed grows over voxels with more hits than this."""

Rows = NDArray[np.uint32]


def labels_from_flows(
    flows: NDArray[Any],
    logits: NDArray[Any],
    *,
    cellprob_threshold: float = 0.0,
    steps: int = 200,
) -> Rows:
    """Group the foreground by where its flow ends.

    Parameters
    ----------
    flows : (2, y, x) or (3, z, y, x) float32
        Voxels per Euler step along each axis: the output of the network divided by 5. Values that
        are not finite count as 0.
    logits : (y, x) or (z, y, x) float32
        Cell probability before the sigmoid. NaN is background.
    cellprob_threshold : float
        Foreground is where the logit is above this.
    steps : int
        Euler steps that every voxel makes at least.

    Returns
    -------
    (y, x) or (z, y, x) uint32
        Ids 1..n in C order of the sinks, 0 = background and voxels that end in no sink.

    Raises
    ------
    ValueError
        The shapes of flows and logits do not fit each other.
    """
    space = logits.shape
    if flows.shape != (len(space), *space) or len(space) not in (2, 3):
        raise ValueError(
            f"flows of shape {flows.shape} do not fit logits of shape {space}; "
            f"expected {(len(space), *space)} with 2 or 3 axes of space."
        )
    volume = (1,) * (3 - len(space)) + space
    rows, field = _pack(
        flows.reshape(len(space), *volume), logits.reshape(volume), np.float32(cellprob_threshold)
    )
    ends = _walk_all(rows, field, min(steps, WALK))
    del field
    for _ in range(ceil(log2(max(steps / WALK, 1)))):
        ends = _compose(ends)
    hits = _count(ends)
    seeds, peaks = _seeds(rows, hits)
    sinks = _grow(rows, hits, seeds, np.argsort(peaks, kind="stable"))
    return _paint(rows, ends, sinks, len(seeds)).reshape(space)


@njit(cache=True, nogil=True)
def _pack(
    flows: NDArray[Any], logits: NDArray[Any], threshold: np.float32
) -> tuple[Rows, NDArray[np.float32]]:
    """Number the foreground voxels 1..n in C order and gather their flow; row 0 is background."""
    rows = np.zeros(logits.shape, np.uint32)
    n = 0
    for z, y, x in np.ndindex(logits.shape):
        if logits[z, y, x] > threshold:
            n += 1
            rows[z, y, x] = n
    axes = flows.shape[0]
    field = np.zeros((n + 1, axes), np.float32)
    for z, y, x in np.ndindex(logits.shape):
        row = rows[z, y, x]
        if row:
            for axis in range(axes):
                value = np.float32(flows[axis, z, y, x])
                if np.isfinite(value):
                    field[row, axis] = value
    return rows, field


@njit(cache=True, nogil=True)
def _walk_all(rows: Rows, field: NDArray[np.float32], steps: int) -> Rows:
    """Row where each foreground voxel stands after `steps` steps.

    A walk that ends between objects counts as ended at its last foreground voxel, so no walk is
    lost in a hole of a single voxel.
    """
    ends = np.zeros(len(field), np.uint32)
    for z, y, x in np.ndindex(rows.shape):
        row = rows[z, y, x]
        if row:
            for k in range(steps, -1, -1):
                if field.shape[1] == 2:
                    end = _walk_2d(rows[0], field, y, x, k)
                else:
                    end = _walk_3d(rows, field, z, y, x, k)
                if end:
                    break
            ends[row] = end
    return ends


@njit(cache=True, nogil=True, inline="always")
def _split(start: int, moved: np.float32, last: int) -> tuple[int, int, np.float32]:
    """Voxel below, voxel above, and the weight of the upper one."""
    whole = np.floor(moved)
    low = start + int(whole)
    return low, min(low + 1, last), moved - whole


@njit(cache=True, nogil=True, inline="always")
def _clamp(moved: np.float32, start: int, last: int) -> np.float32:
    return min(max(moved, np.float32(-start)), np.float32(last - start))


@njit(cache=True, nogil=True)
def _walk_2d(rows: Rows, field: NDArray[np.float32], y: int, x: int, steps: int) -> int:
    last_y, last_x = rows.shape[0] - 1, rows.shape[1] - 1
    dy = dx = np.float32(0)
    for _ in range(steps):
        y0, y1, v = _split(y, dy, last_y)
        x0, x1, u = _split(x, dx, last_x)
        a, b, c, d = rows[y0, x0], rows[y0, x1], rows[y1, x0], rows[y1, x1]
        top = field[a, 0] + u * (field[b, 0] - field[a, 0])
        low = field[c, 0] + u * (field[d, 0] - field[c, 0])
        fy = top + v * (low - top)
        top = field[a, 1] + u * (field[b, 1] - field[a, 1])
        low = field[c, 1] + u * (field[d, 1] - field[c, 1])
        fx = top + v * (low - top)
        dy = _clamp(dy + fy, y, last_y)
        dx = _clamp(dx + fx, x, last_x)
    half = np.float32(0.5)
    return rows[y + int(np.floor(dy + half)), x + int(np.floor(dx + half))]


@njit(cache=True, nogil=True)
def _walk_3d(rows: Rows, field: NDArray[np.float32], z: int, y: int, x: int, steps: int) -> int:
    last_z, last_y, last_x = rows.shape[0] - 1, rows.shape[1] - 1, rows.shape[2] - 1
    dz = dy = dx = np.float32(0)
    for _ in range(steps):
        z0, z1, w = _split(z, dz, last_z)
        y0, y1, v = _split(y, dy, last_y)
        x0, x1, u = _split(x, dx, last_x)
        near, far = np.float32(1) - w, w
        fz = fy = fx = np.float32(0)
        for zi, wz in ((z0, near), (z1, far)):
            for yi, wy in ((y0, wz * (np.float32(1) - v)), (y1, wz * v)):
                a, b = rows[zi, yi, x0], rows[zi, yi, x1]
                wb = wy * u
                wa = wy - wb
                fz += wa * field[a, 0] + wb * field[b, 0]
                fy += wa * field[a, 1] + wb * field[b, 1]
                fx += wa * field[a, 2] + wb * field[b, 2]
        dz = _clamp(dz + fz, z, last_z)
        dy = _clamp(dy + fy, y, last_y)
        dx = _clamp(dx + fx, x, last_x)
    half = np.float32(0.5)
    return rows[
        z + int(np.floor(dz + half)), y + int(np.floor(dy + half)), x + int(np.floor(dx + half))
    ]


@njit(cache=True, nogil=True)
def _compose(ends: Rows) -> Rows:
    """Twice as many steps: where the end of each walk ends."""
    further = np.empty_like(ends)
    for row in range(len(ends)):
        further[row] = ends[ends[row]]
    return further


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
    sink: int,
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
    ids_of = sinks
    for row in range(len(sinks)):
        ids_of[row] = ids[sinks[row]] if sinks[row] else 0
    flat = rows.ravel()
    for voxel in range(len(flat)):
        row = flat[voxel]
        if row:
            flat[voxel] = ids_of[ends[row]]
    return rows
