"""Flows and cell probabilities to objects: voxels that end in the same sink are one object.

The method is that of Cellpose (Stringer et al. 2021, Nature Methods 18:100): every foreground
voxel walks along the flow, and the voxels that gather around one spot are one object. Here only
the first steps are walked. They give a map "voxel -> where it has moved", and the map is composed
with itself, which doubles the steps each time. Where a walk has moved to is a point, not a voxel,
so that weak flows come home too; and only the voxels at which some walk has arrived are composed:
the cores of the objects.

Interpolation is at voxel centres and relative to the voxel that walks, so an object comes out
bit-identical whatever box it is cut from, as long as its basin lies inside. Foreground voxels are
numbered 1..n in C order ("rows"), and all work is on rows.
"""

from __future__ import annotations

from math import ceil, log2
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.decode.sinks import Rows, labels_from_ends
from bigseg.core.quantise import FLOW_STEPS, LOGIT_STEPS
from bigseg.types import Floats

WALK = 7
"""Steps walked one by one: enough to leave the edge of an object, where neighbours disagree."""
STRIP = 16
"""Lines of a plane before the next plane's turn, so that what they walk over stays in cache."""

Flags = NDArray[np.bool_]
Shape = tuple[int, int, int]
Point = tuple[np.float32, np.float32, np.float32]
Corners = tuple[np.uint64, tuple[np.uint64, np.uint64, np.uint64], Point]


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
    flows : (2, y, x) or (3, z, y, x) float32 or int8
        Voxels per Euler step along each axis: the output of the network divided by 5. Values that
        are not finite count as 0. int8 as in `quantise`.
    logits : (y, x) or (z, y, x) float32 or int8
        Cell probability before the sigmoid. NaN is background. int8 as in `quantise`.
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
            "expected (2, y, x) with (y, x), or (3, z, y, x) with (z, y, x)."
        )
    volume = (1,) * (3 - len(space)) + space
    scale = 1 / FLOW_STEPS if flows.dtype == np.int8 else 1.0
    above = cellprob_threshold
    if logits.dtype == np.int8:
        # With its sign bit flipped, v is v + 128 without a sign.
        logits, above = logits.view(np.uint8), above * LOGIT_STEPS - 0.5 + 128
    rows, n = _number(logits.reshape(volume), above)
    field = _gather(flows.reshape(len(space), *volume), np.float32(scale), rows, n)
    ends = _follow(rows, field, steps)
    return labels_from_ends(rows, ends).reshape(space)


def _follow(rows: Rows, field: Floats, steps: int) -> Rows:
    """Row where each row's walk ends after `steps` steps or more."""
    moved = _walk(rows, field, min(steps, WALK))
    arrived, core = _arrive(rows, moved)
    further = field
    for _ in range(ceil(log2(max(steps / WALK - 1, 1)))):
        _compose(rows, moved, core, further)
        moved, further = further, moved
    del field, further
    return _settle(rows, moved, core, arrived)


@njit(cache=True, nogil=True)
def _number(logits: NDArray[Any], above: float) -> tuple[Rows, int]:
    """Number the foreground voxels in C order, 0 = background; and how many there are."""
    rows = np.zeros(logits.shape, np.uint32)
    deep, high, wide = logits.shape
    n = 0
    for z in range(deep):
        for y in range(high):
            for x in range(wide):
                if logits[z, y, x] > above:
                    n += 1
                    rows[z, y, x] = n
    return rows, n


@njit(cache=True, nogil=True)
def _gather(flows: NDArray[Any], scale: np.float32, rows: Rows, n: int) -> Floats:
    """Flow of each row along z, y, x; zero for the background."""
    field = np.zeros((n + 1, 3), np.float32)
    first = 3 - len(flows)
    deep, high, wide = rows.shape
    for z in range(deep):
        for y in range(high):
            for x in range(wide):
                row = rows[z, y, x]
                if row:
                    for axis in range(len(flows)):
                        value = np.float32(flows[axis, z, y, x])
                        if np.isfinite(value):
                            field[row, first + axis] = value * scale
    return field


@njit(cache=True, nogil=True, inline="always")
def _split(
    start: int, moved: np.float32, size: int, stride: int
) -> tuple[np.uint64, np.uint64, np.float32]:
    """Offset of the voxel below a point, distance to the one above, and the weight of that."""
    whole = np.floor(moved)
    low = start + np.int64(whole)
    # Unsigned, or each look-up would first ask whether the index counts from the end.
    return np.uint64(low * stride), np.uint64(stride if low < size - 1 else 0), moved - whole


@njit(cache=True, nogil=True, inline="always")
def _sample(
    flat: Rows, shape: Shape, values: Floats, voxel: Shape, moved: Point
) -> tuple[np.float32, np.float32, np.float32, np.float32]:
    """Trilinear mean of three values at a point, background being 0, and the foreground's share."""
    at, (dz, dy, dx), (w, v, u) = _corners(shape, voxel, moved)
    both = w * v
    one = np.float32(1)
    fz = fy = fx = share = np.float32(0)
    lines = (
        (at, one - w - v + both),
        (at + dy, v - both),
        (at + dz, w - both),
        (at + dz + dy, both),
    )
    for line, weight in lines:
        if weight:
            left, right = flat[line], flat[line + dx]
            b = weight * u
            a = weight - b
            fz += a * values[left, 0] + b * values[right, 0]
            fy += a * values[left, 1] + b * values[right, 1]
            fx += a * values[left, 2] + b * values[right, 2]
            if left:
                share += a
            if right:
                share += b
    return fz, fy, fx, share


@njit(cache=True, nogil=True, inline="always")
def _clamp(moved: np.float32, start: int, size: int) -> np.float32:
    """Keep a point inside the array."""
    return min(max(moved, np.float32(-start)), np.float32(size - 1 - start))


@njit(cache=True, nogil=True)
def _walk(rows: Rows, field: Floats, steps: int) -> Floats:
    """How far each row has moved after `steps` Euler steps.

    A line of voxels takes each step together: a single walk waits for its own last step, many
    walks do not wait for each other.
    """
    deep, high, wide = rows.shape
    moved = np.zeros_like(field)
    line = np.empty(wide, np.int64)
    for strip in range(0, high, STRIP):
        for z in range(deep):
            for y in range(strip, min(strip + STRIP, high)):
                n = 0
                for x in range(wide):
                    if rows[z, y, x]:
                        line[n] = x
                        n += 1
                if n:
                    first = rows[z, y, line[0]]
                    for _ in range(steps):
                        _step(rows, field, (z, y), line[:n], moved[first : first + n])
    return moved


@njit(cache=True, nogil=True)
def _step(
    rows: Rows, field: Floats, at: tuple[int, int], line: NDArray[np.int64], moved: Floats
) -> None:
    """One Euler step of the foreground voxels of one line."""
    deep, high, wide = rows.shape
    flat = rows.ravel()
    z, y = at
    for i in range(len(line)):
        x = line[i]
        here = (moved[i, 0], moved[i, 1], moved[i, 2])
        fz, fy, fx, _ = _sample(flat, rows.shape, field, (z, y, x), here)
        moved[i, 0] = _clamp(here[0] + fz, z, deep)
        moved[i, 1] = _clamp(here[1] + fy, y, high)
        moved[i, 2] = _clamp(here[2] + fx, x, wide)


@njit(cache=True, nogil=True)
def _compose(rows: Rows, moved: Floats, core: Flags, further: Floats) -> None:
    """Twice the steps for the core: go on as the foreground voxels around the point have."""
    deep, high, wide = rows.shape
    flat = rows.ravel()
    for z in range(deep):
        for y in range(high):
            for x in range(wide):
                row = rows[z, y, x]
                if core[row]:
                    here = (moved[row, 0], moved[row, 1], moved[row, 2])
                    fz, fy, fx, share = _sample(flat, rows.shape, moved, (z, y, x), here)
                    if share == 0:
                        share = np.float32(1)
                    further[row, 0] = _clamp(here[0] + fz / share, z, deep)
                    further[row, 1] = _clamp(here[1] + fy / share, y, high)
                    further[row, 2] = _clamp(here[2] + fx / share, x, wide)


@njit(cache=True, nogil=True, inline="always")
def _corners(shape: Shape, voxel: Shape, moved: Point) -> Corners:
    """Offset of the first of the 8 voxels around a point, distances to the others, weights."""
    z0, dz, w = _split(voxel[0], moved[0], shape[0], shape[1] * shape[2])
    y0, dy, v = _split(voxel[1], moved[1], shape[1], shape[2])
    x0, dx, u = _split(voxel[2], moved[2], shape[2], 1)
    return z0 + y0 + x0, (dz, dy, dx), (w, v, u)


@njit(cache=True, nogil=True, inline="always")
def _nearest(rows: Rows, voxel: Shape, moved: Point) -> np.uint32:
    """Row of the foreground voxel nearest to a point; 0 if there is none next to it."""
    half = np.float32(0.5)
    dz, dy, dx = np.floor(moved[0] + half), np.floor(moved[1] + half), np.floor(moved[2] + half)
    at = (voxel[0] + int(dz), voxel[1] + int(dy), voxel[2] + int(dx))
    row = rows[at]
    return row if row else _rescue(rows, at, (moved[0] - dz, moved[1] - dy, moved[2] - dx))


@njit(cache=True, nogil=True)
def _rescue(rows: Rows, voxel: Shape, point: Point) -> np.uint32:
    """Row of the foreground voxel nearest to a point in a voxel of background."""
    nearest, best = np.uint32(0), np.inf
    for k in range(-1, 2):
        for j in range(-1, 2):
            for i in range(-1, 2):
                z, y, x = voxel[0] + k, voxel[1] + j, voxel[2] + i
                if 0 <= z < rows.shape[0] and 0 <= y < rows.shape[1] and 0 <= x < rows.shape[2]:
                    away = float((k - point[0]) ** 2 + (j - point[1]) ** 2 + (i - point[2]) ** 2)
                    if rows[z, y, x] and away < best:
                        nearest, best = rows[z, y, x], away
    return nearest


@njit(cache=True, nogil=True)
def _arrive(rows: Rows, moved: Floats) -> tuple[Rows, Flags]:
    """Row at which each walk has arrived, and whether a row is needed to go on.

    A walk that has left the foreground for good goes on from where it began.
    """
    arrived = np.zeros(len(moved), np.uint32)
    core = np.zeros(len(moved), np.bool_)
    deep, high, wide = rows.shape
    flat = rows.ravel()
    for z in range(deep):
        for y in range(high):
            for x in range(wide):
                row = rows[z, y, x]
                if row:
                    here = (moved[row, 0], moved[row, 1], moved[row, 2])
                    at, (dz, dy, dx), _ = _corners(rows.shape, (z, y, x), here)
                    for line in (at, at + dy, at + dz, at + dz + dy):
                        core[flat[line]] = True
                        core[flat[line + dx]] = True
                    end = _nearest(rows, (z, y, x), here)
                    arrived[row] = end if end else row
                    core[arrived[row]] = True
    core[0] = False
    return arrived, core


@njit(cache=True, nogil=True)
def _settle(rows: Rows, moved: Floats, core: Flags, arrived: Rows) -> Rows:
    """Row where the walk of each row ends; its own, if that is not in the foreground."""
    ends = np.zeros(len(moved), np.uint32)
    deep, high, wide = rows.shape
    for z in range(deep):
        for y in range(high):
            for x in range(wide):
                row = rows[z, y, x]
                if core[row]:
                    here = (moved[row, 0], moved[row, 1], moved[row, 2])
                    end = _nearest(rows, (z, y, x), here)
                    ends[row] = end if end else row
    for row in range(len(arrived)):
        arrived[row] = ends[arrived[row]]
    return arrived
