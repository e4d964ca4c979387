"""Where the own voxels of two blocks touch: which ids meet across the face, and do flows agree.

Overlap compares two opinions about the same voxels. Contact needs none: it is all there is between
blocks that do not overlap, and where they do, it tells whether an object that no block sees whole
goes on beyond the face. All columns are integers, so parts of a face add up exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.evidence import AGREEMENT_STEPS
from bigseg.core.overlap import Counts, as_ids, overlap_counts, sizes_of_rows
from bigseg.errors import ImageError


@dataclass(frozen=True, slots=True)
class Contacts:
    """What meets across the face between two blocks: one row per pair of objects that touch."""

    u: NDArray[np.uint64]
    """(n,) ids in the first block."""
    v: NDArray[np.uint64]
    """(n,) ids in the second block."""
    face_u: Counts
    """(n,) voxels of u at the face, whatever lies beyond."""
    face_v: Counts
    """(n,) voxels of v at the face."""
    contact: Counts
    """(n,) voxels of u beyond which lies one of v."""
    agreement: Counts
    """(n,) sum over these of the cosine between the flows on both sides, in 1/1000."""

    def __len__(self) -> int:
        return len(self.u)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The rows as named columns, to store."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def face_contacts(
    a: NDArray[Any],
    b: NDArray[Any],
    flows_a: NDArray[np.int8] | None = None,
    flows_b: NDArray[np.int8] | None = None,
) -> Contacts:
    """Contacts between two blocks from the layers of own voxels on both sides of their face.

    Parameters
    ----------
    a, b
        Labels of the first block's last and the second block's first layer, equal shapes,
        block-local ids, 0 = background.
    flows_a, flows_b : (d, …) int8
        Flows there, as `core.quantise` keeps them; without them agreement is 0.

    Returns
    -------
    Contacts
        Sorted by (u, v).

    Raises
    ------
    ImageError
        Shapes differ, or an array does not hold labels.
    """
    pairs, counts = overlap_counts(a, b, background=True)
    real = (pairs != 0).all(axis=1)
    face_u, face_v = (sizes_of_rows(pairs[:, side], counts)[real] for side in (0, 1))
    agreement = np.zeros(len(pairs), np.int64)
    if flows_a is not None and flows_b is not None:
        for flows in (flows_a, flows_b):
            if flows.shape[1:] != a.shape:
                raise ImageError(f"flows of shape {flows.shape} do not go with {a.shape} voxels.")
        flat = [np.ascontiguousarray(as_ids(x), np.uint64).reshape(-1) for x in (a, b)]
        field = [np.ascontiguousarray(f).reshape(len(f), -1) for f in (flows_a, flows_b)]
        _agree(flat[0], flat[1], field[0], field[1], pairs, agreement)
    shared = pairs[real]
    return Contacts(
        shared[:, 0].copy(), shared[:, 1].copy(), face_u, face_v, counts[real], agreement[real]
    )


@njit(cache=True, nogil=True)
def _row(u, v, pairs):  # type: ignore[no-untyped-def]
    """Row of (u, v) in sorted pairs that hold it."""
    low, high = 0, len(pairs) - 1
    while low < high:
        middle = (low + high) // 2
        if pairs[middle, 0] < u or (pairs[middle, 0] == u and pairs[middle, 1] < v):
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _agree(a, b, flows_a, flows_b, pairs, agreement):  # type: ignore[no-untyped-def]
    """Add to each pair's `agreement` the cosines of its voxels, one by one rounded to integers."""
    row = 0
    for i in range(len(a)):
        u, v = a[i], b[i]
        if u == 0 or v == 0:
            continue
        dot = square_a = square_b = np.int64(0)
        for k in range(len(flows_a)):
            p, q = np.int64(flows_a[k, i]), np.int64(flows_b[k, i])
            dot += p * q
            square_a += p * p
            square_b += q * q
        if square_a == 0 or square_b == 0:
            continue
        if pairs[row, 0] != u or pairs[row, 1] != v:
            row = _row(u, v, pairs)
        cosine = dot / np.sqrt(np.float64(square_a) * np.float64(square_b))
        agreement[row] += np.int64(np.rint(cosine * AGREEMENT_STEPS))
