"""Flow targets: for every voxel of an object, the direction of its centre by heat diffusion.

Stringer et al. 2021, Nature Methods 18:100: heat enters at the centre of an object, spreads inside
it and is lost outside; the normalised gradient of the temperature is the flow. Each object is
diffused alone, in a padded box that fits the cache, for as many rounds as its own extent asks for,
so a long object does not slow the others and neighbours do not bend each other's flow.

In 3D nothing is published to be equal to, so the rounds use new values as soon as they are there.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.types import Floats, Labels

SOURCE = np.float32(1e30)
"""Heat per round: so much that float32 does not underflow at the end of a long, thin object."""

Boxes = NDArray[np.int32]


def flow_targets(labels: Labels) -> Floats:
    """Unit flows towards the centre of each object.

    Parameters
    ----------
    labels : (y, x) or (z, y, x) int
        Instance ids, 0 = background; ids need not be dense.

    Returns
    -------
    (2, y, x) or (3, z, y, x) float32
        Flow along each axis; zero in the background.
    """
    volume = as_volume(labels)
    flows = np.zeros((3, *volume.shape), np.float32)
    _fill_targets(volume, object_boxes(volume), labels.ndim == 2, flows)
    return flows[3 - labels.ndim :].reshape(labels.ndim, *labels.shape)


def as_volume(labels: Labels) -> NDArray[np.uint32]:
    """Labels as (z, y, x) uint32, z = 1 for a plane, with ids that are not larger than needed."""
    if labels.size and int(labels.max()) > max(labels.size, 2**16):
        ids, dense = np.unique(labels, return_inverse=True)
        labels = dense.reshape(labels.shape) + (1 if ids[0] else 0)
    volume = labels.reshape((1,) * (3 - labels.ndim) + labels.shape)
    return np.ascontiguousarray(volume, dtype=np.uint32)


def object_boxes(volume: NDArray[np.uint32]) -> Boxes:
    """Bounding box of each id of a (z, y, x) volume.

    Returns
    -------
    (n + 1, 6) int32
        First z, y, x and the z, y, x after the last; all zero for an id that does not occur.
    """
    return _boxes(volume, int(volume.max()) if volume.size else 0)


@njit(cache=True, nogil=True)
def _boxes(volume: NDArray[np.uint32], n: int) -> Boxes:
    boxes = np.zeros((n + 1, 6), np.int32)
    deep, high, wide = volume.shape
    for z in range(deep):
        for y in range(high):
            x = 0
            while x < wide:
                id_ = volume[z, y, x]
                start = x
                while x < wide and volume[z, y, x] == id_:
                    x += 1
                if id_:
                    box = boxes[id_]
                    if box[3] == 0:
                        box[0], box[1], box[2] = z, y, start
                    box[1] = min(box[1], y)
                    box[2] = min(box[2], start)
                    box[3] = z + 1
                    box[4] = max(box[4], y + 1)
                    box[5] = max(box[5], x)
    return boxes


@njit(cache=True, nogil=True)
def _fill_targets(volume: NDArray[np.uint32], boxes: Boxes, flat: bool, flows: Floats) -> None:
    for id_ in range(1, len(boxes)):
        if boxes[id_, 3]:
            heat = object_heat(volume, id_, boxes[id_], flat)
            z0, y0, x0, z1, y1, x1 = boxes[id_]
            for z in range(z0, z1):
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        if volume[z, y, x] == id_:
                            flow = direction(heat, z - z0 + 1, y - y0 + 1, x - x0 + 1)
                            flows[0, z, y, x] = flow[0]
                            flows[1, z, y, x] = flow[1]
                            flows[2, z, y, x] = flow[2]


@njit(cache=True, nogil=True)
def direction(heat: Floats, z: int, y: int, x: int) -> tuple[float, float, float]:
    """Unit gradient of the heat at a voxel; zero where it is flat."""
    fz = np.float64(heat[z + 1, y, x]) - np.float64(heat[z - 1, y, x])
    fy = np.float64(heat[z, y + 1, x]) - np.float64(heat[z, y - 1, x])
    fx = np.float64(heat[z, y, x + 1]) - np.float64(heat[z, y, x - 1])
    norm = np.sqrt(fz * fz + fy * fy + fx * fx)
    if norm == 0.0:
        return 0.0, 0.0, 0.0
    return fz / norm, fy / norm, fx / norm


@njit(cache=True, nogil=True)
def object_heat(volume: NDArray[np.uint32], id_: int, box: NDArray[np.int32], flat: bool) -> Floats:
    """Temperature of one object in its box, padded by a voxel of zeros on all sides."""
    z0, y0, x0, z1, y1, x1 = box
    inside = np.zeros((z1 - z0 + 2, y1 - y0 + 2, x1 - x0 + 2), np.float32)
    for z in range(z0, z1):
        for y in range(y0, y1):
            for x in range(x0, x1):
                if volume[z, y, x] == id_:
                    inside[z - z0 + 1, y - y0 + 1, x - x0 + 1] = 1
    heat = np.zeros_like(inside)
    centre = _centre(inside)
    if flat:
        rounds = 2 * ((y1 - y0) + (x1 - x0) + 2)
        _diffuse_plane(heat[1], inside[1] / np.float32(9), centre, rounds)
    else:
        rounds = ROUNDS_3D * ((z1 - z0) + (y1 - y0) + (x1 - x0) + 3)
        _diffuse_volume(heat, inside / np.float32(7), centre, rounds)
    return heat


ROUNDS_3D = 1


@njit(cache=True, nogil=True)
def _centre(inside: Floats) -> tuple[int, int, int]:
    """Voxel of the object that is nearest to its centre of mass."""
    total = np.zeros(3)
    n = 0
    for z, y, x in np.ndindex(inside.shape):
        if inside[z, y, x]:
            total[0] += z
            total[1] += y
            total[2] += x
            n += 1
    mean = total / n
    best, centre = np.inf, (0, 0, 0)
    for z, y, x in np.ndindex(inside.shape):
        if inside[z, y, x]:
            distance = (z - mean[0]) ** 2 + (y - mean[1]) ** 2 + (x - mean[2]) ** 2
            if distance < best:
                best, centre = distance, (z, y, x)
    return centre


@njit(cache=True, nogil=True)
def _diffuse_plane(heat: Floats, share: Floats, centre: tuple[int, int, int], rounds: int) -> None:
    """Mean over 3 x 3 pixels, heat outside being lost, `rounds` times (as published)."""
    high, wide = heat.shape
    sums = np.zeros_like(heat)
    for _ in range(rounds):
        heat[centre[1], centre[2]] += SOURCE
        for y in range(high):
            for x in range(wide - 2):
                sums[y, x + 1] = heat[y, x] + heat[y, x + 1] + heat[y, x + 2]
        for y in range(high - 2):
            for x in range(wide):
                heat[y + 1, x] = share[y + 1, x] * (sums[y, x] + sums[y + 1, x] + sums[y + 2, x])


@njit(cache=True, nogil=True)
def _diffuse_volume(heat: Floats, share: Floats, centre: tuple[int, int, int], rounds: int) -> None:
    """Mean over a voxel and its 6 neighbours, row by row, to and fro, `rounds` times."""
    deep, high, wide = heat.shape
    row = np.zeros(wide, np.float32)
    for turn in range(rounds):
        heat[centre] += SOURCE
        for i in range((deep - 2) * (high - 2)):
            if turn % 2:
                i = (deep - 2) * (high - 2) - 1 - i
            z = i // (high - 2) + 1
            y = i % (high - 2) + 1
            here = heat[z, y]
            above, below = heat[z - 1, y], heat[z + 1, y]
            before, after = heat[z, y - 1], heat[z, y + 1]
            part = share[z, y]
            for x in range(wide - 2):
                row[x] = part[x + 1] * (
                    here[x]
                    + here[x + 1]
                    + here[x + 2]
                    + above[x + 1]
                    + below[x + 1]
                    + before[x + 1]
                    + after[x + 1]
                )
            for x in range(wide - 2):
                here[x + 1] = row[x]
