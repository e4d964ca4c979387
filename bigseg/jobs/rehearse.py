"""Rehearse a run on samples of its image, in a temporary folder: what its steps cost here.

Samples from all over the image become the frames of a small one, so that one rehearsal sees them
all: dense and empty regions alike, with the intensities of the whole. It goes through every step of
the run itself. A tiny sample tells what a block costs whatever it holds, larger ones the rest; an
image that is small enough is rehearsed whole, in the run's own blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

from pyarrow.parquet import read_metadata

from bigseg.grid import Index, size
from bigseg.io.volume import Volume
from bigseg.jobs.budget import PROCESS, step_bytes
from bigseg.jobs.costs import Costs, Spent, Tables, Trial, costs_of
from bigseg.jobs.samples import (
    STRIDE,
    TINY,
    Sample,
    choose,
    copy_samples,
    cut_samples,
    filled,
    is_whole,
    of_edge,
    pilot,
)
from bigseg.opened import remembering
from bigseg.plans.counts.traffic import boxes_of
from bigseg.plans.forecast import loads_of
from bigseg.plans.steps import Step
from bigseg.run.folder import make_steps
from bigseg.run.machine import held_memory
from bigseg.stages import label
from bigseg.stages.opinions import Opinions
from bigseg.types import Facts

LIBRARIES = 5.0
"""Processor seconds, at the most, in which a process loads its libraries."""
KEPT = {"predictions": "scratch/predictions", "opinions": "graph/opinions"}
"""Where a run keeps what compresses."""
APART = ("scratch", "ledger", "report")
"""What a run keeps besides tables and arrays of its objects."""
OF_BLOCKS = {
    ("label", "nodes"),
    ("supervoxels", "nodes"),
    ("merge", "edges"),
    ("regions", "edges"),
}
"""Stages that write a table for each block, and the folder that they lie in."""

Replan = Callable[[str, str, str, Index | None, str | None], Sequence[Step]]
"""Plans the same run for another image, output and run folder, in blocks (z, y, x), or its own, and
where a mask says so."""


def rehearse(
    volume: Volume,
    channels: tuple[int, ...],
    ndim: int,
    seconds: float,
    replan: Replan,
    margin: Index = (0, 0, 0),
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
    margin
        (z, y, x) voxels along the faces of a sample that are shown and not looked at.
    """
    started, libraries = time.perf_counter(), min(time.process_time(), LIBRARIES)
    with TemporaryDirectory(prefix="bigseg-plan-") as folder:
        place = Path(folder)

        def attempt(name: str, samples: tuple[Index, int], rim: Index, parts: int = 2) -> Trial:
            chosen = cut_samples(volume, channels[0], *samples, rim)
            return _try(place / name, volume, channels, chosen, partial(_cut, replan, parts))

        smallest, none = of_edge(volume, ndim, *TINY[ndim]), (0, 0, 0)
        first, tiny = (attempt(name, smallest, none, 1) for name in ("first", "tiny"))
        samples, begun = pilot(volume, ndim), time.process_time()
        held = left = held_memory()
        large = attempt("pilot", samples, margin)
        took = time.process_time() - begun  # by processor time, as others may be busy here
        most = max(seconds - took, 0.0) * filled(*samples) / took
        chosen = choose(volume, ndim, most)
        if chosen is not None and filled(*chosen) > filled(*samples):
            samples, left = chosen, max(held_memory(), held)
            large = attempt("samples", samples, margin)
    costs = costs_of(first, tiny, large, samples[0], time.perf_counter() - started)
    peak = costs.peak - (left - held)  # without what libraries keep of the shapes of the pilot
    return replace(costs, start=costs.start + Spent(libraries, libraries), peak=peak)


def _try(
    place: Path,
    volume: Volume,
    channels: tuple[int, ...],
    samples: Sequence[Sample],
    replan: Replan,
) -> Trial:
    """Rehearse every step on some samples."""
    shape = size(samples[0].shown)[1:]
    image, run, output = f"{place}/image.zarr", f"{place}/run.bigseg", f"{place}/labels.zarr"
    masked = copy_samples(volume, channels, samples, image, f"{place}/mask.zarr")
    block = None if is_whole(volume, shape) else shape
    planned = replan(image, output, run, block, f"{place}/mask.zarr" if masked else None)
    loads = {load.name: load for load in loads_of(planned)}
    blocks, ends = {}, {}
    for step in make_steps([(step.name, step.stage, step.spec) for step in planned]):
        step.module.check(step.spec)
        step.module.prepare(step.spec)
        facts: list[Facts] = []
        begun = _now()
        with remembering():
            for one in step.spec.grid:
                facts.append(step.module.block(step.spec, one, step.module.read(step.spec, one)))
        between = _now()
        done = step.module.finish(step.spec, facts)
        blocks[step.name], ends[step.name] = between - begun, _now() - between
        if "network_pixels" in done:  # tiles in which nothing is looked for are left out
            loads[step.name] = replace(loads[step.name], work=float(done["network_pixels"]))
    need = max(step_bytes(planned).values()) - PROCESS
    share = sum(sample.share for sample in samples) / len(samples)
    raw = {t.store: round(t.raw * share) for load in loads.values() for t in load.writes}
    stored = {store: _bytes(Path(run) / part) for store, part in KEPT.items()}
    stored |= {store: _bytes(Path(output) / store.split()[1]) for store in raw if " " in store}
    stored["result tables"] = _bytes(Path(output)) - sum(
        part for store, part in stored.items() if " " in store
    )
    seen, voxels = _standing_for(planned, samples)
    loads = {name: replace(load, seen=seen) if load.seen else load for name, load in loads.items()}
    blockwise, others, arrays = _tables(Path(run), planned)
    return Trial(
        loads,
        blocks,
        ends,
        voxels,
        len(samples),
        stored,
        raw,
        blockwise,
        others,
        arrays,
        need,
    )


def _standing_for(planned: Sequence[Step], samples: Sequence[Sample]) -> tuple[int, int]:
    """Voxels for whose objects samples stand, those seen by each block, and all together.

    An object counts wherever a part of it is seen, so both are wider than what is looked at.
    """
    own = next((s.spec for s in planned if isinstance(s.spec, Opinions)), None)
    if own is None:
        return 0, round(sum(prod(size(sample.kept)) for sample in samples))
    reach = [0.0] * 4
    if isinstance(own, label.Spec):
        reach[1:] = [own.diameter / 2 / length for length in own.spacing]
    reach[1] *= own.ndim == 3
    boxes = boxes_of(own.grid, halo=own.band)
    seen = voxels = 0.0
    for sample in samples:
        of_blocks = everything = 1.0
        for axis in (1, 2, 3):
            start, kept = sample.shown[axis].start, sample.kept[axis]
            everything *= sample.reach(axis, (kept.start, kept.stop), reach[axis])
            parts = (
                (max(a + start, kept.start), min(b + start, kept.stop)) for a, b in boxes[axis]
            )
            of_blocks *= sum(sample.reach(axis, (a, b), reach[axis]) for a, b in parts if a < b)
        seen, voxels = seen + of_blocks, voxels + everything
    return round(seen), round(voxels)


def _tables(run: Path, planned: Sequence[Step]) -> tuple[dict[str, Tables], Tables, int]:
    """Tables of which each block has one, by step; the other tables; and bytes of all else.

    Predictions, opinions, records and the report are not among them.
    """
    by_block: dict[str, list[tuple[int, int, int]]] = {}
    others, arrays = [], 0
    for path in run.rglob("*"):
        place = path.relative_to(run).parts
        if not path.is_file() or place[0] in APART or "opinions" in place or len(place) == 1:
            continue
        if path.suffix != ".parquet":
            arrays += path.stat().st_size
            continue
        about = read_metadata(path)
        told = about.num_rows, about.num_columns, path.stat().st_size
        step = next((s.name for s in planned if (s.stage, place[-2]) in OF_BLOCKS), None)
        if step is not None and place[0] == "graph":
            by_block.setdefault(step, []).append(told)
        else:
            others.append(told)
    return dict(by_block), others, arrays


def _cut(
    replan: Replan,
    parts: int,
    image: str,
    output: str,
    run: str,
    shape: Index | None,
    mask: str | None,
) -> Sequence[Step]:
    """Plan a run over samples, in so many blocks along y and x, or, over all, in its own."""
    if shape is None:
        return replan(image, output, run, None, mask)
    z, y, x = shape
    block = (z, *(max(n // parts, STRIDE) for n in (y, x)))
    return replan(image, output, run, tuple(max(edge, STRIDE) for edge in block), mask)


def _now() -> Spent:
    return Spent(time.process_time(), time.perf_counter())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
