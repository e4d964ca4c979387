"""Keep, mend or drop objects: flow error, size, holes.

The flow error is that of Cellpose (Stringer et al. 2021, Nature Methods 18:100): an object whose
own heat diffusion disagrees with the flow of the network is not an object. Here it exists in 3D
too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.quantise import FLOW_STEPS
from bigseg.core.targets import (
    CUBES,
    ROUGH,
    Boxes,
    Spacing,
    direction,
    object_boxes,
    object_heat,
)
from bigseg.types import Floats


def flow_errors(
    labels: NDArray[np.uint32],
    flows: NDArray[Any],
    skip: NDArray[np.bool_] | None = None,
    spacing: Spacing = CUBES,
) -> Floats:
    """Mean squared distance between the flow an object should have and the one it has.

    Parameters
    ----------
    labels : (y, x) or (z, y, x) uint32
        Ids 1..n.
    flows : (2, y, x) or (3, z, y, x) float32 or int8
        Voxels per Euler step: the output of the network divided by 5. int8 as in `quantise`.
    skip : (n + 1,) bool, optional
        Objects not to be judged, such as those that the edge of a block cut; their error is 0.
    spacing
        Voxel lengths along z, y, x, in those of x: flows are compared in space, not in voxels.

    Returns
    -------
    (n + 1,) float32
        Sum over axes, mean over the voxels of each object; 0 at id 0 and at ids without voxels.
        Cellpose drops what is above 0.4.

    Raises
    ------
    ValueError
        The shapes of labels and flows do not fit each other.
    """
    if flows.shape != (labels.ndim, *labels.shape):
        raise ValueError(
            f"flows of shape {flows.shape} do not fit labels of shape {labels.shape}; "
            f"expected {(labels.ndim, *labels.shape)}."
        )
    volume = labels.reshape((1,) * (3 - labels.ndim) + labels.shape)
    boxes = object_boxes(volume)
    if skip is not None:
        boxes[skip] = 0
    scale = 1 / FLOW_STEPS if flows.dtype == np.int8 else 1.0
    return _errors(volume, boxes, flows.reshape(len(flows), *volume.shape), scale, spacing)


@njit(cache=True, nogil=True)
def _errors(
    volume: NDArray[np.uint32], boxes: Boxes, flows: NDArray[Any], scale: float, spacing: Spacing
) -> Floats:
    errors = np.zeros(len(boxes), np.float32)
    for id_ in range(1, len(boxes)):
        if boxes[id_, 3]:
            heat = object_heat(volume, id_, boxes[id_], ROUGH, spacing)
            errors[id_] = _error(volume, id_, boxes[id_], heat, flows, scale, spacing)
    return errors


@njit(cache=True, nogil=True)
def _error(
    volume: NDArray[np.uint32],
    id_: int,
    box: NDArray[np.int32],
    heat: Floats,
    flows: NDArray[Any],
    scale: float,
    spacing: Spacing,
) -> float:
    z0, y0, x0, z1, y1, x1 = box
    sz, sy, sx = scale * spacing[0], scale * spacing[1], scale * spacing[2]
    total, n = 0.0, 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                if volume[z, y, x] == id_:
                    fz, fy, fx = direction(heat, (z - z0 + 1, y - y0 + 1, x - x0 + 1), spacing)
                    total += (fy - sy * flows[-2, z, y, x]) ** 2
                    total += (fx - sx * flows[-1, z, y, x]) ** 2
                    if len(flows) == 3:
                        total += (fz - sz * flows[0, z, y, x]) ** 2
                    n += 1
    return total / n


def sizes(labels: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Voxels of each id, (n + 1,); the background is at 0."""
    return _sizes(labels.ravel(), int(labels.max()) if labels.size else 0)


@njit(cache=True, nogil=True)
def _sizes(labels: NDArray[np.uint32], n: int) -> NDArray[np.int64]:
    voxels = np.zeros(n + 1, np.int64)
    for id_ in labels:
        voxels[id_] += 1
    return voxels


def remove_objects(labels: NDArray[np.uint32], bad: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Turn the ids for which `bad`, (n + 1,), is true into background; the others keep theirs."""
    kept = np.empty_like(labels, order="C")
    _keep(labels.ravel(), bad, kept.ravel())
    return kept


@njit(cache=True, nogil=True)
def _keep(labels: NDArray[np.uint32], bad: NDArray[np.bool_], kept: NDArray[np.uint32]) -> None:
    for voxel, id_ in enumerate(labels):
        kept[voxel] = np.uint32(0) if bad[id_] else id_
