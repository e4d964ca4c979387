"""How likely two objects of different blocks are one: log-odds of what was counted of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigseg.core.overlap import Edges
from bigseg.errors import BigsegError, SpecError

Costs = NDArray[np.float64]
"""(m,) cost of cutting each edge; positive attracts, negative repels."""


def similarity(edges: Edges) -> NDArray[np.float64]:
    """Geometric mean of the shares of each object of an edge that the other covers; 0 to 1.

    ``n_uv / sqrt(n_u n_v)`` (Ochiai, 1957), within the zone. It is symmetric, and between the two
    measures that fail where a zone shows only the tip of an object: intersection over union halves
    when one opinion reaches a voxel further than the other (slivers at block faces), and
    intersection over the smaller object is 1 for every piece that a fused object swallows.
    """
    impossible = (edges.n_uv < 1) | (edges.n_uv > np.minimum(edges.n_u, edges.n_v))
    if impossible.any():
        row = int(impossible.argmax())
        raise BigsegError(
            f"edge {row} joins objects of {edges.n_u[row]} and {edges.n_v[row]} voxels that share "
            f"{edges.n_uv[row]}; that cannot be: compute the overlaps of its blocks again."
        )
    product = edges.n_u.astype(np.float64) * edges.n_v
    return np.asarray(np.minimum(edges.n_uv / np.sqrt(product), 1), np.float64)


def edge_costs(edges: Edges, *, beta: float = 0.5, size_exponent: float = 1.0) -> Costs:
    """Log-odds that the two objects of each edge are one, times a weight for their size.

    Measured on worlds of balls (2D, 3D, touching or not) whose labels were shifted by up to a
    voxel, split, missed and fused block by block: mean AP at IoU 0.5 was 0.927 with these
    defaults, 0.923 with overlap over the smaller object, 0.921 with Dice and 0.885 with
    intersection over union.

    Parameters
    ----------
    edges
        Overlaps in the zones that pairs of blocks share.
    beta
        Prior probability that two overlapping objects are different, in (0, 1); above 0.5 less
        is merged.
    size_exponent
        How evidence grows with the mean voxels n of the two objects: by n ** size_exponent.

    Returns
    -------
    (edges,) float64
        ``n ** size_exponent * (log(p / (1 - p)) + log((1 - beta) / beta))``, where
        ``p = 0.998 s + 0.001`` of the `similarity` s.

    Raises
    ------
    SpecError
        `beta` is not a probability between 0 and 1.
    BigsegError
        The counts of an edge contradict each other.
    """
    if not 0 < beta < 1:
        raise SpecError(f"beta is {beta}; it must lie between 0 and 1, both excluded.")
    p = 0.998 * similarity(edges) + 0.001
    odds = np.log(p / (1 - p)) + np.log((1 - beta) / beta)
    return np.asarray(((edges.n_u + edges.n_v) / 2) ** size_exponent * odds, np.float64)
