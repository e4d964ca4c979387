"""A finished run as corrections see it: which nodes its objects consist of, and where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.objects import Table
from bigseg.core.pyramid import factors_between
from bigseg.corrections.block_nodes import BlockNodes
from bigseg.corrections.nodes import Nodes
from bigseg.corrections.plane_nodes import PlaneNodes
from bigseg.corrections.tile_nodes import TileNodes
from bigseg.errors import SpecError
from bigseg.grid import Block, Box, Grid, Index
from bigseg.io.ome import Image, describe
from bigseg.io.scratch import scratch
from bigseg.io.table_rows import read_rows
from bigseg.io.tables import read_table
from bigseg.jobs.claim import is_finished
from bigseg.run.folder import Run, Step, open_run
from bigseg.run.ledger import Ledger
from bigseg.stages import components, divisions, graph, objects, volumes

BOX = ("z", "y", "x")
WRITING = ("write", "write_tiles", "write_slices")
"""Stages that write labels which can be corrected."""


@dataclass(frozen=True)
class State:
    """What corrections need to know of a run."""

    run: Run
    nodes: Nodes
    joined: components.Spec
    judged: objects.Spec
    levels: tuple[Step, ...]
    """What writes each level of the labels, the finest first."""
    image: Image
    """The label image."""
    offsets: NDArray[np.int64]
    largest: int
    """Largest id that was ever given."""

    @property
    def url(self) -> str:
        return self.run.url

    @property
    def graph(self) -> str:
        """Where the graph is."""
        return self.nodes.run

    @property
    def target(self) -> str:
        """URL of the label image."""
        return self.image.url

    @property
    def objects(self) -> int:
        """How many objects there are."""
        return int((Ledger.of(self.run, self.run.step("publish")).finished() or {})["objects"])

    @property
    def grids(self) -> list[Grid]:
        """Blocks in which each level is written."""
        return [step.spec.grid for step in self.levels]

    @cached_property
    def factors(self) -> list[Index]:
        """By how much each level is coarser than the one before, from the second."""
        shapes = [grid.shape for grid in self.grids]
        return [factors_between(a, b) for a, b in pairwise(shapes)]

    def block(self, number: int) -> Block:
        """Block of nodes of a number."""
        return self.nodes.grid[number]


@dataclass(frozen=True)
class Spot:
    """What lies at a point."""

    name: str
    place: tuple[int, ...]
    """(t, z, y, x)."""
    block: int
    local: int
    id: int


def open_state(url: str) -> State:
    """Read what is known of a run.

    Raises
    ------
    NotFound
        There is no run.
    SpecError
        It is not finished, or of a kind that cannot be corrected.
    """
    run = open_run(url)
    levels = _levels(run)
    if not is_finished(run):
        raise SpecError(f"The run {url} is not finished; 'bigseg run {url}' continues it.")
    nodes = _nodes(levels[0])
    joined, judged = _graph(run, nodes.run)
    offsets, _ = graph.read_offsets(nodes.run, judged.counts)
    return State(
        run=run,
        nodes=nodes,
        joined=joined,
        judged=judged,
        levels=levels,
        image=describe(nodes.target),
        offsets=offsets,
        largest=int(read_table(graph.total_url(nodes.run))["objects"][0]),
    )


def _levels(run: Run) -> tuple[Step, ...]:
    """Steps that write the levels of the labels, the finest first."""
    if any(step.stage == "write_tracks" for step in run.steps):
        raise SpecError(
            f"The run {run.url} tracks objects; tracks would not follow a correction of labels: "
            "correct the tracks with 'bigseg track --edits', or segment and track in two runs and "
            "correct the labels in between."
        )
    writing = [step for step in run.steps if step.stage in WRITING]
    if not writing:
        raise SpecError(
            f"The run {run.url} makes no objects that can be corrected; runs of 'bigseg segment' "
            "and 'bigseg merge' do."
        )
    return (writing[0], *(step for step in run.steps if step.stage == "pyramid"))


def _nodes(writing: Step) -> Nodes:
    """What is known of nodes by the step that writes their labels."""
    kinds: dict[str, Any] = {
        "write": BlockNodes,
        "write_tiles": TileNodes,
        "write_slices": PlaneNodes,
    }
    nodes: Nodes = kinds[writing.stage](writing.spec)
    return nodes


def _graph(run: Run, url: str) -> tuple[components.Spec, objects.Spec]:
    """How the nodes of a graph were joined and judged; a run of slices has two graphs."""
    specs: list[Any] = [step.spec for step in run.steps]
    specs += [spec.judged for spec in specs if isinstance(spec, volumes.Spec)]
    joined = next(s for s in specs if isinstance(s, components.Spec) and s.run == url)
    judged = next(s for s in specs if isinstance(s, objects.Spec) and s.run == url)
    return joined, judged


def find_spots(state: State, points: Sequence[tuple[int, ...]]) -> list[Spot]:
    """What lies at each point: (…) voxels along the axes of the label image.

    Raises
    ------
    SpecError
        A point is not in the image, or in no object.
    """
    return [_spot(state, point) for point in points]


def _spot(state: State, point: tuple[int, ...]) -> Spot:
    axes, shape = state.image.axes, state.nodes.shape
    name = f"({', '.join(map(str, point))})"
    if len(point) != len(axes):
        raise SpecError(
            f"The point {name} must have {len(axes)} numbers, {', '.join(axes)}, as "
            f"{state.target} has."
        )
    by = dict(zip(axes, point, strict=True))
    place = tuple(by.get(axis, 0) for axis in "tzyx")
    if any(p >= n for p, n in zip(place, shape, strict=True)):
        sides = ", ".join(str(dict(zip("tzyx", shape, strict=True)).get(a, 1)) for a in axes)
        raise SpecError(f"The point {name} is not in {state.target}, which is ({sides}).")
    number, local = state.nodes.at(place)
    id = _id(state, number, local) if local else 0
    if id == 0:
        raise SpecError(state.nodes.nothing(name, place))
    return Spot(name, place, number, local, id)


def _id(state: State, number: int, local: int) -> int:
    """Final id of a node."""
    first, last = map(int, state.offsets[number : number + 2])
    if local <= last - first:
        return int(scratch(graph.ids_url(state.graph))[first + local - 1])
    rows = divisions.read_divided(state.graph, state.block(number).id) or {}
    return int(rows["final"][rows["id"] == local][0])


def find_objects(state: State, ids: Iterable[int]) -> Table:
    """Rows of objects in the object table, ascending.

    Raises
    ------
    SpecError
        There is no object of an id.
    """
    wanted = np.array(sorted(set(ids)), np.int64)
    rows = read_rows(objects.table_url(state.graph), wanted)
    missing = np.setdiff1d(wanted, rows["id"].astype(np.int64))
    if len(missing):
        raise SpecError(
            f"There is no object {missing[0]} in {state.target}: ids reach from 1 to "
            f"{state.largest}, and an earlier correction may have merged it with another."
        )
    return rows


def bounds(rows: Table, row: int) -> Box:
    """Box (t, z, y, x) of an object or a node."""
    frame = int(rows["frame"][row])
    space = (slice(int(rows[f"{a}0"][row]), int(rows[f"{a}1"][row])) for a in BOX)
    return slice(frame, frame + 1), *space
