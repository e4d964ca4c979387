"""A finished run as corrections see it: which nodes its objects consist of, and where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.objects import Table
from bigseg.errors import SpecError
from bigseg.grid import Block, Box
from bigseg.io.ome import Image, describe
from bigseg.io.scratch import scratch
from bigseg.io.table_rows import read_rows
from bigseg.io.tables import read_table
from bigseg.jobs.claim import is_finished
from bigseg.run.folder import Run, Step, open_run
from bigseg.run.ledger import Ledger
from bigseg.stages import components, divisions, graph, objects, pyramid, write
from bigseg.stages.opinions import Opinions

BOX = ("z", "y", "x")


@dataclass(frozen=True)
class State:
    """What corrections need to know of a run."""

    run: Run
    opinions: Opinions
    joined: components.Spec
    judged: objects.Spec
    written: write.Spec
    levels: tuple[pyramid.Spec, ...]
    image: Image
    """The label image."""
    offsets: NDArray[np.int64]
    largest: int
    """Largest id that was ever given."""

    @property
    def url(self) -> str:
        return self.run.url

    @property
    def objects(self) -> int:
        """How many objects there are."""
        step = next(step for step in self.run.steps if step.stage == "publish")
        return int((Ledger.of(self.run, step).finished() or {}).get("objects", 0))

    @property
    def flat(self) -> bool:
        """Whether each plane has objects of its own."""
        return self.opinions.ndim == 2

    def block(self, number: int) -> Block:
        """Block of a number."""
        return self.opinions.grid[number]


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
    by_stage: dict[str, Any] = {step.stage: step for step in run.steps}
    lacking = {"components", "objects", "write", "publish"} - set(by_stage)
    if lacking:
        raise SpecError(
            f"The run {url} has no step '{min(lacking)}'; only runs that segment an image in "
            "blocks can be corrected."
        )
    if not is_finished(run):
        raise SpecError(f"The run {url} is not finished; 'bigseg run {url}' continues it.")
    written = _spec(by_stage["write"], write.Spec)
    judged = _spec(by_stage["objects"], objects.Spec)
    levels = [_spec(step, pyramid.Spec) for step in run.steps if step.stage == "pyramid"]
    offsets, _ = graph.read_offsets(url, judged.counts)
    return State(
        run=run,
        opinions=written.opinions,
        joined=_spec(by_stage["components"], components.Spec),
        judged=judged,
        written=written,
        levels=tuple(levels),
        image=describe(written.target),
        offsets=offsets,
        largest=int(read_table(graph.total_url(url))["objects"][0]),
    )


def _spec(step: Step, kind: type[Any]) -> Any:
    if not isinstance(step.spec, kind):
        raise SpecError(f"The step '{step.name}' is of a kind that cannot be corrected.")
    return step.spec


def find_spots(state: State, points: Sequence[tuple[int, ...]]) -> list[Spot]:
    """What lies at each point: (…) voxels along the axes of the label image.

    Raises
    ------
    SpecError
        A point is not in the image, or in no object.
    """
    return [_spot(state, point) for point in points]


def _spot(state: State, point: tuple[int, ...]) -> Spot:
    axes, grid = state.image.axes, state.opinions.grid
    name = f"({', '.join(map(str, point))})"
    if len(point) != len(axes):
        raise SpecError(
            f"The point {name} must have {len(axes)} numbers, {', '.join(axes)}, as "
            f"{state.written.target} has."
        )
    by = dict(zip(axes, point, strict=True))
    place = tuple(by.get(axis, 0) for axis in "tzyx")
    if any(p >= n for p, n in zip(place, grid.shape, strict=True)):
        shape = ", ".join(str(dict(zip("tzyx", grid.shape, strict=True)).get(a, 1)) for a in axes)
        raise SpecError(f"The point {name} is not in {state.written.target}, which is ({shape}).")
    block = grid.block_at(tuple(p // b for p, b in zip(place, grid.block, strict=True)))
    number = grid.number(block.index)
    box = tuple(slice(p, p + 1) for p in place)
    local = int(divisions.read_labels(state.opinions, block, box)[0, 0, 0])
    id = _id(state, number, local) if local else 0
    if id == 0:
        raise SpecError(
            f"The point {name} lies in no object of {state.written.target}; choose a voxel of one."
        )
    return Spot(name, place, number, local, id)


def _id(state: State, number: int, local: int) -> int:
    """Final id of a node."""
    first, last = map(int, state.offsets[number : number + 2])
    if local <= last - first:
        return int(scratch(graph.ids_url(state.url))[first + local - 1])
    rows = divisions.read_divided(state.url, state.block(number).id) or {}
    return int(rows["final"][rows["id"] == local][0])


def find_objects(state: State, ids: Iterable[int]) -> Table:
    """Rows of objects in the object table, ascending.

    Raises
    ------
    SpecError
        There is no object of an id.
    """
    wanted = np.array(sorted(set(ids)), np.int64)
    rows = read_rows(objects.table_url(state.url), wanted)
    missing = np.setdiff1d(wanted, rows["id"].astype(np.int64))
    if len(missing):
        raise SpecError(
            f"There is no object {missing[0]} in {state.written.target}: ids reach from 1 to "
            f"{state.largest}, and an earlier correction may have merged it with another."
        )
    return rows


def bounds(rows: Table, row: int) -> Box:
    """Box (t, z, y, x) of an object or a node."""
    frame = int(rows["frame"][row])
    space = (slice(int(rows[f"{a}0"][row]), int(rows[f"{a}1"][row])) for a in BOX)
    return slice(frame, frame + 1), *space


def blocks_of(state: State, box: Box, margin: int = 0) -> list[int]:
    """Numbers of the blocks that meet a box, and of as many blocks around them."""
    grid = state.opinions.grid
    spans = [
        range(max(s.start // b - m, 0), min((s.stop - 1) // b + m + 1, n))
        for s, b, n, m in zip(
            box, grid.block, grid.counts, (0, margin, margin, margin), strict=True
        )
    ]
    return [grid.number(index) for index in product(*spans)]
