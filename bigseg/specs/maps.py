"""What a user asks for when maps of boundaries or affinities are to become objects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bigseg import files

Offset = tuple[int, int, int]


class EmSpec(BaseModel):
    """Segment maps that some network made. Image and source have to be given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    """Path or URL of an OME-Zarr image of maps: uint8, 0 to 255, or floats, 0 to 1."""
    output: str | None = None
    """OME-Zarr to create; None stores labels inside the image."""
    name: str = Field(default="segments", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Name of the label image."""
    source: Literal["boundaries", "affinities"]
    """What a map says: that a voxel is boundary; or that it and the one at an offset are one."""
    channels: tuple[int | str, ...] | None = None
    """The channel of boundaries, or those of affinities, by number or name; None: the first, or
    one for each offset from the first."""
    offsets: tuple[Offset, ...] | None = None
    """Of each channel of affinities, (z, y, x) voxels; None: (-1, 0, 0), (0, -1, 0), (0, 0, -1)."""
    level: Annotated[int, Field(ge=0)] = 0
    """Resolution level of the maps to work on."""
    method: Literal["watershed", "mutex-watershed"] = "watershed"
    """How supervoxels are made; a mutex watershed needs affinities over longer offsets as well."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Probability from which a voxel is boundary, and no seed grows there."""
    sigma: Annotated[float, Field(ge=0, le=8)] = 1.0
    """Of the Gaussian that smooths what the watershed floods, voxels along x."""
    min_supervoxel: Annotated[int, Field(ge=0)] = 50
    """Smaller supervoxels are shared out among their neighbours, voxels."""
    slices: bool = False
    """Make supervoxels plane by plane, where planes are far apart; objects are of volumes still."""
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.65
    """Prior probability that two supervoxels that touch are different; above, less is merged.
    The default was best on FIB-SEM with boundaries of a ridge filter (`benchmarks/em.py`)."""
    block: tuple[Annotated[int, Field(ge=16)], ...] | None = None
    """Voxels of a block, z,y,x or y,x; None: by the shape of the image."""
    halo: Annotated[int, Field(ge=8)] = 64
    """Voxels (along x) that a block sees of its neighbours."""
    min_size: Annotated[int, Field(ge=0)] = 0
    """Smaller objects are dropped, voxels."""
    keep_scratch: bool = False
    """Keep what is only needed while the run goes on."""

    @field_validator("offsets")
    @classmethod
    def _sensible(cls, value: tuple[Offset, ...] | None) -> tuple[Offset, ...] | None:
        if value is not None and not any(sum(map(abs, offset)) == 1 for offset in value):
            raise ValueError("one offset at least must lead to a direct neighbour, as (0, 0, -1)")
        if value is not None and (0, 0, 0) in value:
            raise ValueError("the offset (0, 0, 0) leads nowhere")
        return value

    @property
    def reach(self) -> float:
        """Depth beyond which all is equally deep, voxels along x.

        A quarter of the halo, so that a seed and what it floods near a face are within the halo.
        """
        return self.halo / 4

    @property
    def target(self) -> str:
        """URL of the label image that the run makes."""
        return self.output or files.join(self.image, "labels", self.name)

    @property
    def run(self) -> str:
        """URL of the run folder when none is chosen: beside the output."""
        return (self.output or f"{self.image}.{self.name}").rstrip("/") + ".bigseg"
