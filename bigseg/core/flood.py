"""Seeded watershed whose result at a place depends on what is near, and on nothing else.

Levels are fixed, not those between the least and the most of an array, and voxels of one level are
flooded first come, first served, from seeds in C order. Floods that do not meet then never change
each other, so boxes of one image agree wherever both see the floods that meet there.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.types import Floats

_LEVELS = 1 << 16


def flood(height: Floats, seeds: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Watershed by flooding over faces of voxels (Meyer, 1994, doi:10.1016/0165-1684(94)90060-4).

    Parameters
    ----------
    height : (z, y, x)
        0 to 1, in 65,536 levels; what is beyond is as high as these.
    seeds : (z, y, x)
        Ids where floods begin, 0 elsewhere.

    Returns
    -------
    (z, y, x) uint32
        Id of the flood that came first; 0 only if there is no seed.
    """
    labels = np.array(seeds, np.uint32, order="C")
    if labels.any():
        steps = np.rint(np.clip(height, 0, 1) * np.float32(_LEVELS - 1)).astype(np.uint16)
        wide = np.int32 if labels.size < 1 << 31 else np.int64
        _spread(steps.reshape(-1), labels.reshape(-1), labels.shape, np.full(labels.size, -1, wide))
    return labels


@njit(cache=True, nogil=True)
def _spread(level, labels, shape, following):  # type: ignore[no-untyped-def]
    """Label all voxels: a queue for each level, chained through `following`."""
    strides = (shape[1] * shape[2], shape[2], 1)
    first = np.full(_LEVELS, -1, np.int64)
    last = np.full(_LEVELS, -1, np.int64)
    for i in range(len(labels)):
        if labels[i] != 0:
            _append(i, level[i], first, last, following)
    now = 0
    while now < _LEVELS:
        i = first[now]
        if i < 0:
            now += 1
            continue
        first[now] = following[i]
        for axis in range(3):
            at = (i // strides[axis]) % shape[axis]
            for step in (-1, 1):
                if at + step < 0 or at + step >= shape[axis]:
                    continue
                j = i + step * strides[axis]
                if labels[j] == 0:
                    labels[j] = labels[i]
                    _append(j, max(now, np.int64(level[j])), first, last, following)


@njit(cache=True, nogil=True)
def _append(i, level, first, last, following):  # type: ignore[no-untyped-def]
    """Put a voxel at the end of the queue of a level."""
    if first[level] < 0:
        first[level] = i
    else:
        following[last[level]] = i
    last[level] = i
