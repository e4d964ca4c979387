"""Join what evidence joins: costs of all edges, and the components that they make of the nodes.

Nodes that no attracting edge joins are never one object, so a component of attracting edges is a
problem of its own; most hold no contradiction and are solved by joining them. See
`core.multicut`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bigseg import files
from bigseg.core.boundary_costs import boundary_costs
from bigseg.core.components import decompose
from bigseg.core.evidence import Costs, Evidence
from bigseg.core.lifted import solve_lifted
from bigseg.core.presolve import presolve
from bigseg.core.problem import NO_COMPONENTS, Nodes, Problem
from bigseg.errors import BigsegError
from bigseg.grid import Block, Grid, Index
from bigseg.io.scratch import scratch
from bigseg.io.tables import Columns, read_table, write_table
from bigseg.stages.checked import checked_edges, checked_offsets
from bigseg.stages.graph import write_nodes_array
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """Which graph, and what its edges are worth."""

    run: str
    counts: Index
    """Blocks along each axis of the grid whose objects are the nodes."""
    beta: float = 0.5
    """Prior probability that two overlapping objects are different."""
    repulsion: float = 0.0
    """How much two objects of one block repel each other, in mean absolute costs of their
    component."""
    evidence: dict[str, float] = Field(default_factory=dict)
    """Coefficients of `core.evidence.Evidence` that are not the usual ones."""
    packs: int = 1
    """Among how many tasks of `solve` the components are shared out."""

    @property
    def grid(self) -> Grid:
        """One block: the graph is one."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def roots_url(run: str) -> str:
    """Where the first node is that each node is surely together with: int32 (node,)."""
    return files.join(run, "graph", "roots")


def read_roots(run: str, nodes: int) -> Nodes:
    """First node that each node is surely together with.

    Raises
    ------
    BigsegError
        The array is of another number of nodes.
    """
    stored = scratch(roots_url(run))
    if stored.shape != (max(nodes, 1),):
        raise BigsegError(
            f"{roots_url(run)} knows {stored.shape[0]} objects of blocks, but there are {nodes}; "
            "it is of another run: merge again."
        )
    return np.asarray(stored[:nodes], np.int32)


def pack_url(run: str, pack: int, what: str) -> str:
    """Where the "nodes" or the "edges" of a pack are."""
    return files.join(run, "graph", "packs", f"{pack}-{what}.parquet")


def write_pack(run: str, pack: int, problem: Problem, offsets: NDArray[np.int64]) -> None:
    """Store components that a task is to solve; nodes with their blocks and local ids, too."""
    block = np.searchsorted(offsets, problem.nodes, "right") - 1
    nodes: Columns = {
        "node": problem.nodes,
        "block": block.astype(np.int32),
        "local": (problem.nodes - offsets[block] + 1).astype(np.int32),
        "component": _spread(problem.node_start),
    }
    edges: Columns = {"u": problem.u, "v": problem.v, "cost": problem.costs}
    write_table(pack_url(run, pack, "nodes"), nodes)
    write_table(pack_url(run, pack, "edges"), edges)


def read_pack(run: str, pack: int) -> tuple[Problem, NDArray[np.int32], NDArray[np.int32]]:
    """Components of a pack, and the block and local id of each node."""
    nodes, edges = (read_table(pack_url(run, pack, what)) for what in ("nodes", "edges"))
    start = _starts(nodes["component"])
    problem = Problem(
        nodes["node"],
        edges["u"],
        edges["v"],
        edges["cost"],
        start,
        np.searchsorted(edges["u"], start).astype(np.int64),
    )
    return problem, nodes["block"], nodes["local"]


def _spread(start: NDArray[np.int64]) -> NDArray[np.int32]:
    """Number of the part of each element, given where the parts begin."""
    return np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))


def _starts(part: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where parts begin, and where the last one ends: the inverse of `_spread`."""
    return np.searchsorted(part, np.arange(part.max(initial=-1) + 2)).astype(np.int64)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """The arrays are created once their size is known."""


def read(spec: Spec, block: Block) -> None:
    """Nothing is loaded ahead; `block` streams the tables."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Weigh all edges, join what needs no solver, and share out the rest."""
    offsets, edges = checked_offsets(spec.run, spec.counts)
    nodes = int(offsets[-1])
    weighed = weighed_edges(spec, offsets, edges)
    if weighed.lifted.any():
        root, problem, conflicts = _with_lifted(nodes, weighed)
    else:
        root, problem, conflicts = _decomposed(spec, offsets, weighed)
    del weighed
    write_nodes_array(roots_url(spec.run), root)
    starts = _pack_starts(spec, problem, offsets)
    for pack, (first, last) in enumerate(pairwise(starts.tolist())):
        write_pack(spec.run, pack, problem.part(first, last), offsets)
    return {
        "nodes": nodes,
        "edges": int(edges.sum()),
        "conflicts": conflicts,
        "components": len(problem),
        "undecided_nodes": len(problem.nodes),
        "undecided_edges": len(problem.u),
    }


def _decomposed(
    spec: Spec, offsets: NDArray[np.int64], edges: Weighed
) -> tuple[Nodes, Problem, int]:
    """Roots of all nodes, what is left to solve, and how many components hold contradictions."""
    blocks = np.arange(len(offsets) - 1, dtype=np.int32) if spec.repulsion else None
    root, problem = decompose(
        int(offsets[-1]),
        edges.u,
        edges.v,
        edges.costs,
        repulsion=spec.repulsion,
        block_of_node=None if blocks is None else np.repeat(blocks, np.diff(offsets)),
    )
    conflicts = len(problem)
    return *presolve(root, problem), conflicts


def _with_lifted(nodes: int, edges: Weighed) -> tuple[Nodes, Problem, int]:
    """The same with lifted edges: all is solved here, nothing is left to share out."""
    near, far = (
        (edges.u[some], edges.v[some], edges.costs[some]) for some in (~edges.lifted, edges.lifted)
    )
    return solve_lifted(nodes, near, far), NO_COMPONENTS, 0


def _pack_starts(spec: Spec, problem: Problem, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """First component of each pack: where its first node lies decides, so packs stay the same.

    What changes elsewhere in the image moves no component to another pack.
    """
    blocks = len(offsets) - 1
    first_nodes = problem.nodes[problem.node_start[:-1]]
    bounds = [offsets[pack * blocks // spec.packs] for pack in range(spec.packs + 1)]
    return np.searchsorted(first_nodes, bounds).astype(np.int64)


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block counted."""
    return facts[0]


@dataclass(frozen=True)
class Weighed:
    """All edges between numbered nodes, and what cutting each costs."""

    u: Nodes
    v: Nodes
    costs: Costs
    lifted: NDArray[np.bool_]
    """Which of them are evidence only, and join nothing by themselves; see `core.lifted`."""


def weighed_edges(spec: Spec, offsets: NDArray[np.int64], edges: NDArray[np.int64]) -> Weighed:
    """Read the tables of all blocks in a row, and weigh their edges."""
    count = int(edges.sum())
    found = Weighed(
        np.empty(count, np.int32),
        np.empty(count, np.int32),
        np.empty(count, np.float64),
        np.zeros(count, np.bool_),
    )
    first = 0
    for table in checked_edges(spec.run, spec.counts, offsets, edges):
        rows = slice(first, first + len(table["u"]))
        for side, name in ((found.u, "u"), (found.v, "v")):
            side[rows] = offsets[table[f"{name}_block"]] + table[name].astype(np.int64) - 1
        found.costs[rows] = weigh(spec, table)
        if "lifted" in table:
            found.lifted[rows] = table["lifted"] != 0
        first = rows.stop
    return found


def weigh(spec: Spec, table: dict[str, NDArray[Any]]) -> Costs:
    """What cutting each edge of a table costs."""
    if not len(table["u"]):
        return np.zeros(0)
    if "cost" in table:  # who made the edges has weighed them
        return np.asarray(table["cost"], np.float64)
    if "odds" in table:  # regions that touch, not objects that overlap
        return boundary_costs(table, spec.beta)
    return Evidence(**spec.evidence).costs(table, beta=spec.beta)
