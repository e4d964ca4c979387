"""Flows to objects as Cellpose 3 does it, step by step, for those who must have its very objects.

Every foreground voxel makes all Euler steps. In a plane the flow is read at pixel centres; in a
volume coordinates are stretched as `grid_sample` of PyTorch reads them by default, half a voxel
off at the faces of the array. Where a walk ends is cut off to whole voxels. So an object depends
on where it lies in the array; `flows` has none of this.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.decode.sinks import Rows, labels_from_ends
from bigseg.core.quantise import unpack
from bigseg.core.targets import CUBES, Spacing
from bigseg.types import Floats


def labels_as_published(
    flows: NDArray[Any],
    logits: NDArray[Any],
    *,
    cellprob_threshold: float = 0.0,
    steps: int = 200,
    stride: Spacing = CUBES,
) -> Rows:
    """Group the foreground by where its flow ends.

    Parameters
    ----------
    flows : (2, y, x) or (3, z, y, x) float32 or int8
        Voxels per Euler step along each axis, int8 as in `quantise`.
    logits : (y, x) or (z, y, x) float32 or int8
        Cell probability before the sigmoid, int8 as in `quantise`.
    cellprob_threshold : float
        Foreground is where the logit is above this.
    steps : int
        Euler steps.
    stride
        How many times its flow a voxel walks in a step, along z, y, x.

    Returns
    -------
    (y, x) or (z, y, x) uint32
        Ids 1..n, 0 = background and voxels that end in no sink.
    """
    space = logits.shape
    if flows.dtype == np.int8:
        flows, logits = unpack(np.concatenate([flows, logits[None]]))
    volume = (1,) * (3 - len(space)) + space
    cell = (logits > cellprob_threshold).reshape(volume)
    field = np.zeros((3, *volume), np.float32)
    for axis, flow in enumerate(flows, 3 - len(space)):
        np.copyto(field[axis], flow.reshape(volume), where=cell & np.isfinite(flow).reshape(volume))
        field[axis] *= np.float32(stride[axis])
    starts = np.flatnonzero(cell)
    stops = _walk(field, starts, steps, len(space) == 3)
    voxels = np.arange(1, cell.size + 1, dtype=np.uint32).reshape(volume)
    ends = np.zeros(cell.size + 1, np.uint32)
    ends[starts + 1] = stops + 1
    return labels_from_ends(voxels, ends).reshape(space)


@njit(cache=True, nogil=True)
def _walk(
    field: Floats, starts: NDArray[np.int64], steps: int, stretched: bool
) -> NDArray[np.int64]:
    """Offset of the voxel where the walk from each offset ends."""
    _, deep, high, wide = field.shape
    stops = np.empty_like(starts)
    for i, start in enumerate(starts):
        z = np.float32(start // (high * wide))
        y = np.float32(start // wide % high)
        x = np.float32(start % wide)
        for _ in range(steps):
            if stretched:
                at = (_stretch(z, deep), _stretch(y, high), _stretch(x, wide))
            else:
                at = (z, y, x)
            dz, dy, dx = _read(field, at)
            z = _inside(z + dz, deep)
            y = _inside(y + dy, high)
            x = _inside(x + dx, wide)
        stops[i] = (int(z) * high + int(y)) * wide + int(x)
    return stops


@njit(cache=True, nogil=True, inline="always")
def _stretch(position: np.float32, length: int) -> np.float32:
    """Where a position is read: half a voxel further out at the faces, as it is in the middle."""
    if length == 1:
        return position
    return position + position / np.float32(length - 1) - np.float32(0.5)


@njit(cache=True, nogil=True, inline="always")
def _inside(position: np.float32, length: int) -> np.float32:
    return min(max(position, np.float32(0)), np.float32(length - 1))


@njit(cache=True, nogil=True)
def _read(
    field: Floats, at: tuple[np.float32, np.float32, np.float32]
) -> tuple[np.float32, np.float32, np.float32]:
    """Trilinear mean of the flow at a point; nothing flows beyond the array."""
    _, deep, high, wide = field.shape
    z, y, x = int(np.floor(at[0])), int(np.floor(at[1])), int(np.floor(at[2]))
    w, v, u = at[0] - np.float32(z), at[1] - np.float32(y), at[2] - np.float32(x)
    one = np.float32(1)
    fz = fy = fx = np.float32(0)
    for k, a in ((z, one - w), (z + 1, w)):
        for j, b in ((y, one - v), (y + 1, v)):
            for i, c in ((x, one - u), (x + 1, u)):
                if 0 <= k < deep and 0 <= j < high and 0 <= i < wide:
                    weight = a * b * c
                    fz += weight * field[0, k, j, i]
                    fy += weight * field[1, k, j, i]
                    fx += weight * field[2, k, j, i]
    return fz, fy, fx
