"""Join what evidence joins: costs of all edges, and the components that they make of the nodes.

Nodes that no attracting edge joins are never one object, so a component of attracting edges is a
problem of its own; most hold no contradiction and are solved by joining them. See
`core.multicut`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.evidence import Costs, edge_costs
from bigseg.core.multicut import solve
from bigseg.core.overlap import Edges
from bigseg.grid import Block, Grid, Index
from bigseg.io.scratch import scratch
from bigseg.io.tables import read_table
from bigseg.stages.graph import block_ids, edges_url, read_offsets, write_nodes_array
from bigseg.types import Facts, StageSpec

READERS = 4
"""Tables read at the same time."""


class Spec(StageSpec):
    """Which graph, and what its edges are worth."""

    run: str
    counts: Index
    """Blocks along each axis of the grid whose objects are the nodes."""
    beta: float = 0.5
    """Prior probability that two overlapping objects are different."""
    repulsion: float = 0.0
    """How much two objects of one block repel each other, in mean absolute costs of their
    component; 0 was best where blocks split as often as they fuse."""

    @property
    def grid(self) -> Grid:
        """One block: the graph is one."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def roots_url(run: str) -> str:
    """Where the first node of each node's object is: int64 (node,)."""
    return files.join(run, "graph", "roots")


def read_roots(run: str, nodes: int) -> NDArray[np.int64]:
    """First node of each node's object."""
    return np.asarray(scratch(roots_url(run))[:nodes], np.int64)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """The arrays are created once their size is known."""


def read(spec: Spec, block: Block) -> None:
    """Nothing is loaded ahead; `block` streams the tables."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Weigh all edges and partition the graph."""
    offsets, edges = read_offsets(spec.run, spec.counts)
    nodes = int(offsets[-1])
    uv, costs = weighed_edges(spec, offsets, edges)
    component = solve(
        nodes,
        uv,
        costs,
        repulsion=spec.repulsion,
        block_of_node=np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)),
    )
    write_nodes_array(roots_url(spec.run), _first_of(component))
    return {"nodes": nodes, "edges": edges}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block counted."""
    return facts[0]


def weighed_edges(
    spec: Spec, offsets: NDArray[np.int64], edges: int
) -> tuple[NDArray[np.int64], Costs]:
    """All edges between numbered nodes, and what cutting each costs; tables are read in a row."""
    uv, costs = np.empty((edges, 2), np.int64), np.empty(edges, np.float64)
    first = 0
    for table in _tables(spec):
        last = first + len(table["u"])
        for side, name in enumerate("uv"):
            begin = offsets[table[f"{name}_block"].astype(np.int64)]
            uv[first:last, side] = begin + table[name].astype(np.int64) - 1
        costs[first:last] = _costs(spec, table)
        first = last
    return uv, costs


def _tables(spec: Spec) -> Iterator[dict[str, NDArray[Any]]]:
    urls = (edges_url(spec.run, block) for block in block_ids(spec.counts))
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(read_table, urls)


def _costs(spec: Spec, table: dict[str, NDArray[Any]]) -> Costs:
    if not len(table["u"]):
        return np.zeros(0)
    edges = Edges(*(table[name] for name in ("u", "v", "n_u", "n_v", "n_uv")))
    return edge_costs(edges, beta=spec.beta)


def _first_of(component: NDArray[np.uint64]) -> NDArray[np.int64]:
    """First node of each node's component, given dense numbers in the order of first nodes."""
    _, first = np.unique(component, return_index=True)
    return np.asarray(first[component.astype(np.int64)], np.int64)
