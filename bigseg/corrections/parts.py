"""Nodes of objects, wherever blocks have seen them, and the edges between these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.objects import Table
from bigseg.corrections.state import State, bounds
from bigseg.io.scratch import scratch
from bigseg.io.tables import read_table
from bigseg.stages import components, divisions, graph


@dataclass(frozen=True)
class Parts:
    """Nodes of some objects, by block and local id."""

    block: NDArray[np.int64]
    local: NDArray[np.int64]
    id: NDArray[np.int64]
    """Final id of each."""
    divided: NDArray[np.bool_]
    """Whether a division made or changed it."""
    rows: Table
    """Rows of the node tables."""

    def __len__(self) -> int:
        return len(self.block)

    def some(self, which: NDArray[Any]) -> Parts:
        """Those of a mask or of positions."""
        rows = {name: column[which] for name, column in self.rows.items()}
        return Parts(
            self.block[which], self.local[which], self.id[which], self.divided[which], rows
        )


def find_parts(state: State, found: Table) -> Parts:
    """All nodes of objects, given their rows; also nodes that only a neighbour's band shows."""
    numbers = {
        n for row in range(len(found["id"])) for n in state.nodes.near(bounds(found, row), 1)
    }
    ids = found["id"].astype(np.int64)
    divided = divisions.divided_blocks(state.graph)
    parts = []
    node, id = _nodes(state, np.array(sorted(numbers)), ids)
    block = np.searchsorted(state.offsets, node, "right") - 1
    extra = {n for n in numbers if state.block(n).id in divided}
    for number in sorted({*np.unique(block).tolist(), *extra}):
        here = block == number
        local, final = node[here] - state.offsets[number] + 1, id[here]
        changed = divisions.read_divided(state.graph, state.block(number).id)
        if changed is not None:
            new = changed["id"] > state.offsets[number + 1] - state.offsets[number]
            new &= np.isin(changed["final"].astype(np.int64), ids)
            local = np.r_[local, changed["id"][new].astype(np.int64)]
            final = np.r_[final, changed["final"][new].astype(np.int64)]
        if len(local):
            parts.append(_some_of(state, local, final, number, changed))
    return together(parts)


def _nodes(
    state: State, numbers: NDArray[np.int64], ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Nodes of some blocks that have one of some ids, and their ids; read in stretches."""
    stored = scratch(graph.ids_url(state.graph))
    nodes, finals = [], []
    for stretch in np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1):
        first, last = state.offsets[stretch[0]], state.offsets[stretch[-1] + 1]
        if last > first:
            final = np.asarray(stored[int(first) : int(last)]).astype(np.int64)
            at = np.flatnonzero(np.isin(final, ids))
            nodes.append(first + at)
            finals.append(final[at])
    empty = np.zeros(0, np.int64)
    return np.concatenate([empty, *nodes]), np.concatenate([empty, *finals])


def _some_of(
    state: State,
    local: NDArray[np.int64],
    final: NDArray[np.int64],
    number: int,
    changed: Table | None,
) -> Parts:
    rows = divisions.read_rows(state.graph, state.block(number).id)
    rows = {name: column[local - 1] for name, column in rows.items()}
    divided = np.isin(local, changed["id"].astype(np.int64) if changed else [])
    return Parts(np.full(len(local), number, np.int64), local, final, divided, rows)


def together(parts: Sequence[Parts]) -> Parts:
    """All in one."""
    rows = {name: np.concatenate([part.rows[name] for part in parts]) for name in parts[0].rows}
    block, local, id, divided = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("block", "local", "id", "divided")
    )
    return Parts(block, local, id, divided, rows)


def find_edges(state: State, parts: Parts) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Positions in `parts` of the ends of all edges between these, and what cutting costs.

    Only for parts of which none is divided: edges are those of undivided nodes.
    """
    node = state.offsets[parts.block] + parts.local - 1
    order = np.argsort(node)
    ends: list[list[NDArray[Any]]] = [[], []]
    costs = [np.zeros(0)]
    for number in np.unique(parts.block).tolist():
        table = read_table(graph.edges_url(state.graph, state.block(number).id))
        both = [
            state.offsets[table[f"{name}_block"]] + table[name].astype(np.int64) - 1
            for name in "uv"
        ]
        inner = np.isin(both[0], node) & np.isin(both[1], node)
        for side, end in zip(ends, both, strict=True):
            side.append(order[np.searchsorted(node, end[inner], sorter=order)])
        inside = {name: column[inner] for name, column in table.items()}
        costs.append(components.weigh(state.joined, inside))
    u, v = (np.concatenate([np.zeros(0, np.int64), *side]) for side in ends)
    return u, v, np.concatenate(costs)
