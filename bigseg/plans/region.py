"""Where objects are looked for: everywhere, where a mask says so, or where it is not empty."""

from __future__ import annotations

from math import ceil, prod

from bigseg import files
from bigseg.errors import SpecError
from bigseg.io.region import Region, region_of
from bigseg.io.volume import Volume
from bigseg.plans.steps import Step
from bigseg.specs.segment import SegmentSpec
from bigseg.stages import background

MOST = 1 << 26
"""Voxels of a frame that are looked at together."""
ACROSS = 3.0
"""Voxels of the coarse level across an object, at least, so that none is lost in it."""


def plan_region(
    spec: SegmentSpec, volume: Volume, run: str, channels: tuple[int, ...], diameter: float
) -> tuple[Region | None, list[Step]]:
    """Region of a run, and the steps that find it.

    Raises
    ------
    SpecError, NotFound, ImageError
        If a mask does not fit the image, or the image has no level that is coarse enough.
    """
    if spec.mask is not None and spec.skip_background:
        raise SpecError("A mask and skip_background both say where to look; leave one of them out.")
    if spec.mask is not None:
        return region_of(files.absolute(spec.mask), volume), []
    if not spec.skip_background:
        return None, []
    level = _coarse(volume, diameter)
    coarse = Volume(volume.image, level)
    t, _, z, y, x = coarse.shape
    wide = diameter * volume.spacing[2]
    reach = [
        min(ceil(wide / length), n) if n > 1 else 0
        for length, n in zip(coarse.spacing, (z, y, x), strict=True)
    ]
    looked = background.Spec(
        run=run,
        image=spec.image,
        level=level,
        channels=channels,
        shape=(t, z, y, x),
        reach=(reach[0], reach[1], reach[2]),
        percentiles=spec.percentiles,
        invert=spec.invert,
    )
    return background.region(looked, volume), [Step("background", "background", looked)]


def _coarse(volume: Volume, diameter: float) -> int:
    """Coarsest level in which objects are still several voxels wide."""
    chosen = volume.number
    for number in range(volume.number, len(volume.image.levels)):
        factor = Volume(volume.image, number).spacing[2] / volume.spacing[2]
        if factor * ACROSS <= diameter:
            chosen = number
    _, _, *space = Volume(volume.image, chosen).shape
    if prod(space) > MOST:
        raise SpecError(
            f"{volume.image.url} has no level that is coarse enough to find its background: level "
            f"{chosen}, the coarsest in which objects of {diameter:.0f} voxels are seen, has "
            f"{prod(space):,} voxels a frame; leave out skip_background, or give a mask."
        )
    return chosen
