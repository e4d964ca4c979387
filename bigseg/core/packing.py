"""Share components out over tasks, and name each by its content."""

from __future__ import annotations

from hashlib import blake2b
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bigseg.core.problem import Problem, Starts
from bigseg.errors import SpecError

_KEY_BYTES = 16
"""Digest of a component: two of 10^9 components are confused with a chance of 10^-21."""


def pack(edges: NDArray[np.integer], edges_per_pack: int) -> Starts:
    """Where to part a row of components so that each pack has about so many edges.

    Packs are runs of components in their order, so a pack is a slice of every table of them; none
    has more than `edges_per_pack` edges but one that is a single component.

    Parameters
    ----------
    edges
        (c,) edges of each component.
    edges_per_pack
        Most edges of a pack of more than one component.

    Returns
    -------
    (packs + 1,) int64
        First component of each pack, and last of all the number of components.

    Raises
    ------
    SpecError
        `edges_per_pack` is not positive.
    """
    if edges_per_pack < 1:
        raise SpecError(f"edges_per_pack is {edges_per_pack}; it must be at least 1.")
    end = np.cumsum(edges, dtype=np.int64)
    starts, first = [], 0
    while first < len(end):
        starts.append(first)
        before = end[first] - edges[first]
        first = max(first + 1, int(np.searchsorted(end, before + edges_per_pack, "right")))
    return np.array([*starts, len(end)], np.int64)


def component_keys(
    problem: Problem, block: NDArray[np.integer], local: NDArray[np.integer], salt: str = ""
) -> NDArray[np.bytes_]:
    """Name each component by what it consists of: equal names, equal solutions.

    Nodes are named by block and local id, not by their numbers, which change when any other block
    has more objects.

    Parameters
    ----------
    problem
        Components; nodes must be in the order of (block, local).
    block, local
        (k,) block and local id of each of the problem's nodes.
    salt
        Whatever else the solution depends on: the solver and its settings.

    Returns
    -------
    (c,) bytes of 32
        Hexadecimal digests; sortable, to be looked up.
    """
    rows = np.empty(len(problem.u), [("u", "<i8", 2), ("v", "<i8", 2), ("cost", "<f8")])
    for name, end in (("u", problem.u), ("v", problem.v)):
        rows[name][:, 0], rows[name][:, 1] = block[end], local[end]
    rows["cost"] = problem.costs + 0.0  # without negative zeros: equal, but not the same bytes
    content = memoryview(rows.tobytes())
    start = (problem.edge_start * rows.itemsize).tolist()
    seed = blake2b(salt.encode(), digest_size=_KEY_BYTES)
    keys = np.empty(len(problem), f"S{2 * _KEY_BYTES}")
    for c, (first, last) in enumerate(pairwise(start)):
        digest = seed.copy()
        digest.update(content[first:last])
        keys[c] = digest.hexdigest()
    return keys
