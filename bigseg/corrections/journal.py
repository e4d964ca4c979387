"""Write down what a correction changes, then change it: after a crash the rest is done.

Each correction has a folder, `RUN/graph/corrections/0001/` and so on. It holds all that is going to
be written; `plan.json` comes last, and with it the correction is decided. Applying it twice does
what applying it once does, so whatever was interrupted is applied again. `done.json` ends it.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import numpy as np

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.pyramid import shrunk
from bigseg.corrections.block_nodes import blocks_of
from bigseg.corrections.nodes import Besides
from bigseg.corrections.plan import Change
from bigseg.corrections.spec import Corrections
from bigseg.corrections.state import State, bounds
from bigseg.errors import BigsegError, NotFound
from bigseg.grid import Box, Index
from bigseg.io.scratch import scratch
from bigseg.io.table_rows import replace_rows
from bigseg.io.tables import read_table, write_table
from bigseg.run.ledger import Ledger
from bigseg.specs.segment import parse_as
from bigseg.stages import divisions, graph, objects, publish, report, seams
from bigseg.version import VERSION

THREADS = 4
"""Blocks that are written at the same time."""
REPORTED = 1_000_000
"""Objects up to which the report is made again at once; it reads the whole object table."""
PLAN, DONE = "plan.json", "done.json"


@dataclass(frozen=True)
class Entry:
    """A correction that was decided."""

    url: str
    plan: dict[str, Any]

    @property
    def corrections(self) -> Corrections:
        return parse_as(Corrections, self.plan["corrections"])

    def table(self, name: str) -> Table:
        """One of the tables that are going to be written."""
        return read_table(files.join(self.url, f"{name}.parquet"))


def write_entry(state: State, corrections: Corrections, change: Change) -> Entry:
    """Store what a correction changes, as its own folder; nothing of the run changes yet."""
    parent = divisions.corrections_url(state.graph)
    numbers = _numbers(state.graph)
    url = files.join(parent, f"{(numbers[-1] if numbers else 0) + 1:04d}")
    files.remove(url)  # what was not decided
    parts, moved = change.parts, change.id != change.parts.id
    node = state.offsets[parts.block] + parts.local - 1
    moved &= node < state.offsets[parts.block + 1]  # pieces have their ids in their own tables
    _put(url, "nodes", {"node": node[moved], "id": change.id[moved].astype(np.uint64)})
    _put(url, "objects", change.rows)
    divided = []
    for number, rows in change.divided.rows.items():
        divided.append(state.block(number).id)
        _put(url, f"{divided[-1]}-nodes", rows)
        _put(url, f"{divided[-1]}-voxels", divisions.runs_of(change.divided.voxels[number]))
    plan = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "bigseg": VERSION,
        "corrections": corrections.model_dump(mode="json", exclude_defaults=True),
        "merged": change.merged,
        "split": change.split,
        "touched": change.touched.tolist(),
        "largest": change.largest,
        "divided": divided,
        **touched_blocks(state, change),
    }
    for number, (name, table) in enumerate(besides_of(state, change).tables.items()):
        _put(url, f"besides-{number}", table)
        plan["besides"].append(name)
    files.put(files.join(url, PLAN), json.dumps(plan).encode())
    return Entry(url, plan)


def besides_of(state: State, change: Change) -> Besides:
    """What a correction changes besides the voxels of nodes."""
    return state.nodes.besides(change.parts.id, change.id, change.parts.rows)


def touched_blocks(state: State, change: Change) -> dict[str, Any]:
    """Numbers of the blocks that are written again, on the finest level and on each coarser one.

    And of those at whose faces other things may be decided now.
    """
    rows = change.parts.rows
    boxes = [bounds(rows, int(row)) for row in np.flatnonzero(change.moved)]
    boxes += besides_of(state, change).boxes
    levels = []
    for number, grid in enumerate(state.grids):
        if number:
            boxes = [_coarser(box, state.factors[number - 1], grid.shape) for box in boxes]
        levels.append(sorted({n for box in boxes for n in blocks_of(grid, box)}))
    blocks = np.unique(change.parts.block[change.id != change.parts.id]).tolist()
    near = {n for block in blocks for n in state.nodes.near(state.nodes.box(block), 1)}
    return {"blocks": levels[0], "levels": levels[1:], "near": sorted(near), "besides": []}


def pending(run: str) -> Entry | None:
    """The correction that was decided but is not done, if there is one."""
    for number in _numbers(run):
        url = files.join(divisions.corrections_url(run), f"{number:04d}")
        if not files.exists(files.join(url, DONE)):
            return Entry(url, json.loads(files.get(files.join(url, PLAN))))
    return None


def apply(state: State, entry: Entry) -> int:
    """Do what was decided, all of it; return the number of objects that there are then."""
    for step in (divide, renumber, rewrite):
        step(state, entry)
    count = tabulate(state, entry)
    recount(state, entry)
    finish(state, entry, count)
    return count


def divide(state: State, entry: Entry) -> None:
    """Put pieces of divided objects in force, and what changes besides."""
    for block in entry.plan["divided"]:
        write_table(divisions.voxels_url(state.graph, block), entry.table(f"{block}-voxels"))
        write_table(divisions.rows_url(state.graph, block), entry.table(f"{block}-nodes"))
    for number, name in enumerate(entry.plan["besides"]):
        write_table(files.join(state.graph, name), entry.table(f"besides-{number}"))


def renumber(state: State, entry: Entry) -> None:
    """Give nodes their new ids."""
    nodes = entry.table("nodes")
    if len(nodes["node"]):
        stored = scratch(graph.ids_url(state.graph))
        stored.set_coordinate_selection((nodes["node"].astype(np.int64),), nodes["id"])
    write_table(graph.total_url(state.graph), {"objects": np.array([entry.plan["largest"]])})


def rewrite(state: State, entry: Entry) -> None:
    """Write the blocks of all levels that changed, from the finest to the coarsest."""
    every = [entry.plan["blocks"], *entry.plan["levels"]]
    with ThreadPoolExecutor(THREADS) as pool:
        for step, numbers in zip(state.levels, every, strict=True):
            list(pool.map(partial(_do, step.module, step.spec), numbers))


def tabulate(state: State, entry: Entry) -> int:
    """Put the new rows into the object table, and beside the labels; return how many it has."""
    table = objects.table_url(state.graph)
    touched = np.array(entry.plan["touched"], np.int64)
    gone, rows = state.nodes.tabulated(touched, entry.table("objects"), entry.plan["blocks"])
    count = replace_rows(table, gone, rows)
    files.put(publish.table_url(state.target), files.get(table))
    state.nodes.publish(entry.table("nodes"), entry.plan["divided"])
    return count


def recount(state: State, entry: Entry) -> None:
    """Count again what is decided at the faces of blocks that hold touched objects."""
    for step in state.run.steps:
        if isinstance(step.spec, seams.Spec) and step.spec.joined.run == state.graph:
            with suppress(NotFound):  # a run of an older version stored no sums of its groups
                facts = seams.recount(step.spec, entry.plan["near"])
                Ledger.of(state.run, step).finish(facts)


def finish(state: State, entry: Entry, count: int) -> None:
    """Correct what the run says of itself, and end the correction.

    The report comes last: it shows what is, so nothing is lost if it cannot be made.
    """
    ledger = Ledger.of(state.run, state.run.step("publish"))
    ledger.finish({**(ledger.finished() or {}), "objects": count})
    time = datetime.now(UTC).isoformat(timespec="seconds")
    files.put(files.join(entry.url, DONE), json.dumps({"time": time, "objects": count}).encode())
    if count <= REPORTED and any(step.stage == "report" for step in state.run.steps):
        with suppress(BigsegError):  # that of a run of an older version stays as it is
            report.renew(state.url)


def _do(stage: Any, spec: Any, number: int) -> None:
    block = spec.grid[number]
    stage.block(spec, block, stage.read(spec, block))


def _numbers(run: str) -> list[int]:
    """Numbers of the corrections that were decided."""
    parent = divisions.corrections_url(run)
    names = [name for name in files.names(parent) if name.isdecimal()]
    return [int(n) for n in names if files.exists(files.join(parent, n, PLAN))]


def _put(url: str, name: str, columns: Table) -> None:
    write_table(files.join(url, f"{name}.parquet"), columns)


def _coarser(box: Box, factors: Index, shape: Index) -> Box:
    """Voxels of a level, of `shape`, that are made of a box of the finer level."""
    low = (s.start // f for s, f in zip(box, factors, strict=True))
    high = shrunk(tuple(s.stop for s in box), factors)
    return tuple(slice(min(a, n - 1), min(b, n)) for a, b, n in zip(low, high, shape, strict=True))
