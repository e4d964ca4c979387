"""Which objects go on where two arrays of labels meet face to face, or share a few sections only.

There are no two opinions about a voxel, or only about few. So each side's labels are continued by
one voxel beyond its last section: an object's outline moves on as it did between its last two
sections, which follows what is oblique, widens or comes to an end. Both sides have then labelled
all shared sections and one more on either side. How alike two objects are there (Ochiai) is weighed
with the share of the smaller that lies on the other one in between: tips of cells are small where
they begin, and are no cells of their own.

Tiles may lie a voxel or two beside where they are said to lie, or see all outlines moved. So the
side is sought first by which the second array has to be moved for most to agree. Objects that
find none alike then look one voxel aside, where the outline of something thin may have jumped.
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
Sections = NDArray[np.uint32]
"""(n, a, b) sections towards the other array, the last one last."""
Move = tuple[int, int]
"""Voxels along a and b."""

Pairs = tuple[NDArray[Any], ...]
"""Columns of pairs: u, v, their voxels, and how alike they are."""

_ALIKE = 0.5
_ASIDE = tuple(by for by in product((-1, 0, 1), repeat=2) if any(by))
_ASTRAY = 2
"""Voxels by which arrays may be displaced along a face: each by one."""
_LONG = 16
"""Voxels of a face along an axis below which no displacement is sought along it."""
_GAIN = 0.01
"""By how much more arrays must agree, of 1, for each voxel by which one is moved."""
_MARGIN = 6
"""Voxels by which an outline may move in one step."""
_FAR = 99.0


def contact_edges(first: Sections, second: Sections, shared: int = 0) -> Edges:
    """Edges between the objects of two arrays that abut, or overlap by a few sections.

    Parameters
    ----------
    first, second
        Of each array the sections before where it ends, in the direction of the other one; 0 where
        a voxel is none of the side's. More than `shared` of each; with two at least, outlines are
        continued as they moved last.
    shared
        Sections that both have labelled, the last ones of each. The last section of one is the
        first shared one of the other.

    Returns
    -------
    Edges
        Sorted by (u, v). Counts are those of two objects, as large as these are on average, whose
        overlap would say as much, so that all that is made for overlaps serves for faces.
    """
    ours, theirs = _extended(first, shared), _extended(second, shared)[::-1]
    by = displacement(ours, theirs)
    window = _within(ours.shape[1:], by)
    ours, theirs = ours[window], _moved(theirs, *by)[window]
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


def displacement(ours: Sections, theirs: Sections) -> Move:
    """By how much theirs has to be moved for most of both to agree; zero unless that is clear.

    What agrees are voxels of objects that find each other most alike, for their likeness.
    """
    a, b = (range(-_ASTRAY, _ASTRAY + 1) if n >= _LONG else (0,) for n in ours.shape[1:])
    moves = sorted(((i, j) for i in a for j in b), key=lambda by: (sum(map(abs, by)), by))

    def gained(by: Move) -> float:
        window = _within(ours.shape[1:], by)
        agreed = _agreement(ours[window], _moved(theirs, *by)[window])
        return agreed - _GAIN * sum(map(abs, by))

    return max(moves, key=gained)


def _extended(sections: Sections, shared: int) -> Sections:
    """What of an array is compared: shared sections, one before, one beyond."""
    behind = sections[-2] if len(sections) > 1 else None
    return np.concatenate([sections[-1 - shared :], continued(sections[-1], behind)[None]])


def _within(shape: Sequence[int], by: Move) -> tuple[slice, ...]:
    """Where something that was moved has come from within."""
    return (
        slice(None),
        *(slice(max(step, 0), n + min(step, 0)) for n, step in zip(shape, by, strict=True)),
    )


def _agreement(ours: Sections, theirs: Sections) -> float:
    """Share of the labelled voxels that objects most alike to each other share, 0 to 1."""
    labelled = np.count_nonzero((ours > 0) | (theirs > 0))
    edges = zone_edges(ours, theirs)
    if not len(edges):
        return 0.0
    alike = similarity(edges)
    mutual = np.ones(len(edges), bool)
    for ids in (edges.u, edges.v):
        order = np.lexsort((-alike, ids))
        mutual[order[1:][np.diff(ids[order]) == 0]] = False
    return float((alike * edges.n_uv)[mutual].sum()) / labelled


def _likeness(ours: Sections, theirs: Sections) -> Pairs:
    """Likeness of all pairs of objects that meet in sections of both, ours first."""
    both = zone_edges(ours, theirs)
    # Where nothing is shared, what was seen is ours at the face on theirs beyond it.
    seen = (ours[:-1], theirs[1:]) if len(ours) == 2 else (ours[1:-1], theirs[1:-1])
    sections = zone_edges(*seen)
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


def _moved(planes: Sections, a: int, b: int) -> Sections:
    """Planes moved by a few voxels; what leaves them is lost."""
    most = max(abs(a), abs(b))
    padded = np.pad(planes, ((0, 0), (most, most), (most, most)))
    height, width = planes.shape[1:]
    return padded[:, most - a : most - a + height, most - b : most - b + width]


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
