"""Two opinions about the same voxels, counted: which ids meet, and in how many voxels.

Voxels are read in runs (neighbours along x mostly agree) and each run is one step in a hash
table, so the cost follows the number of runs and not the range of the ids. All counts are
integers, so tables of disjoint regions add up exactly, in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.errors import ImageError

Pairs = NDArray[np.uint64]
"""(n, 2) ids that meet, sorted, without repeats."""
Counts = NDArray[np.int64]
"""(n,) voxels in which a pair meets."""
Ids = NDArray[np.unsignedinteger[Any]]

_START = 1 << 10
"""Slots of an empty hash table; a power of two."""


@njit(cache=True, nogil=True)
def slot_of(u, v, keys, counts):  # type: ignore[no-untyped-def]
    """Slot of the pair (u, v): its own, or the first free one; `counts` is 0 where free."""
    mask = np.uint64(len(counts) - 1)
    mixed = (u * np.uint64(0x9E3779B97F4A7C15)) ^ (v * np.uint64(0xC2B2AE3D27D4EB4F))
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    slot = (mixed >> np.uint64(17)) & mask
    while counts[slot] != 0 and (keys[slot, 0] != u or keys[slot, 1] != v):
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def _doubled(keys, counts):  # type: ignore[no-untyped-def]
    """Move a table to one with twice the slots."""
    more_keys = np.empty((2 * len(counts), 2), np.uint64)
    more_counts = np.zeros(2 * len(counts), np.int64)
    for i in range(len(counts)):
        if counts[i] != 0:
            slot = slot_of(keys[i, 0], keys[i, 1], more_keys, more_counts)
            more_keys[slot, 0] = keys[i, 0]
            more_keys[slot, 1] = keys[i, 1]
            more_counts[slot] = counts[i]
    return more_keys, more_counts


@njit(cache=True, nogil=True)
def _count_runs(a, b, background):  # type: ignore[no-untyped-def]
    """Hash table of the pairs of two flat arrays; free slots have count 0."""
    keys = np.empty((_START, 2), np.uint64)
    counts = np.zeros(_START, np.int64)
    used = 0
    i = 0
    while i < len(a):
        u, v, start = a[i], b[i], i
        while i < len(a) and a[i] == u and b[i] == v:
            i += 1
        if not background and (u == 0 or v == 0):
            continue
        slot = slot_of(np.uint64(u), np.uint64(v), keys, counts)
        if counts[slot] == 0:
            keys[slot, 0] = u
            keys[slot, 1] = v
            used += 1
        counts[slot] += i - start
        if 2 * used > len(counts):
            keys, counts = _doubled(keys, counts)
    return keys, counts


def as_ids(labels: NDArray[Any]) -> Ids:
    """Labels as uint32 or uint64, whichever holds their type; ImageError if they are no labels."""
    if labels.dtype.kind == "b" or not np.issubdtype(labels.dtype, np.integer):
        raise ImageError(
            f"labels have dtype {labels.dtype}; labels are whole numbers from 0: convert them."
        )
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise ImageError(
            f"labels go down to {labels.min()}; labels are whole numbers from 0: renumber them."
        )
    wide = np.uint32 if labels.dtype.itemsize <= 4 else np.uint64
    return labels.astype(wide, copy=False)


def overlap_counts(
    a: NDArray[Any], b: NDArray[Any], *, background: bool = False
) -> tuple[Pairs, Counts]:
    """Count the voxels of every pair of ids that two label arrays have at the same place.

    Parameters
    ----------
    a, b
        Labels of the same voxels, equal shapes with any number of axes, integers, 0 = background.
    background
        Whether pairs in which either id is 0 are counted as well.

    Returns
    -------
    pairs : (n, 2) uint64
        Ids in `a` and in `b`, in lexicographic order.
    counts : (n,) int64
        Voxels of each pair, at least 1.

    Raises
    ------
    ImageError
        The shapes differ, or an array does not hold labels.
    """
    if a.shape != b.shape:
        raise ImageError(f"labels of shape {a.shape} and {b.shape} do not cover the same voxels.")
    a, b = as_ids(a), as_ids(b)
    common = np.promote_types(a.dtype, b.dtype)
    flat = [np.ascontiguousarray(x, common).reshape(-1) for x in (a, b)]
    keys, counts = _count_runs(flat[0], flat[1], background)
    taken = counts > 0
    return _sorted(keys[taken], counts[taken])


def contingency(prediction: NDArray[Any], truth: NDArray[Any]) -> tuple[Pairs, Counts]:
    """Contingency table of two label arrays, background included: what metrics are made of."""
    return overlap_counts(prediction, truth, background=True)


def _sorted(pairs: Pairs, counts: Counts) -> tuple[Pairs, Counts]:
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], counts[order]


def add_counts(tables: Sequence[tuple[Pairs, Counts]]) -> tuple[Pairs, Counts]:
    """Sum the tables of disjoint regions: exact, and the same in whatever order they come."""
    if not tables:
        return np.empty((0, 2), np.uint64), np.empty(0, np.int64)
    pairs, counts = _sorted(
        np.concatenate([p for p, _ in tables]), np.concatenate([c for _, c in tables])
    )
    if len(pairs) == 0:
        return pairs, counts
    first = np.flatnonzero(np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)])
    return pairs[first], np.add.reduceat(counts, first)


@dataclass(frozen=True, slots=True)
class Edges:
    """What two blocks think of the zone that both labelled: one row per pair that shares voxels."""

    u: NDArray[np.uint64]
    """(n,) ids in the first block."""
    v: NDArray[np.uint64]
    """(n,) ids in the second block."""
    n_u: Counts
    """(n,) voxels of u in the zone, whatever the second block says there."""
    n_v: Counts
    """(n,) voxels of v in the zone."""
    n_uv: Counts
    """(n,) voxels that are u and v."""

    def __len__(self) -> int:
        return len(self.u)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The rows as named columns, to store."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def zone_edges(a: NDArray[Any], b: NDArray[Any]) -> Edges:
    """Edges between the objects of two blocks from their labels of the zone they share.

    A pair of blocks has one zone, so each edge is made once; its counts are integers.

    Parameters
    ----------
    a, b
        The first and the second block's labels of the same zone, equal shapes, block-local ids.

    Returns
    -------
    Edges
        Sorted by (u, v).
    """
    pairs, counts = overlap_counts(a, b, background=True)
    real = (pairs != 0).all(axis=1)
    shared = pairs[real]
    n_u, n_v = (sizes_of_rows(pairs[:, side], counts)[real] for side in (0, 1))
    return Edges(shared[:, 0].copy(), shared[:, 1].copy(), n_u, n_v, counts[real])


def sizes_of_rows(ids: NDArray[np.uint64], counts: Counts) -> Counts:
    """Voxels of each row's id, over all rows of a table."""
    unique, inverse = np.unique(ids, return_inverse=True)
    total = np.zeros(len(unique), np.int64)
    np.add.at(total, inverse, counts)
    return total[inverse]
