"""From maps of boundaries or affinities to the steps that make objects of them.

All that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

from math import ceil
from typing import Literal

import numpy as np

from bigseg.core.boundary_maps import DIRECT
from bigseg.errors import ImageError, SpecError
from bigseg.grid import Index
from bigseg.io.volume import Volume
from bigseg.plans.segment import check_target
from bigseg.plans.steps import Step, graph_steps, output_steps
from bigseg.specs.maps import EmSpec
from bigseg.stages import components, objects, regions, report, seams, supervoxels, write

SHOWN = 3
"""Maps that the report shows, as colours; the first affinities are of direct neighbours."""
BLOCK, WIDE = 256, 1024
"""Edge of a block of a volume, and of one of planes."""


def plan_em(spec: EmSpec, run: str) -> list[Step]:
    """Lay out the steps that make objects of maps.

    Raises
    ------
    SpecError, NotFound, ImageError
        In a sentence, if maps and settings do not fit each other.
    """
    volume = Volume.open(spec.image, spec.level)
    check_target(spec.image, spec.target, volume)
    pieces = _pieces(spec, run, volume)
    counts = pieces.grid.counts
    spacing = volume.spacing if pieces.ndim == 3 else volume.spacing[1:]
    written = write.Spec(
        run=run, image=spec.image, level=spec.level, target=spec.target, opinions=pieces
    )
    joined = components.Spec(run=run, counts=counts, beta=spec.beta)
    channels = pieces.maps.channels[:SHOWN]
    told = report.Spec(run=run, settings=spec, channels=channels, opinions=pieces)
    return [
        Step("supervoxels", "supervoxels", pieces),
        Step("regions", "regions", regions.Spec(pieces=pieces)),
        *graph_steps(
            joined,
            objects.Spec(run=run, counts=counts, spacing=spacing, min_size=spec.min_size),
        ),
        *output_steps(written, volume.image),
        Step("seams", "seams", seams.Spec(joined=joined, opinions=pieces)),
        Step("report", "report", told),
    ]


def _pieces(spec: EmSpec, run: str, volume: Volume) -> supervoxels.Spec:
    """How supervoxels are made, and in which blocks."""
    t, _, z, y, x = volume.shape
    maps = _maps(spec, volume)
    ndim: Literal[2, 3] = 3 if z > 1 else 2
    lengths = [length / volume.spacing[2] for length in volume.spacing]
    block = _block(spec, z)
    flat = spec.slices or z == 1
    pieces = supervoxels.Spec(
        run=run,
        shape=(t, z, y, x),
        block=block,
        halo=(0, 0 if flat else ceil(spec.halo / lengths[0]), spec.halo, spec.halo),
        band=(0, 0, 0, 0),
        ndim=ndim,
        maps=maps,
        method=spec.method,
        threshold=spec.threshold,
        sigma=spec.sigma,
        min_size=spec.min_supervoxel,
        slices=spec.slices,
        reach=spec.reach,
        spacing=(lengths[0], lengths[1], 1.0),
    )
    far = regions.reach(pieces)
    if any(f > b and n > b for f, b, n in zip(far, block, pieces.shape, strict=True)):
        raise SpecError(
            f"Offsets of up to {far[1:]} voxels reach beyond the next block of {block[1:]}; use a "
            "larger --block."
        )
    return pieces


def _maps(spec: EmSpec, volume: Volume) -> supervoxels.Maps:
    """Where the maps are; an error if they are no probabilities, or too few."""
    if volume.dtype.kind != "f" and volume.dtype != np.uint8:
        raise ImageError(
            f"{spec.image} holds {volume.dtype}; maps are uint8, 0 to 255, or floats, 0 to 1: "
            "convert them."
        )
    affine = spec.source == "affinities"
    if not affine and (spec.offsets is not None or spec.method == "mutex-watershed"):
        raise SpecError(
            "Offsets and the mutex watershed are for affinities; leave them out, or say that the "
            "maps are affinities."
        )
    offsets = (spec.offsets or DIRECT) if affine else ()
    if spec.method == "mutex-watershed":
        _check_mutex(spec, offsets)
    wanted = spec.channels or tuple(range(len(offsets) or 1))
    if len(wanted) != (len(offsets) or 1):
        raise SpecError(
            f"{len(wanted)} channels are given for {len(offsets) or 1} map(s); give one for each "
            "offset of affinities, or one of boundaries."
        )
    count = volume.shape[1]
    if spec.channels is None and len(wanted) > count:
        raise SpecError(
            f"{spec.image} has {count} channel(s), but there are {len(offsets)} offsets, one for "
            "each channel; give the offsets of its channels."
        )
    return supervoxels.Maps(
        image=spec.image,
        level=spec.level,
        source=spec.source,
        channels=tuple(volume.image.channel(c) for c in wanted),
        offsets=offsets,
    )


def _check_mutex(spec: EmSpec, offsets: tuple[Index, ...]) -> None:
    """A mutex watershed needs what attracts and what repels, in planes if pieces are flat."""
    lengths = {sum(map(abs, o)) > 1 for o in offsets if not (spec.slices and o[0])}
    if lengths != {True, False}:
        raise SpecError(
            "A mutex watershed needs affinities of direct neighbours and of farther voxels; give "
            "the offsets of all channels, or use the method watershed."
        )


def _block(spec: EmSpec, depth: int) -> Index:
    if spec.block is not None and len(spec.block) not in (2, 3):
        raise SpecError(f"--block {spec.block} must be two numbers, y,x, or three, z,y,x.")
    if depth == 1:
        y, x = spec.block[-2:] if spec.block else (WIDE, WIDE)
        return 1, 1, y, x
    if spec.block is None:
        return 1, min(depth, BLOCK), BLOCK, BLOCK
    z, y, x = spec.block if len(spec.block) == 3 else (min(depth, BLOCK), *spec.block)
    return 1, z, y, x
