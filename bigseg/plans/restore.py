"""What a user asks for when an image is to be restored, and the steps that it takes."""

from __future__ import annotations

from math import ceil, prod
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bigseg.core.intensity import is_exact_in_one_pass
from bigseg.core.tiles import round_up
from bigseg.errors import SpecError
from bigseg.grid import Index
from bigseg.io.volume import Volume
from bigseg.plans.lattice import restoring_pixels
from bigseg.plans.segment import check_target, reading_block
from bigseg.plans.steps import Step
from bigseg.specs.segment import Per
from bigseg.stages import image_publish, image_pyramid, normalize, restore

TILE, MARGIN = 512, 24
LONGEST_BLOCK = 4096
"""Voxels along y and x: the wider blocks are, the fewer tiles are computed twice."""
BLOCK_VOXELS = 1 << 25
SMALLEST_DIAMETER = 3.0
"""Objects that are smaller are not enlarged, as published: there is nothing left to restore."""


class RestoreSpec(BaseModel):
    """Restore one image. Image, output and model have to be given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    """Path or URL of an OME-Zarr image."""
    output: str
    """OME-Zarr to create."""
    model: str
    """Restoring model, or path or URL of weights."""
    diameter: Annotated[float, Field(gt=0)] | None = None
    """Typical object, in pixels of the chosen level along x; None: that of the training."""
    channels: tuple[int | str, ...] | None = None
    """Channels to restore, each by itself, by number or name; None: all. Others are left out."""
    level: Annotated[int, Field(ge=0)] = 0
    """Resolution level of the image to work on; it becomes level 0 of the result."""
    enlarge: bool | None = None
    """Whether the result has a finer grid, in which objects have the diameter of the training;
    None: if the model is one of those made for it, named upsample_…"""
    values: Literal["image", "network"] = "image"
    """Store values on the scale and in the type of the image; or as the network gives them, 0 and 1
    being the percentiles, in float32."""
    percentiles: tuple[float, float] = (1.0, 99.0)
    """Percentiles of the image that become 0 and 1 for the network."""
    normalize_per: Per = "image"
    """One intensity range for all of a channel, or one for each frame, or for each plane."""

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1] <= 100:
            raise ValueError(f"percentiles {value} must rise, between 0 and 100")
        return value

    @property
    def target(self) -> str:
        """URL of the image that the run makes."""
        return self.output

    @property
    def run(self) -> str:
        """URL of the run folder when none is chosen: beside the output."""
        return self.output.rstrip("/") + ".bigseg"


def plan_restore(spec: RestoreSpec, run: str) -> list[Step]:
    """Lay out the steps that restore an image.

    Raises
    ------
    SpecError, NotFound, ImageError, WeightsError
        In a sentence, if the image, the model and the settings do not fit each other.
    """
    volume = Volume.open(spec.image, spec.level)
    check_target(spec.image, spec.target, volume)
    plane = plan_plane(spec, volume)
    t, count, z, y, x = volume.shape
    channels = tuple(volume.image.channel(c) for c in spec.channels or range(count))
    counted = reading_block(volume)
    histograms = normalize.Spec(
        run=run,
        image=spec.image,
        level=spec.level,
        channels=channels,
        shape=(t, z, y, x),
        block=(1, 1, *counted[2:]) if spec.normalize_per == "plane" else counted,
        dtype=volume.dtype.str,
        percentiles=spec.percentiles,
        per=spec.normalize_per,
    )
    steps = [Step("normalize", "normalize", histograms)]
    if not is_exact_in_one_pass(volume.dtype):
        fine = histograms.model_copy(update={"fine": True})
        steps.append(Step("refine", "normalize", fine))
    shape = (t, z, *plane.result)
    restored = restore.Spec(
        run=run,
        image=spec.image,
        level=spec.level,
        channels=channels,
        shape=shape,
        block=restore_block(shape),
        target=spec.target,
        plane=plane,
        as_stored=spec.values == "image",
    )
    steps.append(Step("restore", "restore", restored))
    return steps + _output_steps(restored)


def _output_steps(restored: restore.Spec) -> list[Step]:
    """Steps that write the coarser levels and the metadata."""
    steps = []
    plan = restore.restored_image(restored)
    for number in range(1, len(plan.levels)):
        coarse = Volume(plan, number)
        t, _, z, y, x = coarse.shape
        level = image_pyramid.Spec(
            restore=restored, number=number, shape=(t, z, y, x), block=coarse.unit
        )
        steps.append(Step(f"pyramid-{number}", "image_pyramid", level))
    steps.append(Step("publish", "image_publish", image_publish.Spec(restore=restored)))
    return steps


def plan_plane(spec: RestoreSpec, volume: Volume) -> restore.Plane:
    """Say how planes are shown to the network, and on which grid the result is."""
    known = restore.describe_restorer(spec.model)
    _, _, _, y, x = volume.shape
    across = known.diameter / spec.diameter if spec.diameter else 1.0
    pixels = restoring_pixels(volume, across)
    finer = _is_finer(spec, known.diameter)
    return restore.Plane(
        length=(y, x),
        pixels=pixels,
        result=pixels if finer else (y, x),
        model=spec.model,
        digest=known.digest,
        tile=TILE,
        margin=MARGIN,
    )


def _is_finer(spec: RestoreSpec, diameter: float) -> bool:
    """Whether the grid of the result is finer than that of the image."""
    name = spec.model.rstrip("/").rpartition("/")[2]
    if not ("upsample" in name if spec.enlarge is None else spec.enlarge):
        return False
    if spec.diameter is None:
        raise SpecError(
            f"Model '{spec.model}' enlarges the image until objects are {diameter:g} pixels wide, "
            "so it has to know how wide they are; give it with --diameter."
        )
    return SMALLEST_DIAMETER <= spec.diameter < diameter


def restore_block(shape: Index) -> Index:
    """Blocks of about 2²⁵ voxels, as wide as possible: equal ones, so that no rest is narrow."""
    edges = [
        n if n <= LONGEST_BLOCK else round_up(n / ceil(n / LONGEST_BLOCK), 256) for n in shape[2:]
    ]
    deep = max(min(BLOCK_VOXELS // prod(edges), 64), 1)
    return (1, min(shape[1], deep), *edges)
