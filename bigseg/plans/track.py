"""From what a user asks for to the steps that track a series.

All that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil, prod, sqrt

from bigseg import files
from bigseg.core.tracking.costs import Model, Spread
from bigseg.core.tracking.link import Settings
from bigseg.errors import ImageError, OutputExists, SpecError
from bigseg.grid import Index
from bigseg.io.plan import plan_labels
from bigseg.io.series import Series, open_series
from bigseg.io.track_costs import read_costs
from bigseg.io.volume import Volume
from bigseg.plans.channels import resolve_channels
from bigseg.plans.segment import describe_models, plan_segment
from bigseg.plans.steps import Step
from bigseg.run.folder import is_run
from bigseg.specs.track import TrackSpec
from bigseg.specs.track_edits import frame_of, name_of, read_edits
from bigseg.stages import (
    detect,
    detections,
    learn,
    lineages,
    link,
    tile_pyramid,
    track_challenge,
    track_edits,
    track_graph,
    track_publish,
    track_report,
    write,
    write_tracks,
)

VOXELS = 1 << 22
"""Of a block, about."""
MOST_PACKS = 1024


def plan_track(spec: TrackSpec, run: str) -> list[Step]:
    """Lay out the steps that track the objects of a series of label images.

    Raises
    ------
    SpecError, NotFound, ImageError
        In a sentence, if the labels and the settings do not fit each other.
    """
    before, series = _labels(spec, run)
    _check_target(spec, series)
    found = _measuring(spec, run, series)
    settings = Settings(
        mode=spec.mode,
        gap=spec.gap - 1,  # frames in which an object may be missed
        divisions=spec.divisions,
        max_move=spec.max_step,
        max_division=spec.max_division,
        core_frames=spec.window,
        core_objects=spec.objects_per_block,
    )
    learned = learn.Spec(
        run=run, frames=series.shape[0], settings=settings, model=_known_costs(spec)
    )
    edited = _edited(spec, series, found)
    linked = link.Spec(learned=learned, packs=_packs(spec, found), edited=edited)
    put_together = lineages.Spec(
        linked=linked,
        merging=spec.merging,
        min_length=spec.min_length,
        fill_gaps=spec.fill_gaps,
    )
    written = write_tracks.Spec(found=found, target=spec.target, fill_gaps=spec.fill_gaps)
    published = track_publish.Spec(write=written, image=_image(spec))
    steps = [
        *before,
        Step("detect", "detect", found),
        Step("detections", "detections", detections.Spec(found=found)),
        Step("learn", "learn", learned),
        *([] if edited is None else [Step("edits", "track_edits", edited)]),
        Step("link", "link", linked),
        Step("lineages", "lineages", put_together),
        Step("write-tracks", "write_tracks", written),
        *_levels(written, series),
        Step("publish-tracks", "track_publish", published),
        Step("graph", "track_graph", track_graph.Spec(found=found, target=spec.target)),
    ]
    if spec.ctc is not None:
        steps.append(Step("ctc", "track_challenge", _challenge(spec, written, spec.ctc)))
    steps.append(Step("report", "track_report", track_report.Spec(settings=spec, write=written)))
    return steps


def _known_costs(spec: TrackSpec) -> Model | None:
    """Numbers behind costs that were fitted before, for links as long as are asked for."""
    if spec.costs is None:
        return None
    model = read_costs(spec.costs)
    first = model.steps[0]
    longer = [
        Spread(first.scale * sqrt(frames), first.tail)
        for frames in range(model.gap + 1, spec.gap + 1)
    ]
    divides = model.divides if spec.divisions else 0.0
    return replace(model, steps=(*model.steps[: spec.gap], *longer), divides=divides)


def _edited(spec: TrackSpec, series: Series, found: detect.Spec) -> track_edits.Spec | None:
    """Corrections, if there are any; whether their objects are there is found out later."""
    if spec.edits is None:
        return None
    edits = read_edits(spec.edits)
    for one in edits.objects:
        if frame_of(one) >= series.shape[0]:
            raise SpecError(
                f"{spec.edits} speaks of {name_of(one)}, but {series.url} has {series.shape[0]} "
                "frames, counted from 0."
            )
    return track_edits.Spec(run=found.run, edits=edits, found=found)


def _challenge(spec: TrackSpec, written: write_tracks.Spec, folder: str) -> track_challenge.Spec:
    """How the result folder is written; only a former one of this run may be in its way."""
    names = files.names(folder)
    strange = [n for n in names if not (n.startswith("mask") or n == "res_track.txt")]
    if strange or (names and not is_run(written.found.run)):
        raise OutputExists(f"The folder {folder} is not empty; choose another for --ctc.")
    return track_challenge.Spec(write=written, folder=folder)


def _labels(spec: TrackSpec, run: str) -> tuple[list[Step], Series]:
    """Steps that make the labels, if there are any, and the labels as they are or will be."""
    first = spec.segmentation
    if first is None:
        return [], open_series(spec.labels)
    if first.dims == "slices":
        raise SpecError("Objects that are put together from slices cannot be tracked in one run.")
    volume = Volume.open(first.image, first.level)
    t, _, z, y, x = volume.shape
    if t == 1:
        raise ImageError(f"{first.image} has a single frame, so there is nothing to track.")
    steps = [step for step in plan_segment(first, run) if step.name != "report"]
    written = next(step.spec for step in steps if isinstance(step.spec, write.Spec))
    edges = written.opinions.block[1:]
    made = plan_labels(
        volume.image, first.target, "uint32", (edges[0], edges[1], edges[2]), level=first.level
    )
    unit = Volume(made, 0).unit
    series = Series(first.target, (), (t, z, y, x), unit, volume.spacing, made.units, made)
    return steps, series


def _measuring(spec: TrackSpec, run: str, series: Series) -> detect.Spec:
    """How objects are measured, and in which blocks."""
    found = detect.Spec(
        run=run,
        labels=series.url,
        frames=series.frames,
        ngff=series.image is not None,
        shape=series.shape,
        unit=series.unit,
        block=_block(series),
        spacing=_spacing(spec, series),
    )
    first = spec.segmentation
    if first is not None:
        volume = Volume.open(first.image, first.level)
        channels, _ = resolve_channels(first.channels, volume, describe_models(first)[0])
        seen = {"image": first.image, "level": first.level, "channel": channels[0]}
        return found.model_copy(update=seen | {"made": True})
    if spec.image is None:
        return found
    volume = Volume.open(spec.image)
    t, _, z, y, x = volume.shape
    if (t, z, y, x) != series.shape:
        raise ImageError(
            f"{spec.image} has (t, z, y, x) = {(t, z, y, x)} voxels, but {spec.labels} has "
            f"{series.shape}; give the image that the labels are of."
        )
    channel = volume.image.channel(spec.channel)
    return found.model_copy(update={"image": spec.image, "channel": channel})


def _spacing(spec: TrackSpec, series: Series) -> tuple[float, float, float]:
    """Size of a voxel, (z, y, x)."""
    if spec.voxel_size is None:
        return series.spacing
    if len(spec.voxel_size) not in (2, 3):
        raise SpecError(f"voxel_size {spec.voxel_size} must be two numbers, y,x, or three, z,y,x.")
    z, y, x = (1.0, *spec.voxel_size)[-3:]
    return z, y, x


def _block(series: Series) -> Index:
    """Whole stored objects of a frame, about `VOXELS` of them."""
    edges = [min(u, n) for u, n in zip(series.unit[1:], series.shape[1:], strict=True)]
    for axis in (2, 1, 0):
        length = series.shape[1 + axis]
        while edges[axis] < length and prod(edges) < VOXELS:
            edges[axis] *= 2
    return 1, *edges


def _packs(spec: TrackSpec, found: detect.Spec) -> int:
    """Tasks that link: one for each window of frames, and for each few blocks of a frame."""
    windows = ceil(found.shape[0] / spec.window)
    regions = ceil(prod(found.grid.counts[1:]) / 4)
    return max(min(windows * regions, MOST_PACKS), 1)


def _levels(written: write_tracks.Spec, series: Series) -> list[Step]:
    """Steps that make the coarser levels."""
    plan = write_tracks.planned_image(written, 1, series)
    levels = [Volume(plan, number) for number in range(len(plan.levels))]
    steps = []
    for number, (_, coarse) in enumerate(pairwise(levels), 1):
        t, _, z, y, x = coarse.shape
        level = tile_pyramid.Spec(
            write=written, number=number, shape=(t, z, y, x), block=coarse.unit
        )
        steps.append(Step(f"pyramid-tracks-{number}", "tile_pyramid", level))
    return steps


def _image(spec: TrackSpec) -> str | None:
    """Image that the labels are of, as far as it is known."""
    if spec.segmentation is not None:
        return spec.labels
    if spec.image is not None:
        return spec.image
    return spec.labels.rpartition("/labels/")[0] or None


def _check_target(spec: TrackSpec, series: Series) -> None:
    """Refuse to write into what is read."""
    target = files.absolute(spec.target)
    for place in (files.absolute(series.url), *(files.absolute(f) for f in series.frames[:1])):
        if target == place or place.startswith(target + "/") or target.startswith(place + "/"):
            raise OutputExists(
                f"The output {target} and the labels {place} must not lie in each other; choose "
                "another."
            )
