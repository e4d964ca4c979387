"""Solve the components that hold contradictions, in packs, each by one worker.

A pack holds the components that begin in some of the blocks. Solutions are named by what a
component consists of, so a run that is repeated with other settings solves only what these have
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.packing import component_keys
from bigseg.core.problem import NO_COMPONENTS, Nodes, Problem, taken
from bigseg.core.reduce import BUDGET, solve_large
from bigseg.core.solvers import Solution, solve_components
from bigseg.errors import NotFound
from bigseg.grid import Block, Grid, Index
from bigseg.io.tables import read_table, read_tables, write_table
from bigseg.stages.components import read_pack
from bigseg.types import Facts, Solver, StageSpec

KEY = "S32"
"""Type of the names of components."""
Pack = tuple[Problem, NDArray[np.int32], NDArray[np.int32]]
"""Components, and the block and local id of each node."""


class Spec(StageSpec):
    """How components are solved."""

    run: str
    counts: Index
    """Blocks along each axis of the grid whose objects are the nodes."""
    packs: int
    solver: Solver = "kernighan-lin"
    exact_edges: int = 200
    """Components of at most so many edges are solved to certified optimality."""
    seconds: float = 60.0
    """Time for the exact solution of one component."""
    most_edges: int = BUDGET
    """Larger components are made smaller first, block by block; see `core.reduce`."""

    @property
    def grid(self) -> Grid:
        """A row of packs."""
        return Grid((1, 1, 1, self.packs), (1, 1, 1, 1), (0, 0, 0, 0))


def solution_url(run: str, pack: int) -> str:
    """Where the partition of a pack is: a row per node."""
    return files.join(run, "graph", "solutions", f"{pack}.parquet")


def certificate_url(run: str, pack: int) -> str:
    """Where it says how good the partition of each component of a pack is."""
    return files.join(run, "graph", "certificates", f"{pack}.parquet")


def read_solutions(run: str, packs: int) -> tuple[Nodes, Nodes]:
    """Nodes that were undecided, and the first node of the cluster of each."""
    urls = (solution_url(run, pack) for pack in range(packs))
    tables = list(read_tables(urls, ["node", "root"]))
    node, root = (np.concatenate([table[name] for table in tables]) for name in ("node", "root"))
    return node, root


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Pack:
    """Components of a pack."""
    return read_pack(spec.run, block.index[-1])


def block(spec: Spec, block: Block, data: Pack) -> Facts:
    """Solve what is not solved already, and store everything."""
    pack, (problem, blocks, local) = block.index[-1], data
    keys = component_keys(problem, blocks, local, _salt(spec))
    known = _known(spec.run, pack)
    todo = np.flatnonzero(~np.isin(keys, known.keys))
    large = np.diff(problem.edge_start)[todo] > spec.most_edges
    part = problem.some(todo[~large])
    found = solve_components(
        part, solver=spec.solver, exact_edges=spec.exact_edges, seconds=spec.seconds
    )
    known = known.joined(_solved(keys[todo[~large]], part, found))
    if large.any():
        part = problem.some(todo[large])
        place = _places(spec, blocks[taken(problem.node_start, todo[large])[0]])
        found = solve_large(part, place, solver=spec.solver, budget=spec.most_edges)
        known = known.joined(_solved(keys[todo[large]], part, found))
    solved = known.some(keys)
    first = np.repeat(problem.node_start[:-1], np.diff(problem.node_start))
    root = problem.nodes[first + solved.label]
    write_table(
        solution_url(spec.run, pack), {"node": problem.nodes, "root": root, "label": solved.label}
    )
    write_table(certificate_url(spec.run, pack), {"key": solved.keys, **solved.rows})
    return {
        "components": len(problem),
        "solved": len(todo),
        "optimal": int(solved.rows["optimal"].sum()),
        "energy": float(solved.rows["energy"].sum()),
        "lower_bound": float(solved.rows["lower_bound"].sum()),
    }


def _salt(spec: Spec) -> str:
    """What a solution depends on besides the component."""
    return f"3 {spec.solver} {spec.exact_edges} {spec.seconds} {spec.most_edges}"


def _places(spec: Spec, blocks: NDArray[np.int32]) -> NDArray[np.int64]:
    """Place in the grid, (nodes, axes), of the block of each node."""
    return np.stack(np.unravel_index(blocks, spec.counts), axis=1).astype(np.int64)


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Sum the packs: how many components, how many proven best, and how good all are."""
    return {name: sum(fact[name] for fact in facts) for name in facts[0]} if facts else {}


@dataclass(frozen=True)
class Solved:
    """Solutions of components, by their names."""

    keys: NDArray[np.bytes_]
    rows: Table
    """Certificates: one row per component."""
    label: NDArray[np.int32]
    """For each node the first of its cluster, counted from the first of its component."""

    def joined(self, other: Solved) -> Solved:
        """Both, one after the other."""
        rows = {
            name: np.concatenate([self.rows[name], column]) for name, column in other.rows.items()
        }
        keys = np.concatenate([self.keys, other.keys])
        return Solved(keys, rows, np.concatenate([self.label, other.label]))

    def some(self, keys: NDArray[np.bytes_]) -> Solved:
        """Those of some names, in their order; all must be there."""
        order = np.argsort(self.keys, kind="stable")
        at = order[np.searchsorted(self.keys, keys, sorter=order)]
        start = np.r_[0, np.cumsum(self.rows["nodes"])].astype(np.int64)
        nodes, _ = taken(start, at)
        return Solved(keys, {name: c[at] for name, c in self.rows.items()}, self.label[nodes])


def _solved(keys: NDArray[np.bytes_], part: Problem, found: Solution) -> Solved:
    first = np.repeat(part.node_start[:-1], np.diff(part.node_start))
    return Solved(keys, found.columns(), (found.label - first).astype(np.int32))


def _known(run: str, pack: int) -> Solved:
    """What was solved before in this pack; nothing if the tables do not go together."""
    try:
        rows = read_table(certificate_url(run, pack))
        label = read_table(solution_url(run, pack), ["label"])["label"]
    except NotFound:
        return _nothing()
    keys = rows.pop("key").astype(KEY)
    return Solved(keys, rows, label) if rows["nodes"].sum() == len(label) else _nothing()


def _nothing() -> Solved:
    empty = solve_components(NO_COMPONENTS)
    return Solved(np.zeros(0, KEY), empty.columns(), empty.label)
