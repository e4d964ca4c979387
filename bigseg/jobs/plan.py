"""What a run would cost, before it is paid for: reckoned from its steps and a short rehearsal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import prod
from typing import Any, Literal, TypeVar

from bigseg.errors import SpecError
from bigseg.grid import Index
from bigseg.io.stored import stored_share
from bigseg.io.volume import Volume
from bigseg.jobs import maps as maps_job
from bigseg.jobs import segment as segment_job
from bigseg.jobs.begin import plan_run, room_for
from bigseg.jobs.budget import PROCESS, check_memory, step_bytes
from bigseg.jobs.claim import COMPRESSED
from bigseg.jobs.rehearse import Costs, Replan, Spent, rehearse
from bigseg.plans.forecast import Load, Traffic, loads_of
from bigseg.plans.maps import plan_em
from bigseg.plans.segment import plan_segment
from bigseg.plans.steps import Step
from bigseg.run.folder import Run
from bigseg.run.machine import free_disk
from bigseg.specs.maps import EmSpec
from bigseg.specs.segment import SegmentSpec
from bigseg.stages import label, predict, supervoxels

SECONDS = 20.0
"""That a calibration takes, about, beyond what a tiny sample does."""
MOST_ASKED = 2000
"""Blocks of which it is asked whether they are skipped."""
Specification = TypeVar("Specification", SegmentSpec, EmSpec)


@dataclass(frozen=True)
class StepPlan:
    """What one step would do."""

    step: str
    blocks: int
    block: tuple[int, ...]
    """(t, z, y, x)."""
    skipped: int
    """Blocks where nothing is looked for, about."""
    memory: int
    """Bytes of a worker."""
    gets: int
    """Requests for stored objects."""
    puts: int
    read: int
    """Bytes, as they are stored; before compression where nobody knows how much that is."""
    written: int
    hours: float | None
    """Of processors; None without a calibration."""
    gpu_hours: float | None


@dataclass(frozen=True)
class Plan:
    """What a run would do, and what it would cost."""

    run: str
    result: str
    """URL of what would be made."""
    steps: tuple[StepPlan, ...]
    workers: int
    worker_bytes: int
    """Memory of one worker in the step that needs most."""
    image: int
    """Bytes of what is segmented, as they are stored."""
    amplification: float
    """Bytes read of the image by the steps that show it to a network, by its own."""
    sizes: dict[str, int]
    """Bytes before compression, by what is stored."""
    stored: dict[str, int]
    """Bytes that are expected on disk; empty without a calibration."""
    cpu_hours: float | None
    gpu_hours: float | None
    wall_hours: float | None
    """With so many workers like this machine."""
    calibration: dict[str, Any] | None
    """Samples, their edges and the seconds they took."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        steps = [asdict(step) | {"block": list(step.block)} for step in self.steps]
        totals = {
            "read": sum(s.read for s in self.steps),
            "written": sum(s.written for s in self.steps),
            "gets": sum(s.gets for s in self.steps),
            "puts": sum(s.puts for s in self.steps),
            "blocks": sum(s.blocks for s in self.steps),
        }
        return asdict(self) | {"steps": steps, "totals": totals}

    def text(self) -> str:
        """Say it to a person."""
        head = ("step", "blocks", "memory", "reads", "writes", "GETs", "PUTs", "hours")
        lines = ["{:<18}{:>9}{:>10}{:>10}{:>10}{:>9}{:>9}{:>10}  block (t, z, y, x)".format(*head)]
        for step in self.steps:
            lines.append(
                f"{step.step:<18}{step.blocks:>9}{_bytes(step.memory):>10}{_bytes(step.read):>10}"
                f"{_bytes(step.written):>10}{step.gets:>9}{step.puts:>9}{_hours(step):>10}  "
                f"{', '.join(map(str, step.block))}" + _skipped(step)
            )
        lines += ["", *self._totals(), f"result      {self.result}", f"run folder  {self.run}"]
        return "\n".join(lines)

    def _totals(self) -> list[str]:
        lines = [
            f"memory      {_bytes(self.worker_bytes)} for each of {self.workers} worker(s)",
            f"image       {_bytes(self.image)} as it is stored; each byte is read "
            f"{self.amplification:.2f} times for the network",
        ]
        for name, raw in self.sizes.items():
            kept = f", {_bytes(self.stored[name])} compressed" if name in self.stored else ""
            lines.append(f"{name:<12}{_bytes(raw)} before compression{kept}")
        if self.calibration is None or self.wall_hours is None:
            return [
                *lines,
                "time        not known without a calibration, which 'bigseg plan' makes",
            ]
        gpu = f", {_time(self.gpu_hours)} of GPUs" if self.gpu_hours else ""
        lines.append(
            f"time        {_time(self.cpu_hours)} of processors{gpu}; {_time(self.wall_hours)} "
            f"with {self.workers} worker(s) like this machine"
        )
        edges = " × ".join(map(str, self.calibration["sample"]))
        lines.append(
            f"calibrated  on {self.calibration['samples']} samples of {edges} voxels, in "
            f"{self.calibration['seconds']:.0f} s"
        )
        return lines


def plan_segmentation(
    spec: SegmentSpec,
    run: str | None = None,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    calibrate: float = 0.0,
) -> Plan:
    """Say what segmenting an image would cost; nothing is written.

    Parameters
    ----------
    spec, run, cluster, workers
        As for `bigseg.jobs.segment.execute`.
    calibrate
        Seconds that a rehearsal on samples may take, about; 0: none, and no hours are told.

    Raises
    ------
    SpecError
        If blocks do not fit in memory, or what is stored does not fit on the disk.
    BigsegError
        If anything else would refuse the run.
    """
    spec, url = segment_job.absolute(spec, run)
    spec = segment_job.measured(spec)
    planned = plan_segment(spec, url)
    shown = next(
        s.spec.function or s.spec if isinstance(s.spec, label.Spec) else s.spec
        for s in planned
        if isinstance(s.spec, predict.Spec | label.Spec)
    )
    channels = shown.channels if isinstance(shown, predict.Spec) else (0,)
    again = {"mask": None, "skip_background": False}
    return _plan(
        plan_run(url, spec, planned),
        planned,
        _Asked(spec.target, cluster, workers, segment_job.REMEDY),
        _Seen(Volume.open(spec.image, spec.level), channels, shown.ndim),
        _costs_of(
            calibrate,
            Volume.open(spec.image, spec.level),
            channels,
            shown.ndim if spec.dims != "slices" else 3,
            partial(_replanned, spec, again, plan_segment),
        ),
    )


def plan_maps(
    spec: EmSpec,
    run: str | None = None,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    calibrate: float = 0.0,
) -> Plan:
    """Say what making objects of maps would cost; see `plan_segmentation`."""
    spec, url = maps_job.absolute(spec, run)
    planned = plan_em(spec, url)
    pieces = next(s.spec for s in planned if isinstance(s.spec, supervoxels.Spec))
    volume = Volume.open(spec.image, spec.level)
    return _plan(
        plan_run(url, spec, planned),
        planned,
        _Asked(spec.target, cluster, workers, "a smaller --block and --halo"),
        _Seen(volume, pieces.maps.channels, pieces.ndim),
        _costs_of(
            calibrate,
            volume,
            pieces.maps.channels,
            pieces.ndim,
            partial(_replanned, spec, {}, plan_em),
        ),
    )


def _replanned(
    spec: Specification,
    changes: dict[str, Any],
    plan: Any,
    image: str,
    output: str,
    run: str,
    block: Index | None,
) -> Sequence[Step]:
    """Steps of the same run over another image."""
    places: dict[str, Any] = {"image": image, "output": output, "level": 0}
    places |= {"block": block} if block else {}
    steps: Sequence[Step] = plan(spec.model_copy(update=places | changes), run)
    return steps


def _costs_of(
    seconds: float, volume: Volume, channels: tuple[int, ...], ndim: int, replan: Replan
) -> Any:
    """A rehearsal that waits until memory has been checked."""
    return partial(rehearse, volume, channels, ndim, seconds, replan) if seconds else None


@dataclass(frozen=True)
class _Asked:
    target: str
    cluster: str | None
    workers: int | None
    remedy: str


@dataclass(frozen=True)
class _Seen:
    volume: Volume
    channels: tuple[int, ...]
    ndim: Literal[2, 3]


def _plan(run: Run, planned: Sequence[Step], asked: _Asked, seen: _Seen, rehearsal: Any) -> Plan:
    """Reckon, rehearse, and refuse what does not fit."""
    room = room_for(run, asked.cluster, asked.workers)
    needs = step_bytes(planned)
    for step in planned:
        if isinstance(step.spec, supervoxels.Spec):
            needs[step.name] = maps_job.worker_bytes(step.spec)
    name = max(needs, key=lambda one: needs[one])
    check_memory((name, needs[name]), room, asked.remedy)
    skipped = _skipped_shares(planned)
    loads = loads_of(planned, 1 - skipped["predict"], 1 - skipped["label"])
    _check_disk(run.url, asked.target, sum(_raw(loads).values()) * COMPRESSED)
    costs: Costs | None = rehearsal() if rehearsal else None
    if costs is not None:  # what libraries and the network took is known now
        more = costs.peak - costs.reckoned - PROCESS
        needs = {step: need + max(more, 0) for step, need in needs.items()}
        check_memory((name, needs[name]), room, asked.remedy)
    ratios = {"image": stored_share(seen.volume)} | (costs.stored if costs else {})
    stored = _stored(loads, costs, seen.volume)
    _check_disk(run.url, asked.target, sum(stored.values()))
    rows = tuple(_row(load, needs, skipped, ratios, _spent(load, costs, seen)) for load in loads)
    total = sum((_spent(load, costs, seen) for load in loads), Spent()) if costs else None
    looks = [t for load in loads if load.stage != "normalize" for t in load.reads]
    t, _, *space = seen.volume.shape
    raw = t * prod(space) * seen.volume.dtype.itemsize * len(set(seen.channels))
    gpu = sum(row.gpu_hours or 0.0 for row in rows)
    return Plan(
        run=run.url,
        result=asked.target,
        steps=rows,
        workers=room.workers,
        worker_bytes=needs[name],
        image=round(raw * ratios["image"]),
        amplification=round(sum(t.raw for t in looks if t.store == "image") / raw, 3),
        sizes=_raw(loads),
        stored=stored,
        cpu_hours=None
        if total is None or costs is None
        else _cpu(total, costs, room.workers) - gpu,
        gpu_hours=None if costs is None else gpu,
        wall_hours=None if costs is None else _wall(loads, costs, seen, room.workers),
        calibration=None if costs is None else costs.facts(),
    )


def _skipped_shares(planned: Sequence[Step]) -> dict[str, float]:
    """Share of the blocks of `predict` and `label` in which nothing is looked for.

    Of many blocks it is asked of some all over the image.
    """
    shares = {"predict": 0.0, "label": 0.0}
    for step in planned:
        spec = step.spec
        if not isinstance(spec, predict.Spec | label.Spec) or spec.region is None:
            continue
        if any(s.stage == "background" for s in planned):  # not known before it has been looked
            continue
        grid = spec.grid
        asked = range(0, len(grid), max(len(grid) // MOST_ASKED, 1))
        outside = [not spec.region.touches(grid[number].write) for number in asked]
        shares[step.stage] = sum(outside) / len(outside)
    return shares


def _raw(loads: Sequence[Load]) -> dict[str, int]:
    """Bytes before compression, by store."""
    sizes: dict[str, int] = {}
    for load in loads:
        for one in load.writes:
            name = "result" if one.store.startswith("labels") else one.store
            sizes[name] = sizes.get(name, 0) + one.raw
    return sizes


def _stored(loads: Sequence[Load], costs: Costs | None, volume: Volume) -> dict[str, int]:
    """Bytes that are expected, by store; nothing without a calibration."""
    if costs is None:
        return {}
    sizes: dict[str, int] = {}
    finest = costs.stored.get("labels 0", COMPRESSED)
    for load in loads:
        for one in load.writes:
            name = "result" if one.store.startswith("labels") else one.store
            level = int(one.store.split()[1]) if " " in one.store else 0
            # Outlines are longer by voxel in coarser levels.
            ratio = costs.stored.get(one.store) if not level else finest * 1.6**level
            sizes[name] = sizes.get(name, 0) + round(one.raw * min(ratio or COMPRESSED, 1.0))
    t, _, *space = volume.shape
    blocks, seen = next(((load.blocks, load.seen) for load in loads if load.seen), (1, 0))
    image = t * prod(space)
    sizes["result"] = round(sizes.get("result", 0) + costs.result * image + costs.result_once)
    each = costs.rows * seen + costs.rows_per_block * blocks
    sizes["tables"] = round(each + costs.tables * image + costs.tables_once)
    return sizes


def _check_disk(run: str, target: str, needed: float) -> None:
    """Refuse what does not fit on a disk; buckets have no limit."""
    free = free_disk(run)
    if free is not None and needed > free:
        raise SpecError(
            f"The run needs about {needed / 1e9:.1f} GB of disk for {run} and {target}, where "
            f"{free / 1e9:.1f} GB are free; put the run elsewhere with --run, or make room."
        )


def _spent(load: Load, costs: Costs | None, seen: _Seen) -> Spent:
    """Seconds of a step, of all workers together."""
    if costs is None:
        return Spent()
    t, _, *space = seen.volume.shape
    blocks, end = costs.steps[_alike(load, costs)].of(load, t * prod(space))
    return blocks + end


def _alike(load: Load, costs: Costs) -> str:
    """The step of the rehearsal that tells of a step; levels are alike."""
    if load.name in costs.steps:
        return load.name
    return next((n for n in costs.steps if n.split("-")[0] == load.name.split("-")[0]), "write")


def _row(
    load: Load,
    needs: dict[str, int],
    skipped: dict[str, float],
    ratios: dict[str, float],
    spent: Spent,
) -> StepPlan:
    known = len(ratios) > 1
    gpu = spent.wall / 3600 if load.stage == "predict" and known and _has_gpu() else None
    return StepPlan(
        step=load.name,
        blocks=load.blocks,
        block=load.block,
        skipped=round(load.blocks * skipped.get(load.stage, 0.0)),
        memory=needs.get(load.name, PROCESS),
        gets=sum(t.requests for t in load.reads),
        puts=sum(t.requests for t in load.writes) + load.blocks,
        read=sum(_compressed(t, ratios) for t in load.reads),
        written=sum(_compressed(t, ratios) for t in load.writes),
        hours=spent.cpu / 3600 if known else None,
        gpu_hours=gpu,
    )


def _compressed(one: Traffic, ratios: dict[str, float]) -> int:
    store = one.store if one.store in ratios else "labels 0"
    return round(one.raw * min(ratios.get(store, 1.0), 1.0))


def _has_gpu() -> bool:
    """Whether networks run on a GPU here."""
    # Imported here: only a calibration has loaded PyTorch anyway.
    import torch

    return bool(torch.cuda.is_available())


def _cpu(total: Spent, costs: Costs, workers: int) -> float:
    return (total.cpu + workers * costs.start.cpu) / 3600


def _wall(loads: Sequence[Load], costs: Costs, seen: _Seen, workers: int) -> float:
    """Hours, with blocks shared out evenly: a step with few blocks keeps few workers busy."""
    t, _, *space = seen.volume.shape
    seconds = costs.start.wall
    for load in loads:
        blocks, end = costs.steps[_alike(load, costs)].of(load, t * prod(space))
        rounds = -(-load.blocks // workers)
        seconds += blocks.wall / load.blocks * rounds + end.wall
    return seconds / 3600


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1e3:.0f} kB" if count else "–"


def _time(hours: float | None) -> str:
    seconds = (hours or 0.0) * 3600
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _hours(step: StepPlan) -> str:
    return "–" if step.hours is None else _time(step.gpu_hours or step.hours)


def _skipped(step: StepPlan) -> str:
    return f"  ({step.skipped} skipped)" if step.skipped else ""
