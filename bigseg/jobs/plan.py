"""What a run would cost, before it is paid for: one function for each kind of run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any, TypeVar

from bigseg.grid import Index
from bigseg.io.volume import Volume
from bigseg.jobs import maps as maps_job
from bigseg.jobs import restore as restore_job
from bigseg.jobs import segment as segment_job
from bigseg.jobs import tiles as tiles_job
from bigseg.jobs import track as track_job
from bigseg.jobs.begin import plan_run
from bigseg.jobs.costs import Costs
from bigseg.jobs.planned import Plan
from bigseg.jobs.reckon import Proposal, Seen, reckon
from bigseg.jobs.rehearse import Replan, rehearse
from bigseg.plans.counts.traffic import Placed
from bigseg.plans.maps import plan_em
from bigseg.plans.restore import RestoreSpec, plan_restore
from bigseg.plans.segment import plan_segment
from bigseg.plans.steps import Step
from bigseg.plans.tiles import plan_merge
from bigseg.plans.track import plan_track
from bigseg.specs.maps import EmSpec
from bigseg.specs.segment import SegmentSpec
from bigseg.specs.tiles import MergeSpec
from bigseg.specs.track import TrackSpec
from bigseg.stages import detect, label, predict, restore, supervoxels

SECONDS = 20.0
"""That a calibration takes, about, beyond what a tiny sample does."""
Specification = TypeVar("Specification", SegmentSpec, EmSpec, RestoreSpec)


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
    seen = Seen(Volume.open(spec.image, spec.level), channels)
    again = partial(_replanned, spec, plan_segment)
    labelled = next(s.spec for s in planned if isinstance(s.spec, label.Spec))
    margin = [ceil(labelled.diameter / length) for length in labelled.spacing]
    margin[0] *= labelled.ndim == 3
    ndim = shown.ndim if spec.dims != "slices" else 3
    return reckon(
        Proposal(
            plan_run(url, spec, planned),
            planned,
            spec.target,
            cluster,
            workers,
            segment_job.REMEDY,
            seen,
            _rehearsal(calibrate, seen, ndim, again, tuple(margin)),
        )
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
    seen = Seen(Volume.open(spec.image, spec.level), pieces.maps.channels)
    again = partial(_replanned, spec, plan_em)
    return reckon(
        Proposal(
            plan_run(url, spec, planned),
            planned,
            spec.target,
            cluster,
            workers,
            maps_job.REMEDY,
            seen,
            _rehearsal(calibrate, seen, pieces.ndim, again),
        )
    )


def plan_restoration(
    spec: RestoreSpec,
    run: str | None = None,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    calibrate: float = 0.0,
) -> Plan:
    """Say what restoring an image would cost; see `plan_segmentation`."""
    spec, url = restore_job.absolute(spec, run)
    planned = plan_restore(spec, url)
    shown = next(s.spec for s in planned if isinstance(s.spec, restore.Spec))
    seen = Seen(Volume.open(spec.image, spec.level), shown.channels)
    again = partial(_replanned, spec, plan_restore)
    return reckon(
        Proposal(
            plan_run(url, spec, planned),
            planned,
            spec.target,
            cluster,
            workers,
            restore_job.REMEDY,
            seen,
            _rehearsal(calibrate, seen, 2, again),
        )
    )


def plan_merging(
    spec: MergeSpec,
    run: str | None = None,
    *,
    cluster: str | None = None,
    workers: int | None = None,
) -> Plan:
    """Say what merging tiles would take, but for hours; see `plan_segmentation`."""
    spec, url = tiles_job.absolute(spec, run)
    found = plan_merge(spec, url)
    return reckon(
        Proposal(
            plan_run(url, spec, found.steps),
            found.steps,
            spec.target,
            cluster,
            workers,
            "smaller tiles",
            untold="not known: tiles are not tried before they are merged",
            placed=Placed(found.layout, found.itemsize),
            needs={"tiles": tiles_job.tile_bytes(found)},
        )
    )


def plan_tracking(
    spec: TrackSpec,
    run: str | None = None,
    *,
    cluster: str | None = None,
    workers: int | None = None,
) -> Plan:
    """Say what tracking a series would take, but for hours; see `plan_segmentation`."""
    spec, url = track_job.absolute(spec, run)
    planned = plan_track(spec, url)
    found = next((s.spec for s in planned if isinstance(s.spec, detect.Spec)), None)
    seen = None
    if spec.segmentation is not None:
        shown = next(s.spec for s in planned if isinstance(s.spec, predict.Spec))
        seen = Seen(Volume.open(shown.image, shown.level), shown.channels)
    elif found is not None and found.ngff:
        seen = Seen(Volume.open(found.labels), store="given labels")
    return reckon(
        Proposal(
            plan_run(url, spec, planned),
            planned,
            spec.target,
            cluster,
            workers,
            "a smaller --block",
            seen,
            untold="not known: a series is not tried before it is tracked",
        )
    )


def _replanned(
    spec: Specification,
    plan: Callable[[Specification, str], Sequence[Step]],
    image: str,
    output: str,
    run: str,
    block: Index | None,
    mask: str | None,
) -> Sequence[Step]:
    """Steps of the same run over another image."""
    places: dict[str, Any] = {"image": image, "output": output, "level": 0}
    places |= {"block": block} if block and hasattr(spec, "block") else {}
    places |= {"mask": mask, "skip_background": False} if hasattr(spec, "mask") else {}
    return plan(spec.model_copy(update=places), run)


def _rehearsal(
    seconds: float, seen: Seen, ndim: int, replan: Replan, margin: Index = (0, 0, 0)
) -> Callable[[], Costs] | None:
    """A rehearsal that waits until memory has been checked."""
    if not seconds:
        return None
    return partial(rehearse, seen.volume, seen.channels, ndim, seconds, replan, margin)
