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

from bigseg.grid import Index
from bigseg.io.volume import Volume
from bigseg.jobs.budget import PROCESS, step_bytes
from bigseg.jobs.costs import Costs, Spent, Tables, Trial, costs_of
from bigseg.jobs.samples import STRIDE, TINY, choose, copy_samples, filled, is_whole, of_edge, pilot
from bigseg.opened import remembering
from bigseg.plans.forecast import loads_of
from bigseg.plans.steps import Step
from bigseg.run.folder import make_steps
from bigseg.run.machine import held_memory
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

Replan = Callable[[str, str, str, Index | None], Sequence[Step]]
"""Plans the same run for another image, output and run folder, in blocks (z, y, x), or its own."""


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

        def attempt(name: str, samples: tuple[Index, int], *, parts: int = 2) -> Trial:
            return _try(place / name, volume, channels, samples, partial(_cut, replan, parts))

        smallest = of_edge(volume, ndim, *TINY[ndim])
        first, tiny = (attempt(name, smallest, parts=1) for name in ("first", "tiny"))
        samples, begun = pilot(volume, ndim), time.process_time()
        held = left = held_memory()
        large = attempt("pilot", samples)
        took = time.process_time() - begun  # by processor time, as others may be busy here
        most = max(seconds - took, 0.0) * filled(*samples) / took
        chosen = choose(volume, ndim, most)
        if chosen is not None and filled(*chosen) > filled(*samples):
            samples, left = chosen, max(held_memory(), held)
            large = attempt("samples", samples)
    costs = costs_of(first, tiny, large, samples[0], time.perf_counter() - started)
    peak = costs.peak - (left - held)  # without what libraries keep of the shapes of the pilot
    return replace(costs, start=costs.start + Spent(libraries, libraries), peak=peak)


def _try(
    place: Path,
    volume: Volume,
    channels: tuple[int, ...],
    sample: tuple[Index, int],
    replan: Replan,
) -> Trial:
    """Rehearse every step on some samples."""
    shape, count = sample
    image, run, output = f"{place}/image.zarr", f"{place}/run.bigseg", f"{place}/labels.zarr"
    frames = copy_samples(volume, channels, shape, count, image)
    planned = replan(image, output, run, None if is_whole(volume, shape) else shape)
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
        step.module.finish(step.spec, facts)
        blocks[step.name], ends[step.name] = between - begun, _now() - between
    need = max(step_bytes(planned).values()) - PROCESS
    raw = {t.store: t.raw for load in loads.values() for t in load.writes}
    stored = {store: _bytes(Path(run) / part) for store, part in KEPT.items()}
    stored |= {store: _bytes(Path(output) / store.split()[1]) for store in raw if " " in store}
    stored["result tables"] = _bytes(Path(output)) - sum(
        size for store, size in stored.items() if " " in store
    )
    blockwise, others, arrays = _tables(Path(run), planned)
    return Trial(
        loads, blocks, ends, frames * prod(shape), stored, raw, blockwise, others, arrays, need
    )


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
    replan: Replan, parts: int, image: str, output: str, run: str, shape: Index | None
) -> Sequence[Step]:
    """Plan a run over samples, in so many blocks along y and x, or, over all, in its own."""
    if shape is None:
        return replan(image, output, run, None)
    z, y, x = shape
    block = (z, *(max(n // parts, STRIDE) for n in (y, x)))
    return replan(image, output, run, tuple(max(edge, STRIDE) for edge in block))


def _now() -> Spent:
    return Spent(time.process_time(), time.perf_counter())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
