"""Rehearse a run on samples of its image, in a temporary folder: what its steps cost here.

Samples from all over the image become the frames of a small one, so that one rehearsal sees them
all: dense and empty regions alike, with the intensities of the whole. It goes through every step of
the run itself. A tiny sample tells what a block costs whatever it holds, larger ones the rest; an
image that is small enough is rehearsed whole, in the run's own blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bigseg.grid import Box, Index
from bigseg.io.create import create_image
from bigseg.io.ome import AXES
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs.budget import PROCESS, step_bytes
from bigseg.jobs.sampling import tiles_of
from bigseg.plans.forecast import Load, loads_of
from bigseg.plans.steps import Step
from bigseg.run.folder import make_steps
from bigseg.run.machine import held_memory, peak_memory
from bigseg.types import Facts

TINY, PILOT = {2: (32, 1), 3: (16, 1)}, {2: (160, 6), 3: (64, 1)}
"""Edge, voxels, and number of the samples that tell what a block costs, and how fast it goes."""
EDGES = {2: (640, 320, 160), 3: (192, 96)}
"""Of larger samples. A network that sees less than several objects at once is not sure of anything:
in a volume of nuclei it keeps 2.6 times as much of 64 voxels as of them in the whole, and no more
of 96."""
SAMPLES = {2: 6, 3: 3}
"""That larger samples should be; with fewer, smaller ones are better."""
LITTLE = 3
"""Times as long as the first samples may all of an image take, to be looked at instead."""
FILLED = 16
"""Pixels by which a network's planes are longer than a sample, about."""
STRIDE = 16
LIBRARIES = 5.0
"""Processor seconds, at the most, in which a process loads its libraries."""
NOISE = 1.0
"""Share of a small duration that says nothing."""
KEPT = {"predictions": "scratch/predictions", "opinions": "graph/opinions"}
"""Where a run keeps what compresses."""

BLOCKWISE = ("label", "supervoxels")
"""Stages that keep a table of each block."""

Replan = Callable[[str, str, str, Index | None], Sequence[Step]]
"""Plans the same run for another image, output and run folder, in blocks (z, y, x), or its own."""


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

    def of(self, load: Load, voxels: int, share: float = 1.0) -> tuple[Spent, Spent]:
        """Of all blocks together, and of the end, of a run over an image of so many voxels."""
        blocks = self.block * (load.blocks * share) + self.work * load.work
        return blocks, self.once + self.once_per_voxel * voxels


@dataclass(frozen=True)
class Costs:
    """What a rehearsal has found."""

    steps: dict[str, Cost]
    start: Spent
    """Of a process, until it computes at the usual pace: libraries, compiled code, weights."""
    stored: dict[str, float]
    """Bytes that are stored for each before compression, by store."""
    tables: float
    """Bytes of tables for each voxel of the image."""
    tables_once: float
    rows: float
    """Bytes of the tables of blocks for each voxel in which they may see an object: `Load.seen`."""
    rows_per_block: float
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

    def facts(self) -> dict[str, Any]:
        """What was rehearsed, for JSON."""
        return {"samples": self.samples, "sample": list(self.sample), "seconds": self.seconds}


@dataclass(frozen=True)
class _Trial:
    """One rehearsal."""

    loads: dict[str, Load]
    blocks: dict[str, Spent]
    ends: dict[str, Spent]
    voxels: int
    stored: dict[str, int] = field(default_factory=dict)
    raw: dict[str, int] = field(default_factory=dict)
    tables: int = 0
    tables_of_blocks: int = 0
    reckoned: int = 0

    @property
    def spent(self) -> Spent:
        return sum([*self.blocks.values(), *self.ends.values()], Spent())


def rehearse(
    volume: Volume, channels: tuple[int, ...], ndim: int, seconds: float, replan: Replan
) -> Costs:
    """Do a run on samples of an image; nothing is written but in a temporary folder.

    Parameters
    ----------
    volume
        Level of the image that would be segmented.
    channels
        Those that are read.
    ndim
        Axes of an object: samples are planes or volumes.
    seconds
        About how long it may take, beyond the tiny sample.
    replan
        How the run is planned for a sample.
    """
    started, libraries = time.perf_counter(), min(time.process_time(), LIBRARIES)
    with TemporaryDirectory(prefix="bigseg-plan-") as folder:
        place = Path(folder)

        def attempt(name: str, samples: tuple[Index, int], *, parts: int = 2) -> _Trial:
            return _try(place / name, volume, channels, samples, partial(_cut, replan, parts))

        smallest = _of_edge(volume, ndim, *TINY[ndim])
        first, tiny = (attempt(name, smallest, parts=1) for name in ("first", "tiny"))
        samples, begun = _pilot(volume, ndim), time.process_time()
        held = left = held_memory()
        large = attempt("pilot", samples)
        took = time.process_time() - begun  # by processor time, as others may be busy here
        most = max(seconds - took, 0.0) * _filled(*samples) / took
        chosen = _choose(volume, ndim, most)
        if chosen is not None and _filled(*chosen) > _filled(*samples):
            samples, left = chosen, max(held_memory(), held)
            large = attempt("samples", samples)
    costs = _costs(first, tiny, large, samples[0], time.perf_counter() - started)
    peak = costs.peak - (left - held)  # without what libraries keep of the shapes of the pilot
    return replace(costs, start=costs.start + Spent(libraries, libraries), peak=peak)


def _pilot(volume: Volume, ndim: int) -> tuple[Index, int]:
    """Shape and number of the samples that come first: all, if that takes little longer."""
    first, everything = _of_edge(volume, ndim, *PILOT[ndim]), _everything(volume, ndim)
    return everything if _filled(*everything) <= LITTLE * _filled(*first) else first


def _choose(volume: Volume, ndim: int, most: float) -> tuple[Index, int] | None:
    """Shape and number of samples that take as long as so many voxels; None if none do."""
    everything = _everything(volume, ndim)
    if _filled(*everything) <= most:
        return everything
    for edge in EDGES[ndim]:
        shape = _sample(volume, ndim, edge)
        count = int(most / _filled(shape, 1))
        if count >= (SAMPLES[ndim] if edge != EDGES[ndim][-1] else 1):
            return shape, count
    return None


def _everything(volume: Volume, ndim: int) -> tuple[Index, int]:
    frames, _, depth, y, x = volume.shape
    return ((depth, y, x), frames) if ndim == 3 else ((1, y, x), frames * depth)


def _of_edge(volume: Volume, ndim: int, edge: int, count: int) -> tuple[Index, int]:
    return _sample(volume, ndim, edge), count


def _filled(shape: Index, count: int) -> float:
    """Voxels of samples as a network is shown them, which is what takes time."""
    return count * prod(n + FILLED for n in shape if n > 1)


def _sample(volume: Volume, ndim: int, edge: int) -> Index:
    """(z, y, x) of a sample: a cube in voxels' own lengths, or a plane."""
    _, _, *space = volume.shape
    z, _, x = volume.spacing
    if ndim == 2:
        edges = [1, edge, edge]
    else:
        deep = ceil(edge * min(x / z, 1.0) / STRIDE) * STRIDE
        edges = [max(deep, 8), edge, edge]
    return tuple(min(e, n) for e, n in zip(edges, space, strict=True))


def _try(
    place: Path,
    volume: Volume,
    channels: tuple[int, ...],
    sample: tuple[Index, int],
    replan: Replan,
) -> _Trial:
    """Rehearse every step on some samples."""
    shape, count = sample
    image, run, output = f"{place}/image.zarr", f"{place}/run.bigseg", f"{place}/labels.zarr"
    frames = _copy(volume, channels, shape, count, image)
    planned = replan(image, output, run, None if _is_whole(volume, shape) else shape)
    loads = {load.name: load for load in loads_of(planned)}
    blocks, ends = {}, {}
    for step in make_steps([(step.name, step.stage, step.spec) for step in planned]):
        step.module.check(step.spec)
        step.module.prepare(step.spec)
        facts: list[Facts] = []
        with_start = _now()
        for one in step.spec.grid:
            facts.append(step.module.block(step.spec, one, step.module.read(step.spec, one)))
        between = _now()
        step.module.finish(step.spec, facts)
        blocks[step.name], ends[step.name] = between - with_start, _now() - between
    parts = sum(_bytes(Path(run) / "graph" / part) for part in ("nodes", "edges"))
    need = max(step_bytes(planned).values()) - PROCESS
    raw = {t.store: t.raw for load in loads.values() for t in load.writes}
    stored = {store: _bytes(Path(run) / part) for store, part in KEPT.items()}
    stored |= {store: _bytes(Path(output) / store.split()[1]) for store in raw if " " in store}
    stored["result tables"] = _bytes(Path(output)) - sum(
        size for store, size in stored.items() if " " in store
    )
    kept = sum(_bytes(Path(run) / part) for part in ("graph", "tables")) - stored["opinions"]
    return _Trial(loads, blocks, ends, frames * prod(shape), stored, raw, kept, parts, need)


def _cut(
    replan: Replan, parts: int, image: str, output: str, run: str, shape: Index | None
) -> Sequence[Step]:
    """Plan a run over samples, in so many blocks along y and x, or, over all, in its own."""
    if shape is None:
        return replan(image, output, run, None)
    z, y, x = shape
    block = (z, *(max(n // parts, STRIDE) for n in (y, x)))
    return replan(image, output, run, tuple(max(edge, STRIDE) for edge in block))


def _is_whole(volume: Volume, shape: Index) -> bool:
    """Whether a sample is a frame, or a plane of it."""
    return volume.shape[3:] == shape[1:] and shape[0] in (1, volume.shape[2])


def _now() -> Spent:
    return Spent(time.process_time(), time.perf_counter())


def _copy(volume: Volume, channels: tuple[int, ...], shape: Index, count: int, url: str) -> int:
    """Make an image whose frames are samples; their number."""
    t, _, *space = volume.shape
    boxes = tiles_of((t, *space), (1, *shape), count)
    axes = tuple(axis for axis in AXES if axis in (*volume.axes, "t"))
    scale = {"t": 1.0} | dict(zip(volume.axes, volume.level.scale, strict=True))
    by = dict(zip(AXES, (len(boxes), volume.shape[1], *shape), strict=True))
    plan = plan_image(
        url,
        axes,
        tuple(by[axis] for axis in axes),
        volume.dtype,
        tuple(scale[axis] for axis in axes),
        (min(shape[0], 64), 64, 64),
    )
    create_image(replace(plan, units=volume.units, channels=volume.image.channels))
    made = Volume.open(url)
    for frame, box in enumerate(boxes):
        data = volume.read(box, channels)[0]
        for number, channel in enumerate(dict.fromkeys(channels)):
            made.write(_whole(frame, shape), data[None, number], channel)
    return len(boxes)


def _whole(frame: int, shape: Index) -> Box:
    return (slice(frame, frame + 1), *(slice(0, n) for n in shape))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _costs(first: _Trial, tiny: _Trial, large: _Trial, shape: Index, seconds: float) -> Costs:
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
    blocks, seen = _of_blocks(large)
    few, little = _of_blocks(tiny)
    rows = max(large.tables_of_blocks - tiny.tables_of_blocks * blocks / few, 0)
    once = tiny.tables - tiny.tables_of_blocks
    grown = max(large.tables - large.tables_of_blocks - once, 0)
    ends = [trial.stored["result tables"] for trial in (tiny, large)]
    return Costs(
        steps=steps,
        result=max(ends[1] - ends[0], 0) / max(large.voxels - tiny.voxels, 1),
        result_once=float(ends[0]),
        start=first.spent - tiny.spent,
        stored=stored,
        tables=grown / large.voxels,
        tables_once=float(once),
        rows=rows / max(seen - little * blocks / few, 1),
        rows_per_block=tiny.tables_of_blocks / few,
        samples=large.voxels // prod(shape),
        sample=shape,
        seconds=round(seconds, 1),
        peak=peak_memory(),
        reckoned=large.reckoned,
    )


def _of_blocks(trial: _Trial) -> tuple[int, int]:
    """Blocks that keep tables of their objects, and voxels in which they see some."""
    loads = [load for load in trial.loads.values() if load.stage in BLOCKWISE]
    return max(load.blocks for load in loads), max(load.seen for load in loads)
