"""Ids of any size, with or without gaps, made 1, 2, 3, …: labels as others write them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.overlap import as_ids, overlap_counts
from bigseg.errors import ImageError


@njit(cache=True, nogil=True)
def _numbered(flat, ids, numbers):  # type: ignore[no-untyped-def]
    """Place of each label in the sorted `ids`, from 1; neighbours are mostly the same."""
    i = 0
    while i < len(flat):
        label, start = flat[i], i
        while i < len(flat) and flat[i] == label:
            i += 1
        if label == 0:
            continue
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high) // 2
            if ids[middle] < label:
                low = middle + 1
            else:
                high = middle
        numbers[start:i] = low + 1


def densified(labels: NDArray[Any]) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
    """Number the objects of an array 1..n, in the order of their ids.

    Parameters
    ----------
    labels
        Integers of any type and any size, 0 = background.

    Returns
    -------
    (…) uint32
        Labels 1..n.
    (n,) uint64
        Former id of each.

    Raises
    ------
    ImageError
        These are no labels, or there are more than uint32 can number.
    """
    wide = np.ascontiguousarray(as_ids(labels))
    pairs, _ = overlap_counts(wide, wide)
    ids = pairs[:, 0].copy()
    if len(ids) > np.iinfo(np.uint32).max:
        raise ImageError(f"{len(ids)} objects in one tile are too many; cut it into smaller tiles.")
    numbers = np.zeros(wide.size, np.uint32)
    _numbered(wide.reshape(-1), ids.astype(wide.dtype), numbers)
    return numbers.reshape(wide.shape), ids
