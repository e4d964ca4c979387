"""Planes in which an object of a volume is missing, filled with a shape between its neighbours.

The shape comes from distances to the outline, inside positive and outside negative, averaged
between the plane before and the plane after (Raya and Udupa, 1990). Both planes are looked at in
the object's own bounding box, so what is filled does not depend on how the image is cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from bigseg.core.objects import LOW, Table
from bigseg.types import Labels

Mask = NDArray[np.bool_]
Plane = tuple[tuple[int, int], Labels]
"""First y and x of a part of a plane, and its ids."""

BOX = ("y0", "y1", "x0", "x1")


def find_gaps(ids: NDArray[Any], nodes: Table, most: int) -> Table:
    """Where objects are missing between two planes that show them.

    Parameters
    ----------
    ids
        (n,) id in the volume of each object of a plane; 0 for those that are dropped.
    nodes
        `frame`, `z0` and the bounds `y0`, `y1`, `x0`, `x1` of each.
    most
        Planes in a row that are filled; longer gaps stay.

    Returns
    -------
    Table
        A row for each gap, by id and plane: `id`, `frame`, `before` and `after` (the planes that
        show the object, at most `most` + 1 apart) and the bounds of both.
    """
    rows = np.flatnonzero(ids > 0)
    order = rows[np.lexsort((nodes["z0"][rows], ids[rows]))]
    of, plane = ids[order].astype(np.uint64), nodes["z0"][order].astype(np.int32)
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = (of[1:] != of[:-1]) | (plane[1:] != plane[:-1])
    first = np.flatnonzero(fresh)
    bounds = {name: _widest(name, nodes[name][order], first) for name in BOX}
    of, plane, frame = of[first], plane[first], nodes["frame"][order[first]].astype(np.int32)
    step = np.diff(plane)
    low = np.flatnonzero((of[1:] == of[:-1]) & (step > 1) & (step <= most + 1))
    gaps: Table = {"id": of[low], "frame": frame[low]}
    gaps |= {"before": plane[low], "after": plane[low + 1]}
    for name, bound in bounds.items():
        gaps[name] = (np.minimum if name in LOW else np.maximum)(bound[low], bound[low + 1])
    return gaps


def _widest(name: str, bounds: NDArray[Any], first: NDArray[np.int64]) -> NDArray[np.int32]:
    """Bound of all rows from each `first` to the next."""
    wider = np.minimum if name in LOW else np.maximum
    return wider.reduceat(bounds, first).astype(np.int32) if len(first) else np.empty(0, np.int32)


def between(before: Mask, after: Mask, share: float) -> NDArray[np.float64]:
    """Shape between two shapes: how deep each voxel lies inside of it, negative outside.

    Parameters
    ----------
    before, after
        (y, x) shapes in the same box, which holds both.
    share
        Way from `before` (0) to `after` (1).
    """
    deep = (1 - share) * _depth(before) + share * _depth(after)
    return np.asarray(deep, np.float64)


def _depth(mask: Mask) -> NDArray[np.float64]:
    """Distance to the outline in pixels; a frame of background, so that there is an outline."""
    wide = np.pad(mask, 1)
    depth = distance_transform_edt(wide) - distance_transform_edt(~wide)
    return np.asarray(depth[1:-1, 1:-1], np.float64)


def fill_gaps(
    labels: Labels, corner: tuple[int, int, int], gaps: Table, planes: Mapping[int, Plane]
) -> NDArray[np.bool_]:
    """Fill the gaps of objects into the background of a block, in place.

    Where two objects could be filled in, the one that the voxel lies deeper in gets it, and of
    two as deep that of the smaller id.

    Parameters
    ----------
    labels
        (z, y, x) final ids of the block.
    corner
        Its first z, y, x.
    gaps
        All gaps of the block's frame whose bounds reach into it, as of `find_gaps`; their order
        does not matter.
    planes
        By their z, the planes before and after the gaps, at least within the bounds of each.

    Returns
    -------
    (z, y, x) bool
        Where something was filled in.
    """
    free = labels == 0
    deepest = np.zeros(labels.shape, np.float64)
    for row in np.argsort(gaps["id"], kind="stable"):
        gap = {name: int(column[row]) for name, column in gaps.items()}
        before, after = (_shape(gap, planes[gap[side]]) for side in ("before", "after"))
        first, last = gap["before"] + 1, gap["after"]
        for z in range(max(first, corner[0]), min(last, corner[0] + len(labels))):
            deep = between(before, after, (z - first + 1) / (last - first + 1))
            inside, part = _overlap(gap, corner, labels.shape)
            here, best = (array[z - corner[0]][inside] for array in (labels, deepest))
            wins = free[z - corner[0]][inside] & (deep[part] > best)
            here[wins] = gap["id"]
            best[wins] = deep[part][wins]
    return np.asarray(free & (labels > 0), np.bool_)


def _shape(gap: Mapping[str, int], plane: Plane) -> Mask:
    """Where the object of a gap is in a plane, within its bounds."""
    (y, x), ids = plane
    part = ids[gap["y0"] - y : gap["y1"] - y, gap["x0"] - x : gap["x1"] - x]
    return np.asarray(part == gap["id"], np.bool_)


def _overlap(
    gap: Mapping[str, int], corner: tuple[int, int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The bounds of a gap in the coordinates of the block, and the block in those of the gap."""
    inside, part = [], []
    for axis, low, high in ((1, "y0", "y1"), (2, "x0", "x1")):
        start = max(gap[low], corner[axis])
        stop = max(min(gap[high], corner[axis] + shape[axis]), start)
        inside.append(slice(start - corner[axis], stop - corner[axis]))
        part.append(slice(start - gap[low], stop - gap[low]))
    return tuple(inside), tuple(part)
