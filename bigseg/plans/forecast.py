"""What the steps of a run read, write, ask of a store and compute, from specifications alone.

Requests, bytes and blocks are no estimates: which stored objects each block touches is known.
`plans.counts` says how for each kind of step; steps that it does not name look at tables only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from bigseg.grid import Index
from bigseg.plans.counts import images, labels, tiles, tracks
from bigseg.plans.counts.tables import table_requests
from bigseg.plans.counts.traffic import Counted, Placed, Share, Traffic, boxes_of, voxels
from bigseg.plans.steps import Step
from bigseg.stages import (
    background,
    detect,
    image_pyramid,
    label,
    merge,
    normalize,
    overlap,
    predict,
    pyramid,
    regions,
    restore,
    stack,
    supervoxels,
    tile_edges,
    track_challenge,
    windows,
    write,
    write_slices,
    write_tiles,
    write_tracks,
)
from bigseg.stages import tiles as tile_stage
from bigseg.stages.opinions import Opinions


@dataclass(frozen=True)
class Load:
    """What a step does, in numbers."""

    name: str
    stage: str
    blocks: int
    block: Index
    work: float
    """What its time follows: pixels of the network, voxels with halo, voxels; or tables read."""
    reads: tuple[Traffic, ...] = ()
    writes: tuple[Traffic, ...] = ()
    seen: int = 0
    """Voxels where objects may stand that a block has a row about, all blocks together."""
    small: tuple[int, int] = (0, 0)
    """GETs and PUTs of tables, which are small."""


def loads_of(
    steps: Sequence[Step],
    predicted: float = 1.0,
    labelled: float = 1.0,
    placed: Placed | None = None,
) -> list[Load]:
    """What each step of a run does.

    Parameters
    ----------
    steps
        As planned.
    predicted, labelled
        Share of the blocks of `predict` and `label` that are not skipped.
    placed
        Tiles, where a run merges some.
    """
    shown = [step.spec for step in steps if isinstance(step.spec, predict.Spec)]
    written = [step.spec for step in steps if isinstance(step.spec, write.Spec)]
    goes_on = any(isinstance(step.spec, detect.Spec) for step in steps)
    share = Share(
        predicted,
        labelled,
        images.predictions_store(shown[0]) if shown else None,
        {one.target: labels.labels_of(one) for one in written} if goes_on else {},
        placed,
    )
    return [_load(step, share) for step in steps]


def _load(step: Step, share: Share) -> Load:
    spec, grid = step.spec, step.spec.grid
    count = next((count for kind, count in COUNTS if isinstance(spec, kind)), None)
    done = count(spec, share) if count else Counted(0.0)
    small = table_requests(spec)
    return Load(
        step.name,
        step.stage,
        len(grid),
        grid.block,
        done.work or float(small[0]),
        done.reads,
        done.writes,
        _seen(spec) if isinstance(spec, Opinions) else 0,
        small,
    )


def _seen(spec: Opinions) -> int:
    """Voxels of what blocks have an opinion about, and half an object around it."""
    reach = [0.0] * 4
    if isinstance(spec, label.Spec):
        reach[1:] = [spec.diameter / 2 / length for length in spec.spacing]
    halo = tuple(
        ceil(band + (more if band else 0)) for band, more in zip(spec.band, reach, strict=True)
    )
    return voxels(boxes_of(spec.grid, halo=halo))


COUNTS: tuple[tuple[type, Callable[[Any, Share], Counted]], ...] = (
    (normalize.Spec, images.counting),
    (windows.Spec, images.counting),
    (background.Spec, images.looking),
    (predict.Spec, images.predicting),
    (restore.Spec, images.restoring),
    (image_pyramid.Spec, images.averaging),
    (label.Spec, labels.labelling),
    (supervoxels.Spec, labels.flooding),
    (regions.Spec, labels.touching),
    (merge.Spec, labels.merging),
    (write.Spec, labels.writing),
    (stack.Spec, labels.stacking),
    (write_slices.Spec, labels.filling),
    (pyramid.Spec, labels.shrinking),
    (tile_stage.Spec, tiles.taking),
    (tile_edges.Spec, tiles.meeting),
    (write_tiles.Spec, tiles.writing),
    (detect.Spec, tracks.detecting),
    (overlap.Spec, tracks.comparing),
    (write_tracks.Spec, tracks.numbering),
    (track_challenge.Spec, tracks.exporting),
)
"""How each kind of step is counted."""
