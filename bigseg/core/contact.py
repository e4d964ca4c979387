"""Which objects go on beyond the face at which two arrays of labels meet without overlap.

There are no two opinions about any voxel then. So each side's labels are continued by one voxel:
an object's outline moves on as it did between its last two sections, which follows what is oblique,
widens or comes to an end. The face then has a zone of two planes that both sides have labelled.
How alike two objects are there (Ochiai) is weighed with the share of the smaller last section that
lies on the other one: tips of cells are small where they begin, and are no cells of their own.
Objects that find none alike look one voxel aside, where the outline of something thin may have
jumped just at the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, find_objects

from bigseg.core.evidence import Evidence, logit, similarity
from bigseg.core.overlap import Edges, zone_edges

Plane = NDArray[np.uint32]
"""(a, b) local ids of a section along a face."""

Pairs = tuple[NDArray[Any], ...]
"""Columns of pairs: u, v, their voxels, and how alike they are."""

_ALIKE = 0.5
_ASIDE = tuple(by for by in product((-1, 0, 1), repeat=2) if any(by))
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
        Sorted by (u, v). Counts are those of two objects, as large as these are on average, whose
        overlap would say as much, so that all that is made for overlaps serves for faces.
    """
    ours = np.stack([first, continued(first, behind_first)])
    theirs = np.stack([continued(second, behind_second), second])
    found = _likeness(ours, theirs)
    left = [
        np.where(np.isin(side, ids[found[4] > _ALIKE]), np.uint32(0), side)
        for side, ids in ((ours, found[0]), (theirs, found[1]))
    ]
    if all(side.any() for side in left):
        aside = [_likeness(left[0], _moved(left[1], *by)) for by in _ASIDE]
        found = _best([found, *aside])
    u, v, n_u, n_v, alike = found
    voxels = np.maximum((n_u + n_v) // 2, 1)
    # Half alike is as good as nothing here; let it be so where costs are made of overlaps.
    usual = Evidence()
    overlap = 1 / (1 + np.exp(usual.bias / usual.overlap - logit(alike)))
    common = np.clip(np.ceil(voxels * overlap).astype(np.int64), 1, voxels)
    return Edges(u, v, voxels, voxels.copy(), common)


def _likeness(ours: Plane, theirs: Plane) -> Pairs:
    """Likeness of all pairs of objects that meet in two planes, the first of which is ours."""
    both, sections = zone_edges(ours, theirs), zone_edges(ours[0], theirs[1])
    shares = np.zeros(len(both))
    keys = [edges.u << np.uint64(32) | edges.v for edges in (both, sections)]
    known = np.isin(keys[1], keys[0])
    shared = sections.n_uv / np.minimum(sections.n_u, sections.n_v)
    shares[np.searchsorted(keys[0], keys[1][known])] = shared[known]
    alike = similarity(both)
    alike = np.sqrt(alike * np.maximum(alike, shares))
    return both.u, both.v, both.n_u, both.n_v, alike


def _best(found: Sequence[Pairs]) -> Pairs:
    """Each pair once, where it is most alike; in the order of ids."""
    u, v, n_u, n_v, alike = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((-alike, v, u))
    first = np.r_[True, (np.diff(u[order]) != 0) | (np.diff(v[order]) != 0)][: len(order)]
    kept = order[first]
    return u[kept], v[kept], n_u[kept], n_v[kept], alike[kept]


def _moved(planes: Plane, a: int, b: int) -> Plane:
    """Planes moved by at most one voxel; what leaves them is lost."""
    padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
    height, width = planes.shape[1:]
    return padded[:, 1 - a : 1 - a + height, 1 - b : 1 - b + width]


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
