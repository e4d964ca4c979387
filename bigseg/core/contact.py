"""Which objects go on beyond the face at which two arrays of labels meet without overlap.

There are no two opinions about any voxel then. So each side's labels are continued by one voxel:
an object's outline moves on as it did between its last two sections, which follows what is oblique,
widens or comes to an end. The face then has a zone of two planes that both sides have labelled, and
the usual evidence of two opinions applies.

Measured on faces through worlds that know the truth, of all pairs that touch there (touching cells
in 3D, 850 true pairs): 8 in 1000 pairs were judged wrongly with sections continued, 17 in 1000 with
the last sections compared as they are, each at its best threshold (0.3 and 0.4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from bigseg.core.overlap import Edges, zone_edges

Plane = NDArray[np.uint32]
"""(a, b) local ids of a section along a face."""

_MARGIN = 6
"""Voxels by which an outline may move in one step."""
_FAR = 99.0


def contact_edges(
    first: Plane, behind_first: Plane | None, second: Plane, behind_second: Plane | None
) -> Edges:
    """Edges between the objects of two arrays that abut.

    Parameters
    ----------
    first, second
        (a, b) sections of both sides at the face; 0 where a voxel is none of the side's.
    behind_first, behind_second
        (a, b) the next sections away from the face; None where there is only one.

    Returns
    -------
    Edges
        Counted over both sections, each once labelled and once continued from the other side.
    """
    ours = np.stack([first, continued(first, behind_first)])
    theirs = np.stack([continued(second, behind_second), second])
    return zone_edges(ours, theirs)


def continued(face: Plane, behind: Plane | None) -> Plane:
    """Next section of labels, from the last two: outlines move on by as much as they last moved.

    The signed distance of a voxel to an object's outline is extrapolated linearly; a voxel belongs
    to the object in which it would lie deepest, if to any.
    """
    if behind is None:
        return face
    ids, numbers = np.unique(face, return_inverse=True)
    numbers = numbers.reshape(face.shape)
    background = int(ids[0] == 0)
    found = np.zeros_like(face)
    deepest = np.zeros(face.shape)
    for place, label in zip(find_objects(numbers + 1 - background), ids[background:], strict=True):
        window = tuple(slice(max(s.start - _MARGIN, 0), s.stop + _MARGIN) for s in place)
        here, before = face[window] == label, behind[window] == label
        inside = _signed_distance(here)
        if before.any():
            inside = 2 * inside - _signed_distance(before)
        better = inside > deepest[window]
        deepest[window][better] = inside[better]
        found[window][better] = label
    return found


def _signed_distance(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance to the outline, positive inside; what touches the window's border goes on there."""
    padded = np.pad(mask, 1, mode="edge")
    if padded.all():
        return np.full(mask.shape, _FAR)
    distance = distance_transform_edt(padded) - distance_transform_edt(~padded)
    distance -= np.where(padded, 0.5, -0.5)
    return np.asarray(distance[1:-1, 1:-1], np.float64)
