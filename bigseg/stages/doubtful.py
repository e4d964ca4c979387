"""The decisions of the whole graph that are least sure, and where to look at them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import Table
from bigseg.grid import Box, intersection
from bigseg.stages import tiles
from bigseg.stages.opinions import Opinions, keep_box, read_opinion

MOST = 32
"""Decisions in the table."""
SPARE = 4 * MOST
"""Decisions that each group of blocks proposes."""
BOX = ("z0", "z1", "y0", "y1", "x0", "x1")
PLACE = ("t", "z", "y", "x")
COLUMNS = (
    *("u_block", "u", "v_block", "v", "id_u", "id_v"),
    *("n_u", "n_v", "n_uv", "contact", "kept", "margin", "doubt"),
)
Ints = NDArray[np.int64]
Where = Opinions | tiles.Spec
"""Who labelled which voxels."""


def doubtful_url(run: str) -> str:
    """Where the table of the worst decisions is: worst first."""
    return files.join(run, "tables", "doubtful.parquet")


def worst(edges: Table, most: int) -> Table:
    """The `most` edges about which there is most doubt, worst first, none with the same two ids.

    Objects at an edge or a corner are compared several times; one time is shown.
    """
    rows = np.flatnonzero(edges["doubt"] > 0)
    keys = [edges[name][rows] for name in ("v", "u", "v_block", "u_block")]
    rows = rows[np.lexsort((*keys, -edges["doubt"][rows]))]
    ids = np.sort(np.stack([edges["id_u"][rows], edges["id_v"][rows]], 1), axis=1)
    _, first = np.unique(ids, axis=0, return_index=True)
    rows = rows[np.sort(first)[:most]]
    return {name: edges[name][rows] for name in COLUMNS if name in edges}


def places(run: str, where: Where | None, edges: Table) -> dict[str, Ints]:
    """A voxel of the image, (t, z, y, x), at which to look at each edge; -1 if it is not known."""
    found = np.full((len(edges["u"]), len(PLACE)), -1)
    if where is not None:
        for row in range(len(found)):
            ends = (int(edges[name][row]) for name in ("u_block", "u", "v_block", "v"))
            found[row] = _place(where, *ends)
    return {name: found[:, n] for n, name in enumerate(PLACE)}


def _place(where: Where, u_block: int, u: int, v_block: int, v: int) -> tuple[int, ...]:
    """Middle of what two objects share, or of what of the first is nearest to the other's block."""
    one, other = box_of(where, u_block), box_of(where, v_block)
    zone = intersection(one, other)
    box = zone or one
    mask = labels_of(where, u_block, box) == u
    if zone is not None:
        shared = mask & (labels_of(where, v_block, zone) == v)
        mask = shared if shared.any() else mask
    if not mask.any():
        return -1, -1, -1, -1
    at = np.argwhere(mask) + [s.start for s in box[1:]]
    if zone is None:
        low, high = np.array([(s.start, s.stop - 1) for s in other[1:]]).T
        away = np.abs(at - np.clip(at, low, high)).sum(1)
        at = at[away == away.min()]
    nearest = ((at - at.mean(0)) ** 2).sum(1).argmin()
    return (box[0].start, *at[nearest].tolist())


def box_of(where: Where, number: int) -> Box:
    """Voxels that a block or a tile has labelled."""
    if isinstance(where, Opinions):
        return keep_box(where, where.grid[number])
    return tiles.placed(where).layout.box(number)


def labels_of(where: Where, number: int, box: Box) -> NDArray[np.uint32]:
    """Its local ids of a part of them: (z, y, x)."""
    if isinstance(where, Opinions):
        return read_opinion(where, where.grid[number], box)
    return tiles.read_part(where, number, box)
