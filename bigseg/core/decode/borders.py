"""Class logits to objects: connected cells, grown over the borders around them.

U-Net2 and U-Net3 of Xun et al. 2021, doi 10.1101/2021.12.19.473392: a network tells background from
cell, and in U-Net3 from the border of a cell. Pieces of cell that hang together are objects, and
border goes to the object that is nearest.

Borders are handed out in steps, from the objects outwards and through border only, so an object
stays in one piece, comes out the same whatever box it is cut from, and 3D needs nothing more. The
published way compares blurred masks (`parity`), which also gives away what lies beyond a gap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from bigseg.core.quantise import quantise, unpack
from bigseg.types import Floats

PAD = 10
"""Pixels around an object in which the published code looks for its border."""
BLUR = 5.0
"""Standard deviation of the published code's blur, pixels."""


def margins(logits: Floats) -> Floats:
    """Maps that decide: (k, …) class logits → (k − 1, …) cell above background, logit of border."""
    first = logits[1] - logits[0]
    return np.concatenate([first[None], logits[2:]])


def pack_margins(maps: Floats) -> NDArray[np.int8]:
    """Margins in eight bits, of the same shape; background is 0. See `core.quantise`."""
    nothing = np.empty((0, *maps.shape[1:]), np.float32)
    return np.concatenate([quantise(nothing, one) for one in maps])


def unpack_margins(packed: NDArray[np.int8]) -> Floats:
    """Margins of `pack_margins`, float32."""
    return np.stack([unpack(one[None])[1] for one in packed])


def labels_from_borders(
    maps: NDArray[Any],
    *,
    cell_threshold: float = 2.0,
    border_threshold: float = 0.5,
    reach: int = 10,
    parity: bool = False,
) -> NDArray[np.uint32]:
    """Connected cells with their borders.

    Parameters
    ----------
    maps : (1 or 2, y, x) or (1 or 2, z, y, x) float32 or int8
        What `margins` or `pack_margins` makes of class logits. NaN is background.
    cell_threshold
        Cell is where its logit is this much above that of the background.
    border_threshold
        Border is where its logit is above this.
    reach
        Farthest that an object grows, in voxels; a third of a diameter.
    parity
        Hand borders out as the published code does.

    Returns
    -------
    (y, x) or (z, y, x) uint32
        Ids 1..n in C order, 0 = background.

    Raises
    ------
    ValueError
        If there are neither one nor two maps.
    """
    if len(maps) not in (1, 2):
        raise ValueError(
            f"maps of shape {maps.shape} are not margins of two or three classes; "
            "expected (1 or 2, y, x) or (1 or 2, z, y, x)."
        )
    if maps.dtype == np.int8:
        maps = unpack_margins(maps)
    found: NDArray[np.int32] = ndimage.label(maps[0] > cell_threshold)[0]
    labels = found.astype(np.uint32)
    if len(maps) == 1:
        return labels
    free = (labels == 0) & (maps[1] > border_threshold)
    if parity:
        return _nearest_blurred(found, free)
    volume = labels.reshape((1,) * (3 - labels.ndim) + labels.shape)
    _grow(volume, np.argwhere(free.reshape(volume.shape)), reach)
    return volume.reshape(labels.shape)


@njit(cache=True, nogil=True)
def _grow(labels: NDArray[np.uint32], free: NDArray[np.int64], reach: int) -> None:
    """Give free voxels to the object that reaches them first; of several, to the smaller id."""
    ids = np.zeros(len(free), np.uint32)
    left = len(free)
    for _ in range(reach):
        for i in range(left):
            ids[i] = _touching(labels, free[i, 0], free[i, 1], free[i, 2])
        still = 0
        for i in range(left):
            if ids[i]:
                labels[free[i, 0], free[i, 1], free[i, 2]] = ids[i]
            else:
                free[still] = free[i]
                still += 1
        if still == left:
            return
        left = still


@njit(cache=True, nogil=True)
def _touching(labels: NDArray[np.uint32], z: int, y: int, x: int) -> np.uint32:
    """Smallest id that a voxel has a face in common with, or 0."""
    smallest = np.uint32(0)
    for k, j, i in ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, 1), (0, 1, 0), (1, 0, 0)):
        a, b, c = z + k, y + j, x + i
        if 0 <= a < labels.shape[0] and 0 <= b < labels.shape[1] and 0 <= c < labels.shape[2]:
            id_ = labels[a, b, c]
            if id_ and (smallest == 0 or id_ < smallest):
                smallest = id_
    return smallest


def _nearest_blurred(found: NDArray[np.int32], free: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Give free voxels to the object whose blurred mask is highest there, within its box."""
    blurred = np.full(found.shape, -np.inf, np.float32)
    owner = np.zeros(found.shape, np.uint32)
    for id_, box in enumerate(ndimage.find_objects(found), 1):
        wide = tuple(
            slice(max(side.start - PAD, 0), min(side.stop + PAD, length))
            for side, length in zip(box, found.shape, strict=True)
        )
        mask = ndimage.gaussian_filter((found[wide] == id_).astype(np.float32), BLUR)
        # As published, by 1 − mask: that rounds, and of equals the last is taken.
        mask = 1 - (1 - mask)
        nearer = mask >= blurred[wide]
        blurred[wide][nearer] = mask[nearer]
        owner[wide][nearer] = id_
    return np.where(free, owner, found).astype(np.uint32)
