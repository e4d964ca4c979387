"""Three-dimensional fields from a two-dimensional network: planes along each axis, averaged.

As in Cellpose's 3D mode, each axis of the flow comes from the two orientations of planes that
contain it, and the cell probability from all three. Cellpose adds them up; here they are averaged,
so that a step stays at most about one voxel long and thresholds mean the same in 2D and 3D.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bigseg.types import Floats

PlaneFunction = Callable[..., Floats]
"""(n, c, h, w) planes to (n, k, h, w): flow along h, flow along w, then logits; or logits only.
Besides, it is given which pixels (n, h, w) are wanted, where not all are."""

ORIENTATIONS = ((0, (1, 2)), (1, (0, 2)), (2, (0, 1)))
"""Axis along which planes are stacked, and the two axes they contain, of (z, y, x)."""

Range = tuple[int, int]


def predict_volume(
    predict: PlaneFunction,
    volume: Floats,
    core: tuple[Range, Range, Range],
    *,
    outputs: int = 3,
    vectors: bool = True,
    planes: int = 32,
    wanted: NDArray[np.bool_] | None = None,
) -> Floats:
    """Average the outputs of planes in all three orientations.

    Parameters
    ----------
    predict
        Network with its tiling.
    volume : (c, z, y, x) float32
        Context included.
    core
        First and last + 1 voxel, along z, y, x, for which outputs are wanted. Only planes through
        the core are computed.
    outputs
        Maps that `predict` makes.
    vectors
        Whether the first two are flows.
    planes
        Planes per call, which bounds the memory.
    wanted : (z, y, x) bool, or None for all
        Voxels of the volume whose outputs matter; elsewhere they may be anything.

    Returns
    -------
    (outputs + 1, z, y, x) float32
        Flow z, y, x and logits, of the core; or the logits only, if there are no flows.
    """
    shape = tuple(stop - start for start, stop in core)
    first_logit = 2 if vectors else 0
    field = np.zeros((outputs + vectors, *shape), np.float32)
    for across, within in ORIENTATIONS:
        stack = np.moveaxis(volume, 1 + across, 0)  # (n, c, h, w)
        there = volume if wanted is None else np.moveaxis(wanted, across, 0)
        result = np.moveaxis(field, 1 + across, 1)  # (4, n, h, w)
        crop = (slice(None), slice(None), *(slice(*core[axis]) for axis in within))
        start, stop = core[across]
        for first in range(start, stop, planes):
            chosen = slice(first, min(first + planes, stop))
            part = np.ascontiguousarray(stack[chosen])
            maps = predict(part) if wanted is None else predict(part, there[chosen])
            maps = maps[crop]
            place = slice(chosen.start - start, chosen.stop - start)
            for channel, axis in enumerate(within if vectors else ()):
                result[axis, place] += maps[:, channel] / 2
            for channel in range(first_logit, outputs):
                result[channel + vectors, place] += maps[:, channel] / 3
    return field


def positions(start: float, count: int, step: float) -> NDArray[np.float64]:
    """Centres of `count` voxels of width `step` from edge `start`, in voxels of the other grid."""
    return np.asarray(start + (np.arange(count) + 0.5) * step - 0.5, np.float64)


def resample(array: Floats, axis: int, at: NDArray[np.float64]) -> Floats:
    """Interpolate linearly along one axis; beyond the ends the end value holds."""
    length = array.shape[axis]
    at = np.clip(at, 0, length - 1)
    if len(at) == length and np.array_equal(at, np.arange(length)):
        return array
    lower = np.minimum(at.astype(np.intp), max(length - 2, 0))
    weight = (at - lower).astype(np.float32)
    weight = weight.reshape([-1 if a == axis else 1 for a in range(array.ndim)])
    result: Floats = np.take(array, lower, axis)
    step = np.take(array, np.minimum(lower + 1, length - 1), axis)
    step -= result
    step *= weight
    result += step
    return result


def needed_for(
    wanted: NDArray[np.bool_], axis: int, at: NDArray[np.float64], length: int
) -> NDArray[np.bool_]:
    """What `resample` must be given for the wanted voxels of its result, along one axis.

    Parameters
    ----------
    wanted
        Of the result.
    axis, at
        As for `resample`.
    length
        Of what it is given, along the axis.
    """
    at = np.clip(at, 0, length - 1)
    lower = np.minimum(at.astype(np.intp), max(length - 2, 0))
    moved = np.moveaxis(wanted, axis, 0)
    needed = np.zeros((length, *moved.shape[1:]), bool)
    for places in (lower, np.minimum(lower + 1, length - 1)):
        np.logical_or.at(needed, places, moved)
    return np.moveaxis(needed, 0, axis)
