"""Which detection of a result is which of the truth, frame by frame.

Masks are matched as by the Cell Tracking Challenge (Matula et al., 2015, PLoS ONE 10:e0144959): an
object of the result detects one of the truth if it covers more than half of it. So a true object
has at most one partner, but one object of the result may hold several true ones.

Points are matched one to one within a distance, such that the sum of what each pair is nearer than
that distance is largest; as traccuracy's `PointMatcher` does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from bigseg.core.overlap import Counts, Pairs
from bigseg.core.tracking.lineage import Integers, Ints

Floats = NDArray[np.float64]
_NEVER_ZERO = 0.1
"""Added to all costs, as a cost of 0 is no edge in a sparse matrix."""


@dataclass(frozen=True, slots=True)
class FrameMatches:
    """Objects of one frame and which of them are partners."""

    result: Ints
    """(r,) labels of the result."""
    true: Ints
    """(t,) labels of the truth."""
    pairs: Ints
    """(p, 2) labels: true, result; each true label at most once."""
    iou: Floats
    """(p,) intersection over union."""


def match_masks(pairs: Pairs, counts: Counts) -> FrameMatches:
    """Match the objects of one frame.

    Parameters
    ----------
    pairs, counts
        (n, 2) labels of result and truth that meet, and in how many voxels; with background, as of
        `bigseg.core.overlap.contingency`. Tables of the blocks of a frame add up.
    """
    (result, result_size), (true, true_size) = (_sizes(pairs[:, k], counts) for k in (0, 1))
    both = (pairs != 0).all(axis=1)
    ours, theirs = pairs[both, 0].astype(np.int64), pairs[both, 1].astype(np.int64)
    shared = counts[both]
    size = true_size[np.searchsorted(true, theirs)]
    held = 2 * shared > size
    union = result_size[np.searchsorted(result, ours)] + size - shared
    found = np.stack([theirs[held], ours[held]], axis=1)
    order = np.argsort(found[:, 0])
    return FrameMatches(result, true, found[order], (shared[held] / union[held])[order])


def _sizes(ids: NDArray[np.uint64], counts: Counts) -> tuple[Ints, Ints]:
    """Ids without background, ascending, and the voxels of each."""
    found, inverse = np.unique(ids, return_inverse=True)
    voxels = np.zeros(len(found), np.int64)
    np.add.at(voxels, inverse, counts)
    real = found != 0
    return found[real].astype(np.int64), voxels[real]


def match_points(
    true_frame: Integers, true_position: Floats, frame: Integers, position: Floats, distance: float
) -> Ints:
    """Match points of the same frames.

    Parameters
    ----------
    true_frame, frame : (n,), (m,) int
        Ascending.
    true_position, position : (n, d), (m, d) float
        In the same unit as `distance`.
    distance : float
        Farthest that partners may lie apart.

    Returns
    -------
    (p, 2) int
        Rows of truth and result; each at most once.
    """
    found = [np.zeros((0, 2), np.int64)]
    for t in np.intersect1d(true_frame, frame):
        theirs, ours = (slice(*np.searchsorted(f, [t, t + 1])) for f in (true_frame, frame))
        pairs = _nearest(true_position[theirs], position[ours], distance)
        found.append(pairs + np.array([theirs.start, ours.start]))
    return np.concatenate(found).astype(np.int64)


def _nearest(true: Floats, ours: Floats, distance: float) -> Ints:
    """Pairs of one frame whose distances save most over leaving all apart."""
    near = cKDTree(true).sparse_distance_matrix(cKDTree(ours), distance, output_type="coo_matrix")
    if not near.nnz:
        return np.zeros((0, 2), np.int64)
    n, m = near.shape
    rows = np.r_[near.row, np.arange(n)]
    columns = np.r_[near.col, m + np.arange(n)]  # each may stay alone, at the cost of the distance
    costs = np.r_[near.data, np.full(n, distance)] + _NEVER_ZERO
    graph = coo_array((costs, (rows, columns)), shape=(n, m + n)).tocsr()
    a, b = min_weight_full_bipartite_matching(graph)
    real = b < m
    return np.stack([a[real], b[real]], axis=1)
