"""Which regions touch, and what maps say where they do: edges of a region graph, block by block.

A contact is a pair of voxels of different regions that an offset apart; there are at most six of
them per voxel between direct neighbours. A block counts those between its own voxels, and those
between its own and later blocks', so every contact of the image is counted once. All columns are
integers: parts of a graph add up to the whole exactly, however it is cut and in whatever order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.boundary_costs import odds_table
from bigseg.core.boundary_maps import Eight, Offset
from bigseg.core.overlap import Pairs, slot_of
from bigseg.errors import ImageError

Columns = dict[str, NDArray[np.int64]]
"""Named columns of equal length, one row per edge."""

NAMES = ("contact", "sum_boundary", "min_boundary", "max_boundary", "odds")
"""Contacts; sum, least and most of the boundary (0 to 255) at them; sum of their log-odds."""
STEPS: tuple[Offset, ...] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
"""Every pair of direct neighbours, once."""
_START = 1 << 10
_ID_BITS = 32


def key(part: int) -> np.uint64:
    """What is added to the local ids of the `part`-th block to make them keys; 0 is one's own."""
    return np.uint64(part << _ID_BITS)


def split_keys(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part and local id of each key."""
    part = (keys >> np.uint64(_ID_BITS)).astype(np.int64)
    return part, (keys & np.uint64((1 << _ID_BITS) - 1)).astype(np.int64)


def region_edges(
    keys: NDArray[np.uint64], boundary: Eight, offsets: Sequence[Offset] | None = None
) -> tuple[Pairs, Columns]:
    """Count the contacts of a block's own regions with each other and with those of later blocks.

    Parameters
    ----------
    keys : (z, y, x)
        Labels of the block and as much of later blocks as `offsets` reach; 0 where there is no
        region, and in earlier blocks. Own ids are below 2^32, others have a `key` added.
    boundary : (k, z, y, x)
        Without `offsets` one map, and a contact is as much of a boundary as the more of its two
        voxels. With them a map per offset, which says at a voxel how much of a boundary there is
        between it and the voxel at the offset.
    offsets
        (z, y, x) of each map.

    Returns
    -------
    pairs : (n, 2) uint64
        Keys u < v of touching regions, sorted; u is the block's own.
    columns
        `NAMES` of each pair.

    Raises
    ------
    ImageError
        Shapes do not go together.
    """
    steps = STEPS if offsets is None else tuple(offsets)
    maps = 1 if offsets is None else len(steps)
    if boundary.shape != (maps, *keys.shape):
        raise ImageError(
            f"maps of shape {boundary.shape} do not go with {maps} offsets and labels of shape "
            f"{keys.shape}; give a channel per offset."
        )
    found, counts, sums = _collect(
        np.ascontiguousarray(keys),
        boundary,
        np.array(steps, np.int64).reshape(-1, 3),
        offsets is None,
        odds_table(),
    )
    taken = counts > 0
    pairs, contact, sums = found[taken], counts[taken], sums[taken]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    rest = {name: sums[order, i] for i, name in enumerate(NAMES[1:])}
    return pairs[order], {"contact": contact[order], **rest}


def add_edges(tables: Sequence[tuple[Pairs, Columns]]) -> tuple[Pairs, Columns]:
    """Sum the rows of equal pairs of several tables."""
    pairs = np.concatenate([np.empty((0, 2), np.uint64), *(p for p, _ in tables)])
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs = pairs[order]
    if not len(pairs):
        return pairs, {name: np.zeros(0, np.int64) for name in NAMES}
    first = np.flatnonzero(np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)])
    joined: Columns = {}
    for name in NAMES:
        column = np.concatenate([columns[name] for _, columns in tables])[order]
        joined[name] = _REDUCE.get(name, np.add).reduceat(column, first)
    return pairs[first], joined


_REDUCE: dict[str, np.ufunc] = {"min_boundary": np.minimum, "max_boundary": np.maximum}


def same_regions(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.int64]:
    """Local ids (n, 2), from 1, of the regions of two blocks that grew from the same seed.

    Parameters
    ----------
    ours, theirs
        Seed of each region in order of local ids; negative: none.
    """
    _, u, v = np.intersect1d(ours, theirs, return_indices=True)
    real = ours[u] >= 0
    return np.stack([u[real], v[real]], axis=1).astype(np.int64) + 1


@njit(cache=True, nogil=True)
def _doubled(keys, counts, sums):  # type: ignore[no-untyped-def]
    """Move a table to one with twice the slots."""
    more_keys = np.empty((2 * len(counts), 2), np.uint64)
    more_counts = np.zeros(2 * len(counts), np.int64)
    more_sums = np.zeros((2 * len(counts), 4), np.int64)
    for i in range(len(counts)):
        if counts[i] != 0:
            slot = slot_of(keys[i, 0], keys[i, 1], more_keys, more_counts)
            more_keys[slot] = keys[i]
            more_counts[slot] = counts[i]
            more_sums[slot] = sums[i]
    return more_keys, more_counts, more_sums


@njit(cache=True, nogil=True)
def _collect(labels, boundary, steps, both, odds):  # type: ignore[no-untyped-def]
    """Hash table of the contacts of a block; free slots have count 0."""
    keys = np.empty((_START, 2), np.uint64)
    counts = np.zeros(_START, np.int64)
    sums = np.zeros((_START, 4), np.int64)
    used = 0
    own = np.uint64(1) << np.uint64(_ID_BITS)
    nz, ny, nx = labels.shape
    for k in range(len(steps)):
        dz, dy, dx = steps[k]
        for z in range(max(-dz, 0), nz - max(dz, 0)):
            for y in range(max(-dy, 0), ny - max(dy, 0)):
                for x in range(max(-dx, 0), nx - max(dx, 0)):
                    u, v = labels[z, y, x], labels[z + dz, y + dy, x + dx]
                    if u == v or u == 0 or v == 0 or (u >= own and v >= own):
                        continue
                    if both:
                        value = max(boundary[0, z, y, x], boundary[0, z + dz, y + dy, x + dx])
                    else:
                        value = boundary[k, z, y, x]
                    if u > v:
                        u, v = v, u
                    slot = slot_of(u, v, keys, counts)
                    if counts[slot] == 0:
                        keys[slot, 0], keys[slot, 1] = u, v
                        sums[slot, 1] = value
                        used += 1
                    counts[slot] += 1
                    sums[slot, 0] += value
                    sums[slot, 1] = min(sums[slot, 1], value)
                    sums[slot, 2] = max(sums[slot, 2], value)
                    sums[slot, 3] += odds[value]
                    if 2 * used > len(counts):
                        keys, counts, sums = _doubled(keys, counts, sums)
    return keys, counts, sums
