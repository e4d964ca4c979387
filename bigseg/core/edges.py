"""What is counted of two touching blocks: a row of additive evidence per pair of objects that meet.

Objects meet where both blocks have labelled the same voxels (the zone); those that do may touch
across the face between the voxels that each owns, too. All columns are integers: rows of a pair
that come from several parts of a zone or a face add up exactly, in any order. `core.evidence` makes
costs of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.faces import Contacts
from bigseg.core.overlap import zone_edges

Columns = dict[str, NDArray[Any]]
"""Named columns of equal length."""

OVERLAP = ("n_u", "n_v", "n_uv")
FACE = ("face_u", "face_v", "contact", "agreement")
EVIDENCE = (*OVERLAP, *FACE)


def edge_columns(a: NDArray[Any], b: NDArray[Any], contacts: Contacts | None = None) -> Columns:
    """Rows of all pairs of objects of two blocks that share voxels.

    Parameters
    ----------
    a, b
        The first and the second block's labels of the zone that both have labelled, equal shapes,
        block-local ids, 0 = background.
    contacts
        What meets across the face between them; None if they have none.

    Returns
    -------
    Columns
        Sorted by (u, v): ids `u` and `v` (uint64) and int64 counts: in the zone `n_u` and `n_v`
        (voxels of each, whatever the other block says there) and `n_uv` (of both); at the face
        `face_u`, `face_v`, `contact` and `agreement`, see `core.faces.Contacts`, which are 0
        where objects do not touch.
    """
    edges = zone_edges(a, b)
    pairs = np.stack([edges.u, edges.v], axis=1)
    table: Columns = {"u": pairs[:, 0].copy(), "v": pairs[:, 1].copy()}
    for names, source in ((OVERLAP, edges), (FACE, contacts)):
        rows = None if source is None else _rows(pairs, np.stack([source.u, source.v], axis=1))
        for name in names:
            table[name] = np.zeros(len(pairs), np.int64)
            if rows is not None:
                table[name][rows >= 0] = getattr(source, name)[rows[rows >= 0]]
    return table


def _rows(wanted: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Row of each wanted pair among the known ones, -1 if it is not there; no pair occurs twice."""
    order = np.lexsort((*np.concatenate([wanted, known]).T[::-1],))
    both = np.concatenate([wanted, known])[order]
    twins = np.flatnonzero((both[1:] == both[:-1]).all(axis=1))
    rows = np.full(len(wanted), -1, np.int64)
    rows[order[twins]] = order[twins + 1] - len(wanted)
    return rows
