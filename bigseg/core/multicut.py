"""Which objects of different blocks are one: a multicut of the graph of all of them.

A multicut splits the nodes of a graph into clusters so that the costs of the edges between
clusters are least; positive costs attract. Most of a graph of overlaps is settled exactly, by
`core.components` and `core.presolve`; what is left goes to a solver of `core.solvers`. Here these
parts are put together for a graph in memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.components import decompose, settled
from bigseg.core.evidence import Costs
from bigseg.core.presolve import presolve
from bigseg.core.problem import Nodes, canonical
from bigseg.core.solvers import solve_components
from bigseg.errors import BigsegError
from bigseg.types import Solver


def energy(uv: NDArray[Any], costs: Costs, component: NDArray[Any]) -> float:
    """Sum of the costs of the edges that a partition cuts: what `solve` makes small."""
    return float(costs[component[uv[:, 0]] != component[uv[:, 1]]].sum())


def solve(
    number_of_nodes: int,
    uv: NDArray[Any],
    costs: NDArray[Any],
    *,
    repulsion: float = 0.0,
    block_of_node: NDArray[Any] | None = None,
    solver: Solver = "kernighan-lin",
    threads: int = 1,
) -> NDArray[np.uint64]:
    """Partition a graph; the same partition whatever the order or repetition of the edges.

    Parameters
    ----------
    number_of_nodes
        Nodes are 0..number_of_nodes - 1.
    uv
        (m, 2) integers, the nodes of each edge; costs of parallel edges add up, loops are ignored.
    costs
        (m,) cost of cutting each edge; positive attracts.
    repulsion
        How strongly two nodes of one block repel each other that attraction has brought into one
        component, in units of the mean absolute cost in that component. It parts objects that a
        neighbour fused and keeps apart those that a block split: of the mixtures measured it
        helped only where fusions were far more frequent than splits, so it is off (0).
    block_of_node
        (number_of_nodes,) integers, needed if there is repulsion.
    solver
        What solves the components that are left, see `core.solvers.solve_components`.
    threads
        Threads among which the components are shared out; has no influence on the result.

    Returns
    -------
    (number_of_nodes,) uint64
        Cluster of each node, dense from 0, in the order of the clusters' first nodes.

    Raises
    ------
    BigsegError
        A cost is not finite, an edge has an unknown node, or arrays do not match in length.
    SpecError
        `repulsion` is negative, or lacks the blocks; there is no such solver.
    """
    if uv.shape != (len(costs), 2):
        raise BigsegError(f"edges of shape {uv.shape} do not go with {len(costs)} costs.")
    u, v = (np.ascontiguousarray(uv[:, side]).astype(np.int64, copy=False) for side in (0, 1))
    root, problem = decompose(
        number_of_nodes,
        u,
        v,
        np.asarray(costs, np.float64),
        repulsion=repulsion,
        block_of_node=block_of_node,
    )
    root, problem = presolve(root, problem)
    solution = solve_components(problem, solver=solver, threads=threads)
    return dense(settled(root, problem.nodes, solution.label))


def canonical_edges(
    number_of_nodes: int, uv: NDArray[Any], costs: NDArray[Any]
) -> tuple[NDArray[np.int32], Costs]:
    """Edges with u < v, sorted, parallel ones summed (in the order of their costs), no loops."""
    real = uv[:, 0] != uv[:, 1]
    low, high = (f(uv[real, 0], uv[real, 1]) for f in (np.minimum, np.maximum))
    u, v, summed, _ = canonical(number_of_nodes, low, high, np.asarray(costs, np.float64)[real])
    return np.stack([u, v], axis=1), summed


def dense(root: Nodes) -> NDArray[np.uint64]:
    """Number the roots from 0, in the order of nodes."""
    number = np.cumsum(root == np.arange(len(root)), dtype=np.int64) - 1
    return number[root].astype(np.uint64)
