"""Corrections of a partition: what they contradict, and how an object is parted that was one.

Parts of an object that lie in different nodes of the graph are parted by the graph: the cheapest
cut that keeps apart what must be apart. Where one node holds both, no cut of the graph helps, and
the object is divided by its shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.segmentation import watershed

from bigseg.core.components import decompose, settled
from bigseg.core.evidence import Costs
from bigseg.core.presolve import presolve
from bigseg.core.problem import Nodes
from bigseg.core.solvers import solve_components
from bigseg.errors import SpecError

Groups = Sequence[Sequence[int]]
"""Sets of elements."""


def joined(count: int, together: Groups) -> NDArray[np.int64]:
    """First element, (count,), of the set of each, after all sets that share one are one."""
    pairs = [(group[0], other) for group in together for other in group[1:]]
    u, v = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(u)), (u, v)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(first[inverse], np.int64)


def settle_links(
    names: Sequence[str], together: Groups, apart: Groups, merges: Sequence[str]
) -> NDArray[np.int64]:
    """`joined`, or a refusal if what must be apart is joined.

    Parameters
    ----------
    names
        What to call each element.
    together, apart
        Sets of elements that must be in one object, and in different objects.
    merges
        What to call each set of `together`.

    Raises
    ------
    SpecError
        Naming the two elements, and all sets that lead from one to the other.
    """
    roots = joined(len(names), together)
    for number, group in enumerate(apart, 1):
        for a, b in combinations(group, 2):
            if roots[a] == roots[b]:
                guilty = [
                    name
                    for name, linked in zip(merges, together, strict=True)
                    if roots[linked[0]] == roots[a]
                ]
                raise SpecError(
                    f"Split {number} parts {names[a]} and {names[b]}, but "
                    f"{' and '.join(dict.fromkeys(guilty))} join them; take one out."
                )
    return roots


def conflicts(kinds: NDArray[np.int64], apart: Groups) -> set[tuple[int, int]]:
    """Pairs (a < b) of `kinds`, which are those of all elements, that must be apart."""
    found = set()
    for group in apart:
        for a, b in combinations(sorted({int(kinds[e]) for e in group}), 2):
            found.add((a, b))
    return found


def part_graph(
    ends: tuple[NDArray[Any], NDArray[Any]],
    costs: Costs,
    kinds: NDArray[np.int64],
    hostile: set[tuple[int, int]],
    *,
    seconds: float = 10.0,
) -> NDArray[np.int64]:
    """Part the nodes of one object into as many pieces as are needed, each around its points.

    A multicut in which nodes of one kind are one node and hostile kinds repel more than all else
    attracts; solved exactly unless that takes too long. Pieces without a point then join the piece
    that they attract most.

    Parameters
    ----------
    ends
        Two arrays (m,), the nodes of each edge.
    costs
        (m,) of cutting each edge; positive attracts.
    kinds
        (nodes,) kind of the points in each node, 0 to k - 1, or -1 where there is none.
    hostile
        Pairs (a < b) of kinds that must be apart.
    seconds
        For the exact solution; afterwards the best that is known stands.

    Returns
    -------
    (nodes,) int64
        For each node a kind: that of smallest number among those in its piece.
    """
    n, k = len(kinds), int(kinds.max()) + 1
    node = np.where(kinds >= 0, kinds, k + np.cumsum(kinds < 0) - 1)
    u, v = (node[np.asarray(end, np.int64)] for end in ends)
    pairs = np.array(sorted(hostile), np.int64).reshape(-1, 2)
    limit = 1 + float(np.maximum(costs, 0).sum())
    all_u, all_v = (np.r_[e, p].astype(np.int32) for e, p in zip((u, v), pairs.T, strict=True))
    all_costs = np.r_[costs, np.full(len(pairs), -limit)].astype(np.float64)
    count = k + n - int((kinds >= 0).sum())
    root, problem = decompose(count, all_u, all_v, all_costs)
    root, problem = presolve(root, problem)
    found = solve_components(problem, solver="exact", seconds=seconds)
    cluster = settled(root, problem.nodes, found.label)
    if any(cluster[a] == cluster[b] for a, b in hostile):
        cluster = np.arange(count, dtype=np.int32)  # no solver failed so yet; growing never does
    used = np.unique(kinds[kinds >= 0])
    kind: NDArray[np.int64] = _grown(cluster, u, v, costs, used)[node]
    return kind


def _grown(
    cluster: Nodes, u: NDArray[Any], v: NDArray[Any], costs: Costs, kinds: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Kind of each node: clusters without one join what they attract most, the surest first."""
    kind, k = np.full(len(cluster), -1, np.int64), int(kinds.max()) + 1
    for number in kinds[::-1].tolist():
        kind[cluster == cluster[number]] = number
    while (kind < 0).any():
        tail, head = np.r_[u, v], np.r_[v, u]
        open_ = (kind[tail] < 0) & (kind[head] >= 0)
        if not open_.any():  # nothing binds them: joined by hand once, or seen by neighbours only
            kind[kind < 0] = kinds[0]
            break
        key = cluster[tail[open_]].astype(np.int64) * k + kind[head[open_]]
        pair, at = np.unique(key, return_inverse=True)
        best = int(np.bincount(at, np.r_[costs, costs][open_]).argmax())
        kind[cluster == pair[best] // k] = pair[best] % k
    return kind


def part_shape(
    mask: NDArray[np.bool_], points: NDArray[np.int64], kinds: NDArray[np.int64], spacing: Any
) -> NDArray[np.int32]:
    """Divide an object by its shape: at its necks, each piece around the points of one kind.

    A watershed of the distance to the background, flooded from the points (Beucher and Lantuéjoul,
    1979). What the flood does not reach goes to the nearest piece.

    Parameters
    ----------
    mask
        (z, y, x) voxels of the object, a box as tight as may be.
    points
        (p, 3) voxels within the mask.
    kinds
        (p,) from 0.
    spacing
        Voxel size (z, y, x).

    Returns
    -------
    (z, y, x) int32
        Kind of each voxel plus 1; 0 outside the object.
    """
    # Beyond the box there is background; along an axis of one plane there is nothing.
    margin = [(int(n > 1),) * 2 for n in mask.shape]
    whole = np.pad(mask, margin)
    inner = tuple(slice(m[0], m[0] + n) for m, n in zip(margin, mask.shape, strict=True))
    markers = np.zeros(whole.shape, np.int32)
    markers[tuple((points + [m[0] for m in margin]).T)] = kinds + 1
    depth = distance_transform_edt(whole, sampling=spacing)
    pieces = watershed(-depth, markers, mask=whole)[inner]
    if (mask & (pieces == 0)).any():
        nearest = distance_transform_edt(
            pieces == 0, sampling=spacing, return_distances=False, return_indices=True
        )
        pieces = np.where(mask, pieces[tuple(nearest)], 0)
    return np.asarray(pieces, np.int32)
