"""What a run would cost: from its steps, and from what a rehearsal has found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, prod

from bigseg.errors import SpecError
from bigseg.io.stored import stored_share
from bigseg.io.volume import Volume
from bigseg.jobs.begin import room_for
from bigseg.jobs.budget import PROCESS, check_memory, step_bytes
from bigseg.jobs.claim import COMPRESSED
from bigseg.jobs.costs import Costs, Spent
from bigseg.jobs.planned import Plan, StepPlan
from bigseg.plans.counts.traffic import Placed, Traffic
from bigseg.plans.forecast import Load, loads_of
from bigseg.plans.steps import Step
from bigseg.run.cluster import Room
from bigseg.run.folder import Run
from bigseg.run.machine import free_disk
from bigseg.stages import label, predict

MOST_ASKED = 2000
"""Blocks of which it is asked whether they are skipped."""
RESULTS = ("tracks", "restored", "labels")
"""What a run makes, if it makes it: the first of these is its result."""
STEEPER = 2.0
"""Times that outlines are longer by voxel in each coarser level of labels: surfaces become smaller
by one power less than what they enclose."""
WHOLE, GRAPH = ("components", "objects"), 150
"""Stages that hold the whole graph, and bytes of each object of a block and of each edge."""


@dataclass(frozen=True)
class Seen:
    """What a run looks at."""

    volume: Volume
    channels: tuple[int, ...] = (0,)
    store: str = "image"
    """As what its steps read it."""

    @property
    def voxels(self) -> int:
        """Of one channel, all frames together."""
        t, _, *space = self.volume.shape
        return t * prod(space)

    @property
    def raw(self) -> int:
        """Bytes before compression."""
        return self.voxels * self.volume.dtype.itemsize * len(set(self.channels))


@dataclass(frozen=True)
class Proposal:
    """A run that somebody thinks of."""

    run: Run
    steps: Sequence[Step]
    target: str
    """URL of what would be made."""
    cluster: str | None
    workers: int | None
    remedy: str
    """What to do if blocks do not fit in memory, besides fewer workers."""
    seen: Seen | None = None
    """None: nothing that is stored as one image."""
    rehearse: Callable[[], Costs] | None = None
    """Waits until memory has been checked; None: hours are not asked for."""
    untold: str = ""
    """Why hours are not told even if they are asked for."""
    placed: Placed | None = None
    needs: dict[str, int] = field(default_factory=dict)
    """Memory of a worker in steps of which more is known than their specifications say."""


def reckon(asked: Proposal) -> Plan:
    """Reckon what a run takes, rehearse it, and refuse what does not fit.

    Raises
    ------
    SpecError
        If blocks do not fit in memory, or what is stored does not fit on the disk.
    """
    room = room_for(asked.run, asked.cluster, asked.workers)
    needs = step_bytes(asked.steps) | asked.needs
    _check_memory(needs, room, asked.remedy)
    skipped = _skipped_shares(asked.steps)
    loads = loads_of(asked.steps, 1 - skipped["predict"], 1 - skipped["label"], asked.placed)
    _check_disk(asked, sum(_raw(loads).values()) * COMPRESSED)
    costs = asked.rehearse() if asked.rehearse else None
    if costs is not None:  # what libraries and the network took is known now
        more = max(costs.peak - costs.reckoned - PROCESS, 0)
        needs = {step: need + more for step, need in needs.items()}
        graph = round(GRAPH * sum(costs.rows_of(load) for load in loads))
        needs |= {s.name: needs[s.name] + graph for s in asked.steps if s.stage in WHOLE}
        _check_memory(needs, room, asked.remedy)
    bill = Bill(asked, loads, costs, room.workers)
    _check_disk(asked, sum(bill.stored.values()))
    return Plan(
        run=asked.run.url,
        result=asked.target,
        steps=tuple(bill.row(load, needs, skipped) for load in loads),
        workers=room.workers,
        worker_bytes=max(needs.values()),
        image=bill.image,
        amplification=bill.amplification,
        sizes=_raw(loads),
        stored=bill.stored,
        cpu_hours=None if costs is None else bill.cpu_hours,
        gpu_hours=None if costs is None else bill.gpu_hours,
        wall_hours=None if costs is None else bill.wall_hours,
        calibration=None if costs is None else costs.facts(),
        untold=asked.untold,
    )


def _check_memory(needs: dict[str, int], room: Room, remedy: str) -> None:
    name = max(needs, key=lambda one: needs[one])
    check_memory((name, needs[name]), room, remedy)


@dataclass(frozen=True)
class Bill:
    """What the steps of a run come to."""

    asked: Proposal
    loads: Sequence[Load]
    costs: Costs | None
    workers: int

    @property
    def image(self) -> int | None:
        """Bytes of what is looked at, as they are stored."""
        seen = self.asked.seen
        return None if seen is None else round(seen.raw * self.ratios[seen.store])

    @property
    def amplification(self) -> float | None:
        """Bytes read of it by the steps that do more than count its intensities, by its own."""
        seen = self.asked.seen
        if seen is None:
            return None
        looks = (t for load in self.loads if load.stage != "normalize" for t in load.reads)
        return round(sum(t.raw for t in looks if t.store == seen.store) / max(seen.raw, 1), 3)

    @cached_property
    def ratios(self) -> dict[str, float]:
        """Bytes that are stored for each before compression, by store, as far as it is known."""
        seen = self.asked.seen
        known = {} if seen is None else {seen.store: stored_share(seen.volume)}
        for store in {t.store for load in self.loads for t in (*load.reads, *load.writes)}:
            ratio = self._ratio(store)
            if ratio is not None:
                known[store] = min(ratio, 1.0)
        return known

    def _ratio(self, store: str) -> float | None:
        """By what was rehearsed of a store, or of the finest level of what it is a level of."""
        if self.costs is None:
            return None
        name, _, level = store.partition(" ")
        if not level.isdigit() or level == "0" or name == "restored":
            return self.costs.stored.get(store, self.costs.stored.get(f"{name} 0"))
        finest = self.costs.stored.get(f"{name} 0")
        return None if finest is None else finest * STEEPER ** int(level)

    @cached_property
    def stored(self) -> dict[str, int]:
        """Bytes that are expected, by what they are of; nothing without a calibration."""
        if self.costs is None:
            return {}
        sizes = _sizes(self.loads, self.ratios)
        costs, voxels = self.costs, self._voxels
        sizes["result"] = round(sizes.get("result", 0) + costs.result * voxels + costs.result_once)
        each = sum(costs.tables_of(load) for load in self.loads)
        sizes["tables"] = round(each + costs.tables * voxels + costs.tables_once)
        return sizes

    @property
    def _voxels(self) -> int:
        return self.asked.seen.voxels if self.asked.seen else 0

    def row(self, load: Load, needs: dict[str, int], skipped: dict[str, float]) -> StepPlan:
        """What one step would do."""
        told = None if self.costs is None else sum(self._spent(load), Spent())
        gpu = told.wall / 3600 if told is not None and self._on_gpu(load) else None
        return StepPlan(
            step=load.name,
            blocks=load.blocks,
            block=load.block,
            skipped=round(load.blocks * skipped.get(load.stage, 0.0)),
            memory=needs.get(load.name, PROCESS),
            gets=sum(t.requests for t in load.reads) + load.small[0],
            puts=sum(t.requests for t in load.writes) + load.small[1] + load.blocks,
            read=sum(self._compressed(t) for t in load.reads),
            written=sum(self._compressed(t) for t in load.writes),
            hours=None if told is None else told.cpu / 3600,
            gpu_hours=gpu,
        )

    def _compressed(self, one: Traffic) -> int:
        return round(one.raw * self.ratios.get(one.store, 1.0))

    def _spent(self, load: Load) -> tuple[Spent, Spent]:
        """Seconds of the blocks of a step, of all workers together, and of its end."""
        assert self.costs is not None
        return self.costs.of(load, self._voxels)

    @property
    def cpu_hours(self) -> float:
        """Of processors, but for those that wait for GPUs."""
        assert self.costs is not None
        seconds = sum(self._spent(load)[n].cpu for load in self.loads for n in (0, 1))
        return (seconds + self.workers * self.costs.start.cpu) / 3600 - self.gpu_hours

    @property
    def gpu_hours(self) -> float:
        """Of GPUs."""
        on_gpu = [sum(self._spent(load), Spent()) for load in self.loads if self._on_gpu(load)]
        return sum(one.wall for one in on_gpu) / 3600

    @property
    def wall_hours(self) -> float:
        """With blocks shared out evenly: a step with few of them keeps few workers busy."""
        assert self.costs is not None
        seconds = self.costs.start.wall
        for load in self.loads:
            blocks, end = self._spent(load)
            seconds += blocks.wall / load.blocks * ceil(load.blocks / self.workers) + end.wall
        return seconds / 3600

    def _on_gpu(self, load: Load) -> bool:
        return load.stage in ("predict", "restore") and _has_gpu()


def _has_gpu() -> bool:
    """Whether networks run on a GPU here."""
    # Imported here: only a calibration has loaded PyTorch anyway.
    import torch

    return bool(torch.cuda.is_available())


def _raw(loads: Sequence[Load]) -> dict[str, int]:
    """Bytes before compression, by what they are of."""
    return _sizes(loads, {})


def _sizes(loads: Sequence[Load], ratios: dict[str, float]) -> dict[str, int]:
    """Bytes that are written, by what they are of; levels count together."""
    written = [one for load in loads for one in load.writes]
    names = [one.store.partition(" ")[0] for one in written]
    result = next((name for name in RESULTS if name in names), None)
    sizes: dict[str, int] = {}
    for one, name in zip(written, names, strict=True):
        known = "result" if name == result else name
        sizes[known] = sizes.get(known, 0) + round(
            one.raw * ratios.get(one.store, COMPRESSED if ratios else 1.0)
        )
    return sizes


def _check_disk(asked: Proposal, needed: float) -> None:
    """Refuse what does not fit on a disk; buckets have no limit."""
    free = free_disk(asked.run.url)
    if free is not None and needed > free:
        raise SpecError(
            f"The run needs about {needed / 1e9:.1f} GB of disk for {asked.run.url} and "
            f"{asked.target}, where {free / 1e9:.1f} GB are free; put the run elsewhere with "
            "--run, or make room."
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
