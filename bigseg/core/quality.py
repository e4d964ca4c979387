"""Keep, mend or drop objects: flow error, size, holes.

The flow error is that of Cellpose (Stringer et al. 2021, Nature Methods 18:100): an object whose
own heat diffusion disagrees with the flow of the network is not an object. Here it exists in 3D
too.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.targets import Boxes, as_volume, direction, object_boxes, object_heat
from bigseg.types import Floats


def flow_errors(
    labels: NDArray[np.uint32], flows: Floats, skip: NDArray[np.bool_] | None = None
) -> Floats:
    """Mean squared distance between the flow an object should have and the one it has.

    Parameters
    ----------
    labels : (y, x) or (z, y, x) uint32
        Ids 1..n.
    flows : (2, y, x) or (3, z, y, x) float32
        Voxels per Euler step: the output of the network divided by 5.
    skip : (n + 1,) bool, optional
        Objects not to be judged, such as those that the edge of a block cut; their error is 0.

    Returns
    -------
    (n + 1,) float32
        Sum over axes, mean over the voxels of each object; 0 at id 0 and at ids without voxels.
        Cellpose drops what is above 0.4.
    """
    volume = as_volume(labels)
    boxes = object_boxes(volume)
    if skip is not None:
        boxes[skip] = 0
    return _errors(volume, boxes, flows.reshape(len(flows), *volume.shape))


@njit(cache=True, nogil=True)
def _errors(volume: NDArray[np.uint32], boxes: Boxes, flows: Floats) -> Floats:
    errors = np.zeros(len(boxes), np.float32)
    flat = len(flows) == 2
    for id_ in range(1, len(boxes)):
        if boxes[id_, 3]:
            heat = object_heat(volume, id_, boxes[id_], flat)
            errors[id_] = _error(volume, id_, boxes[id_], heat, flows)
    return errors


@njit(cache=True, nogil=True)
def _error(
    volume: NDArray[np.uint32], id_: int, box: NDArray[np.int32], heat: Floats, flows: Floats
) -> float:
    z0, y0, x0, z1, y1, x1 = box
    total, n = 0.0, 0
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                if volume[z, y, x] == id_:
                    fz, fy, fx = direction(heat, z - z0 + 1, y - y0 + 1, x - x0 + 1)
                    total += (fy - flows[-2, z, y, x]) ** 2 + (fx - flows[-1, z, y, x]) ** 2
                    if len(flows) == 3:
                        total += (fz - flows[0, z, y, x]) ** 2
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
    ids = np.arange(len(bad), dtype=np.uint32)
    ids[bad] = 0
    return ids[labels]
