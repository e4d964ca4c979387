"""From block-local ids to final ids: dense node numbers, canonical ids, fast application."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from bigseg.errors import ImageError
from bigseg.types import Labels


def dense_offsets(counts: ArrayLike) -> NDArray[np.int64]:
    """Number of the first node of each block, given how many objects each block has.

    The node of local id i (from 1) in block k is ``offsets[k] + i - 1``; nodes of block k are
    ``offsets[k]:offsets[k + 1]``.

    Parameters
    ----------
    counts
        (blocks,) objects per block, in grid order.

    Returns
    -------
    (blocks + 1,) int64
        Exclusive cumulative sum; the last entry is the number of nodes.
    """
    sizes = np.asarray(counts, np.int64)
    if sizes.size and sizes.min() < 0:
        raise ValueError(f"block {int(sizes.argmin())} has {sizes.min()} objects.")
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def final_ids(
    component: NDArray[Any], has_own_voxels: NDArray[np.bool_], keep: NDArray[np.bool_] | None
) -> NDArray[np.uint64]:
    """Give each node its final id: 1..N without gaps, in the order of first own nodes.

    Nodes are numbered by block and local id, so ids depend on neither the order in which blocks
    ran nor on how a solver names its clusters.

    Parameters
    ----------
    component
        (nodes,) component of each node, dense from 0.
    has_own_voxels
        (nodes,) whether the node has voxels that its block writes. A component without any (an
        object that only a neighbour's halo believes in) gets no id.
    keep
        (nodes,) False where a node is to vanish, or None; ``keep[component]`` drops by component.

    Returns
    -------
    (nodes,) uint64
        Final ids; 0 where nothing is to be written.
    """
    use = has_own_voxels if keep is None else has_own_voxels & keep
    of_component = np.zeros(int(component.max()) + 1 if len(component) else 0, np.uint64)
    owners = component[use]
    named, first = np.unique(owners, return_index=True)
    of_component[named[np.argsort(first)]] = np.arange(1, len(named) + 1, dtype=np.uint64)
    ids: NDArray[np.uint64] = of_component[component]
    if keep is not None:
        ids[~keep] = 0
    return ids


def id_dtype(largest: int) -> type[np.uint32 | np.uint64]:
    """Type of the label image that has to hold ids up to `largest`."""
    return np.uint32 if largest <= np.iinfo(np.uint32).max else np.uint64


def relabel(
    labels: Labels, table: NDArray[Any], dtype: type[np.uint32 | np.uint64] | None = None
) -> Labels:
    """Replace block-local ids by final ids.

    Parameters
    ----------
    labels
        Labels with local ids 1..n, any shape; 0 is background and stays 0.
    table
        (n,) final id of each local id.
    dtype
        Type of the result; by default the smallest of uint32 and uint64 that holds `table`.

    Raises
    ------
    ImageError
        A label is larger than the table: labels and table are not of the same block or run; or
        `dtype` does not hold an id.
    """
    largest = int(labels.max()) if labels.size else 0
    if largest > len(table):
        raise ImageError(
            f"label {largest} is not in the table of {len(table)} objects; labels and table are of "
            "different blocks or runs: label the block again."
        )
    highest = int(table.max()) if len(table) else 0
    if dtype is None:
        dtype = id_dtype(highest)
    if highest > np.iinfo(dtype).max:
        raise ImageError(f"id {highest} does not fit {dtype.__name__}; use uint64 labels.")
    lookup = np.zeros(len(table) + 1, dtype)
    lookup[1:] = table
    return looked_up(labels, lookup)


def looked_up(labels: Labels, lookup: NDArray[Any]) -> NDArray[Any]:
    """What a table, (n + 1,), holds for each label up to n: any shape, the type of the table.

    NumPy would first make an index of eight bytes of every label, as much memory as the labels and
    the result together.
    """
    found = np.empty(labels.shape, lookup.dtype)
    _look_up(np.ascontiguousarray(labels).ravel(), lookup, found.ravel())
    return found


@njit(cache=True, nogil=True)
def _look_up(labels: Labels, lookup: NDArray[Any], found: NDArray[Any]) -> None:
    for voxel, label in enumerate(labels):
        found[voxel] = lookup[label]
