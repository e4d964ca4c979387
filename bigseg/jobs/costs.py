"""What the steps of a run cost, from what they cost on a few samples: arithmetic only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.grid import Index
from bigseg.plans.forecast import Load
from bigseg.run.machine import peak_memory

NOISE = 1.0
"""Share of a small duration that says nothing."""
COLUMN = 200.0
"""Bytes of a column of a table, whatever is in it, where nothing tells."""


@dataclass(frozen=True)
class Spent:
    """Seconds."""

    cpu: float = 0.0
    wall: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.cpu + other.cpu, self.wall + other.wall)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(max(self.cpu - other.cpu, 0.0), max(self.wall - other.wall, 0.0))

    def __mul__(self, factor: float) -> Spent:
        return Spent(self.cpu * factor, self.wall * factor)


@dataclass(frozen=True)
class Cost:
    """What a step costs: so much a block, so much for its work, and so much once, at its end."""

    block: Spent
    work: Spent
    """For each unit of `Load.work`."""
    once: Spent
    once_per_voxel: Spent

    def of(self, load: Load, voxels: int) -> tuple[Spent, Spent]:
        """Of all blocks together, and of the end, of a run over an image of so many voxels."""
        blocks = self.block * load.blocks + self.work * load.work
        return blocks, self.once + self.once_per_voxel * voxels


Tables = Sequence[tuple[int, int, int]]
"""Rows, columns and bytes of some tables."""


@dataclass(frozen=True)
class Kind:
    """Tables of one kind: so much each, so much a row, and so many rows for what is looked at."""

    each: float
    row: float
    rows: float
    """For each voxel of `Load.seen`, or each unit of `Load.work` where that is none."""

    def rows_of(self, load: Load) -> float:
        """Rows of all of them."""
        return self.rows * (load.seen or load.work)

    def of(self, load: Load) -> float:
        """Bytes of all of them."""
        return self.each * load.blocks + self.row * self.rows_of(load)


@dataclass(frozen=True)
class Costs:
    """What a rehearsal has found."""

    steps: dict[str, Cost]
    start: Spent
    """Of a process, until it computes at the usual pace: libraries, compiled code, weights."""
    stored: dict[str, float]
    """Bytes that are stored for each before compression, by store."""
    blockwise: dict[str, Kind]
    """Tables of which each block has one, by the step that writes them."""
    tables: float
    """Bytes of other tables for each voxel of the image."""
    tables_once: float
    result: float
    """Bytes of the table of the result for each voxel of the image."""
    result_once: float
    samples: int
    sample: Index
    """(z, y, x)."""
    seconds: float
    """That it took."""
    peak: int
    """Most memory that this process has held by now, as far as samples took it."""
    reckoned: int
    """What was reckoned for the blocks of the rehearsal, without the process."""

    def of(self, load: Load, voxels: int) -> tuple[Spent, Spent]:
        """Of all blocks of a step together, and of its end, in a run over so many voxels."""
        cost = self.steps[self._alike(load.name)]
        return cost.of(load, voxels)

    def tables_of(self, load: Load) -> float:
        """Bytes of the tables of which each block of a step has one."""
        return self.blockwise[load.name].of(load) if load.name in self.blockwise else 0.0

    def rows_of(self, load: Load) -> float:
        """Rows of these tables: objects of blocks, or edges between them."""
        return self.blockwise[load.name].rows_of(load) if load.name in self.blockwise else 0.0

    def _alike(self, name: str) -> str:
        """The step of the rehearsal that tells of a step; levels are alike."""
        if name in self.steps:
            return name
        kind = name.rpartition("-")[0]
        return next((n for n in self.steps if n.rpartition("-")[0] == kind), next(iter(self.steps)))

    def facts(self) -> dict[str, Any]:
        """What was rehearsed, for JSON."""
        return {"samples": self.samples, "sample": list(self.sample), "seconds": self.seconds}


@dataclass(frozen=True)
class Trial:
    """One rehearsal."""

    loads: dict[str, Load]
    blocks: dict[str, Spent]
    ends: dict[str, Spent]
    voxels: int
    """For whose objects the samples stand."""
    samples: int
    stored: dict[str, int] = field(default_factory=dict)
    raw: dict[str, int] = field(default_factory=dict)
    """Bytes before compression of what is looked at."""
    blockwise: dict[str, Tables] = field(default_factory=dict)
    """Tables of which each block has one, by the step that writes them."""
    others: Tables = ()
    """All other tables."""
    arrays: int = 0
    """Bytes of arrays with a number for each object."""
    reckoned: int = 0

    @property
    def spent(self) -> Spent:
        return sum([*self.blocks.values(), *self.ends.values()], Spent())


def costs_of(first: Trial, tiny: Trial, large: Trial, shape: Index, seconds: float) -> Costs:
    """What is fixed and what follows the work, from a tiny and a larger trial."""
    steps = {}
    for name, load in large.loads.items():
        small = tiny.loads.get(name)
        if small is None:  # a level that the tiny image has not
            small = Load(name, load.stage, 1, load.block, 0.0)
        block = tiny.blocks.get(name, Spent()) * (1 / small.blocks)
        work = max(load.work - small.work * load.blocks / small.blocks, 0.0)
        rest = large.blocks[name] - block * load.blocks
        each = rest * (1 / work) if work else Spent()
        end = tiny.ends.get(name, Spent())
        more = (large.ends[name] - end * (1 + NOISE)) * (1 / max(large.voxels - tiny.voxels, 1))
        if load.stage == "report":  # shows as much of a large image as of a small one
            block, more = large.blocks[name], Spent()
        elif not work:  # follows the objects, and these the voxels
            more += (rest - block * NOISE) * (1 / max(large.voxels - tiny.voxels, 1))
        steps[name] = Cost(block - each * (small.work / small.blocks), each, end, more)
    stored = {s: large.stored.get(s, 0) / raw for s, raw in large.raw.items() if raw}
    blockwise = {name: _kind(found, large.loads[name]) for name, found in large.blockwise.items()}
    column = _column(large)
    once = sum(column * columns for _, columns, _ in large.others)
    grown = max(sum(size for *_, size in large.others) - once, 0) + large.arrays
    ends = [trial.stored["result tables"] for trial in (tiny, large)]
    return Costs(
        steps=steps,
        result=max(ends[1] - ends[0], 0) / max(large.voxels - tiny.voxels, 1),
        result_once=float(ends[0]),
        start=first.spent - tiny.spent,
        stored=stored,
        blockwise=blockwise,
        tables=grown / large.voxels,
        tables_once=once,
        samples=large.samples,
        sample=shape,
        seconds=round(seconds, 1),
        peak=peak_memory(),
        reckoned=large.reckoned,
    )


def _kind(found: Tables, load: Load) -> Kind:
    """What tables of one kind take: a line through their sizes, over their rows."""
    each, row = line_of(found)
    return Kind(each, row, sum(rows for rows, *_ in found) / max(load.seen or load.work, 1))


def line_of(found: Tables) -> tuple[float, float]:
    """Bytes of a table, and of each of its rows; empty ones are smaller than any line says."""
    full = [one for one in found if one[0]] or found
    rows, _, sizes = np.array(full, np.float64).T
    return line(rows, sizes)


def line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Where a line through points begins, and how steep it is; neither is negative."""
    spread = x - x.mean()
    steep = float(spread @ y / (spread @ spread)) if spread.any() else 0.0
    steep = min(max(steep, 0.0), float(y.mean() / max(x.mean(), 1)))
    return float(y.mean() - steep * x.mean()), steep


def _column(trial: Trial) -> float:
    """Bytes of a column of a table, whatever is in it."""
    each = [
        line_of(found)[0] / max(columns for _, columns, _ in found)
        for found in trial.blockwise.values()
    ]
    return max(each, default=COLUMN)
