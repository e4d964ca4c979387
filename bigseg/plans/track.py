"""From what a user asks for to the steps that track a series.

All that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

from bigseg import files
from bigseg.errors import ImageError, OutputExists, SpecError
from bigseg.grid import Index
from bigseg.io.plan import plan_labels
from bigseg.io.series import Series, check_series, open_series
from bigseg.io.volume import Volume
from bigseg.plans.alternatives import plan_alternatives
from bigseg.plans.channels import resolve_channels
from bigseg.plans.segment import describe_models, plan_segment
from bigseg.plans.steps import Step, pyramid_steps
from bigseg.plans.track_steps import edited_by, learning, linking, publishing
from bigseg.run.folder import is_run
from bigseg.specs.track import TrackSpec
from bigseg.stages import (
    detect,
    detections,
    lineages,
    link,
    overlap,
    overlaps,
    points,
    track_challenge,
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
    if spec.of_points:
        return _plan_points(spec, run)
    before, series = _labels(spec, run)
    more, others = plan_alternatives(spec, run, series, before)
    _check_target(spec, series, others)
    found = _measuring(spec, run, series).model_copy(update={"alternatives": others})
    compared = overlap.Spec(found=found)
    learned = learning(spec, run, series.shape[0], len(found.sources), overlaps=True)
    edited = edited_by(spec, run, series.shape[0], found)
    linked = link.Spec(learned=learned, packs=_packs(spec, found), edited=edited)
    put_together = lineages.Spec(
        linked=linked, min_length=spec.min_length, fill_gaps=spec.fill_gaps
    )
    written = write_tracks.Spec(found=found, target=spec.target, fill_gaps=spec.fill_gaps)
    steps = [
        *before,
        *more,
        Step("detect", "detect", found),
        Step("detections", "detections", detections.Spec(found=found)),
        Step("overlap", "overlap", compared),
        Step("overlaps", "overlaps", overlaps.Spec(counted=compared)),
        *linking(put_together),
        Step("write-tracks", "write_tracks", written),
        *pyramid_steps(written, write_tracks.planned_image(written, 1, series), "pyramid-tracks"),
    ]
    challenge = [] if spec.ctc is None else [_challenge(spec, written, spec.ctc)]
    axes = "zyx" if series.ndim == 3 else "yx"
    units = {axis: unit for axis, unit in series.units.items() if axis in axes}
    return steps + publishing(spec, learned, (axes, units), written, challenge)


def _plan_points(spec: TrackSpec, run: str) -> list[Step]:
    """Steps that track points: nothing is measured before, and no labels are written after."""
    found = points.open_points(spec.labels)
    frames = int(found.frame.max(initial=-1)) + 1
    if frames < 2:
        raise ImageError(
            f"{spec.labels} has points in {frames} frame(s), so there is nothing to track."
        )
    spacing = _spacing(spec, (1.0, 1.0, 1.0))
    where = points.Spec(run=run, url=spec.labels, frames=frames, spacing=spacing)
    learned = learning(spec, run, frames)
    windows, crowds = ceil(frames / spec.window), ceil(len(found.id) / spec.objects_per_block)
    packs = max(min(max(windows, crowds), MOST_PACKS), 1)
    linked = link.Spec(learned=learned, packs=packs, edited=edited_by(spec, run, frames, None))
    axes = "zyx" if found.position[:, 0].any() else "yx"
    units = {axis: unit for axis, unit in found.units.items() if axis in axes}
    return [
        Step("points", "points", where),
        *linking(lineages.Spec(linked=linked, min_length=spec.min_length)),
        *publishing(spec, learned, (axes, units), None, []),
    ]


def _challenge(spec: TrackSpec, written: write_tracks.Spec, folder: str) -> Step:
    """How the result folder is written; only a former one of this run may be in its way."""
    names = files.names(folder)
    strange = [n for n in names if not (n.startswith("mask") or n == "res_track.txt")]
    if strange or (names and not is_run(written.found.run)):
        raise OutputExists(f"The folder {folder} is not empty; choose another for --ctc.")
    return Step("ctc", "track_challenge", track_challenge.Spec(write=written, folder=folder))


def _labels(spec: TrackSpec, run: str) -> tuple[list[Step], Series]:
    """Steps that make the labels, if there are any, and the labels as they are or will be."""
    first = spec.segmentation
    if first is None:
        series = open_series(spec.labels)
        check_series(series, spec.labels)
        return [], series
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
        spacing=_spacing(spec, series.spacing),
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


def _spacing(spec: TrackSpec, known: tuple[float, float, float]) -> tuple[float, float, float]:
    """Size of a voxel, (z, y, x)."""
    if spec.voxel_size is None:
        return known
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


def _check_target(spec: TrackSpec, series: Series, others: Sequence[detect.Source]) -> None:
    """Refuse to write into what is read."""
    target = files.absolute(spec.target)
    read = [series.url, *series.frames[:1]]
    for one in others:
        read += [one.labels, *one.frames[:1]]
    for place in map(files.absolute, read):
        if target == place or place.startswith(target + "/") or target.startswith(place + "/"):
            raise OutputExists(
                f"The output {target} and the labels {place} must not lie in each other; choose "
                "another."
            )
