"""What a user asks for, checked as it is read; frozen afterwards."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bigseg import files
from bigseg.errors import NotFound, SpecError

Dims = Literal["2d", "3d"]
Per = Literal["image", "frame"]


class SegmentSpec(BaseModel):
    """Segment one image. Only the image and the model have to be given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: str
    """Path or URL of an OME-Zarr image."""
    output: str | None = None
    """OME-Zarr to create; None stores labels inside the image."""
    name: str = Field(default="cells", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Name of the label image."""
    model: str
    """Bundled model, or path or URL of weights."""
    diameter: Annotated[float, Field(gt=0)] | None = None
    """Typical object, in pixels of the chosen level along x; None: that of the model's training."""
    channels: tuple[int | str, ...] | None = None
    """Channels by number or name, in the model's order; None: the first."""
    level: Annotated[int, Field(ge=0)] = 0
    """Resolution level of the image to work on."""
    dims: Dims | None = None
    """Objects of planes or of volumes; None: volumes if the image has more than one z."""
    anisotropy: Annotated[float, Field(gt=0)] | None = None
    """Voxel height over voxel width; None: from the image's voxel size."""
    flow_threshold: Annotated[float, Field(ge=0)] = 0.4
    """Largest mean squared difference between predicted and re-computed flows; 0: do not test."""
    cellprob_threshold: Annotated[float, Field(ge=-4, le=7.9)] = 0.0
    """Logit above which a voxel belongs to an object."""
    min_size: Annotated[int, Field(ge=0)] = 15
    """Smaller objects are dropped, voxels."""
    max_size: Annotated[int, Field(ge=1)] | None = None
    """Larger objects are dropped, voxels."""
    percentiles: tuple[float, float] = (1.0, 99.0)
    """Percentiles of the image that become 0 and 1 for the network."""
    normalize_per: Per = "image"
    """One intensity range for all frames of a channel, or one for each frame."""
    block: tuple[Annotated[int, Field(ge=16)], ...] | None = None
    """Voxels of a block, z,y,x or y,x; None: by the shape of the image."""
    halo: Annotated[int, Field(ge=4)] | None = None
    """Voxels (along x) that a block sees of its neighbours, which should be more than an object is
    wide; None: two diameters."""
    keep_scratch: bool = False
    """Keep predictions, so that thresholds can be changed without predicting again."""

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1] <= 100:
            raise ValueError(f"percentiles {value} must rise, between 0 and 100")
        return value

    @property
    def target(self) -> str:
        """URL of the label image that the run makes."""
        return self.output or files.join(self.image, "labels", self.name)

    @property
    def run(self) -> str:
        """URL of the run folder when none is chosen: beside the output."""
        return (self.output or f"{self.image}.{self.name}").rstrip("/") + ".bigseg"


def parse(values: Mapping[str, Any]) -> SegmentSpec:
    """Read a specification; every problem is named with its key, value and range.

    Raises
    ------
    SpecError
        If a key is unknown, missing or has a wrong value.
    """
    try:
        return SegmentSpec.model_validate(values)
    except ValidationError as error:
        raise SpecError(" ".join(_sentence(problem) for problem in error.errors())) from None


def _sentence(problem: Mapping[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"] if not str(part).startswith("function-"))
    if problem["type"] == "extra_forbidden":
        known = ", ".join(SegmentSpec.model_fields)
        return f"'{key}' is not a setting; the settings are {known}."
    if problem["type"] == "missing":
        return f"'{key}' is missing."
    return f"'{key}' is {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}."


def read_config(url: str) -> dict[str, Any]:
    """Settings of a TOML file."""
    try:
        return tomllib.loads(files.get(url).decode())
    except FileNotFoundError:
        raise NotFound(f"{url} does not exist; --config wants a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{url} is not TOML: {error}.") from None
