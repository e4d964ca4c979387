"""Steps that tracking has in common, whatever the objects come from."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from bigseg.core.tracking.costs import Model, Spread
from bigseg.core.tracking.link import Settings
from bigseg.core.tracking.rates import GUESS
from bigseg.errors import SpecError
from bigseg.io.track_costs import read_costs
from bigseg.plans.steps import Step
from bigseg.specs.track import TrackSpec
from bigseg.specs.track_edits import Place, frame_of, name_of, read_edits
from bigseg.stages import (
    detect,
    learn,
    lineages,
    track_edits,
    track_graph,
    track_publish,
    track_report,
    write_tracks,
)

NEIGHBOURS, MORE_NEIGHBOURS = 8, 4
"""Most candidates of an object in another frame, and how many more for each alternative."""


def learning(
    spec: TrackSpec, run: str, frames: int, sources: int = 1, *, overlaps: bool = False
) -> learn.Spec:
    """How the numbers behind costs are found, and how objects are linked.

    Objects of several sources may lie around the same places, so that more candidates are needed.
    """
    settings = Settings(
        mode=spec.mode,
        gap=spec.gap - 1,  # frames in which an object may be missed
        neighbours=NEIGHBOURS + (sources - 1) * MORE_NEIGHBOURS,
        divisions=spec.divisions,
        merging=spec.merging,
        brightness=spec.brightness,
        max_move=spec.max_step,
        max_division=spec.max_division,
        core_frames=spec.window,
        core_objects=spec.objects_per_block,
    )
    return learn.Spec(
        run=run,
        frames=frames,
        sources=sources,
        overlaps=overlaps,
        settings=settings,
        model=known_costs(spec),
    )


def known_costs(spec: TrackSpec) -> Model | None:
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
    merges = (model.merges or GUESS["merges"]) if spec.merging else 0.0
    steps = (*model.steps[: spec.gap], *longer)
    model = replace(model, steps=steps, divides=divides, merges=merges)
    return model if spec.brightness else replace(model, brightness=None)


def edited_by(
    spec: TrackSpec, run: str, frames: int, found: detect.Spec | None
) -> track_edits.Spec | None:
    """Corrections, if there are any; whether their objects are there is found out later."""
    if spec.edits is None:
        return None
    edits = read_edits(spec.edits)
    for one in edits.objects:
        if frame_of(one) >= frames:
            raise SpecError(
                f"{spec.edits} speaks of {name_of(one)}, but {spec.source} has {frames} frames, "
                "counted from 0."
            )
        others = 0 if found is None else len(found.alternatives)
        if isinstance(one, Place) and one.alternative > others:
            raise SpecError(
                f"{spec.edits} speaks of {name_of(one)}, but there are {others}; 0 are the labels "
                "themselves."
            )
    return track_edits.Spec(run=run, edits=edits, found=found)


def linking(put_together: lineages.Spec) -> list[Step]:
    """Steps from detections to lineages."""
    linked = put_together.linked
    edited = [] if linked.edited is None else [Step("edits", "track_edits", linked.edited)]
    return [
        Step("learn", "learn", linked.learned),
        *edited,
        Step("link", "link", linked),
        Step("lineages", "lineages", put_together),
    ]


def publishing(
    spec: TrackSpec,
    learned: learn.Spec,
    space: tuple[str, dict[str, str]],
    written: write_tracks.Spec | None,
    more: list[Step],
) -> list[Step]:
    """Steps that show others what was found, in a space of some axes and units."""
    run, target, (axes, units) = learned.run, spec.target, space
    published = track_publish.Spec(run=run, target=target, write=written, image=_image(spec))
    graph = track_graph.Spec(
        run=run, target=target, axes=axes, units=units, labels=written is not None
    )
    reported = track_report.Spec(
        settings=spec, run=run, frames=learned.frames, unit=units.get("x"), write=written
    )
    return [
        Step("publish-tracks", "track_publish", published),
        Step("graph", "track_graph", graph),
        *more,
        Step("report", "track_report", reported),
    ]


def _image(spec: TrackSpec) -> str | None:
    """Image that the labels are of, as far as it is known."""
    if spec.segmentation is not None:
        return spec.labels
    if spec.image is not None:
        return spec.image
    return spec.labels.rpartition("/labels/")[0] or None
