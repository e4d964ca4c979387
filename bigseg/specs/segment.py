"""What a user asks for, checked as it is read; frozen afterwards."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.types import Solver

Dims = Literal["2d", "3d", "slices"]
Per = Literal["image", "frame", "plane"]


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
    """Name, path or URL of weights, or module:function; several, a,b,c, are averaged."""
    representation: Literal["flows", "hover", "borders", "labels"] | None = None
    """What the outputs of the network mean; None: what its publisher says, else flows."""
    restore: str | None = None
    """Model that restores the image on its way to the network, such as denoise_cyto3."""
    diameter: Annotated[float, Field(gt=0)] | Literal["auto"] | None = None
    """Typical object, in pixels of the chosen level along x; None: that of the model's training;
    "auto": measured on a few samples."""
    channels: tuple[int | str, ...] | None = None
    """Channels by number or name, in the model's order, or as role=channel, or "grey", or "rgb";
    None: the first, or all that a model of any channels takes."""
    level: Annotated[int, Field(ge=0)] = 0
    """Resolution level of the image to work on."""
    mask: str | None = None
    """Label image, of any resolution, that is not 0 where objects are looked for; elsewhere nothing
    is computed and all is background."""
    skip_background: bool = False
    """Look for no objects where a coarse level of the image shows nothing but background."""
    dims: Dims | None = None
    """Objects of planes, of volumes, or "slices": of planes, put together to those of volumes;
    None: volumes if the image has more than one z."""
    gap: Annotated[int, Field(ge=0, le=8)] = 1
    """With dims = "slices": most planes in a row in which an object may be missing; its shape is
    filled in there."""
    min_z_extent: Annotated[int, Field(ge=1)] = 2
    """With dims = "slices": planes that an object must span."""
    anisotropy: Annotated[float, Field(gt=0)] | None = None
    """Voxel height over voxel width; None: from the image's voxel size."""
    flow_threshold: Annotated[float, Field(ge=0)] = 0.4
    """Largest mean squared difference between predicted and re-computed flows; 0: do not test."""
    cellprob_threshold: Annotated[float, Field(ge=-4, le=7.9)] | None = None
    """Logit above which a voxel belongs to an object; None: as the model was published."""
    border_threshold: Annotated[float, Field(ge=-4, le=7.9)] = 0.5
    """Logit above which a voxel is a border, for models of borders."""
    parity: bool = False
    """Do as the original does, mistakes included, where published numbers depend on it; an image is
    one block of `predict` then."""
    flips: bool = False
    """Average the network's outputs over four mirror images of each tile."""
    overlap: Annotated[float, Field(ge=0.02, le=0.5)] | None = None
    """Share of a tile that overlaps the next; None: as little as blends without seams."""
    min_size: Annotated[int, Field(ge=0)] = 15
    """Smaller objects are dropped, voxels."""
    max_size: Annotated[int, Field(ge=1)] | None = None
    """Larger objects are dropped, voxels."""
    percentiles: tuple[float, float] = (1.0, 99.0)
    """Percentiles of the image that become 0 and 1 for the network."""
    normalize_per: Per = "image"
    """One intensity range for all of a channel, or one for each frame, or for each plane."""
    intensity: tuple[float, float] | None = None
    """Values that become 0 and 1, instead of percentiles."""
    window: Annotated[int, Field(ge=16)] | None = None
    """Edge, in voxels along x, of windows whose percentiles become 0 and 1, smoothed and without
    seams, so that bright and dark regions become alike; None: one range for all."""
    smooth: Annotated[float, Field(ge=0)] = 0.0
    """Sigma, in pixels, of a Gaussian that takes noise away first."""
    sharpen: Annotated[float, Field(ge=0)] = 0.0
    """Sigma, in pixels, of a Gaussian of the surroundings that is subtracted first."""
    invert: bool = False
    """Show dark objects as bright ones."""
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Prior probability that overlapping objects are two, of blocks or of slices; above 0.5 less is
    joined."""
    evidence: str | None = None
    """File of what overlaps are worth, as 'bigseg calibrate' makes it; None: what was fitted to
    several kinds of images."""
    repulsion: Annotated[float, Field(ge=0)] = 0.0
    """How much two objects of one block repel each other once attraction has brought them together,
    in mean costs of their edges."""
    solver: Solver = "kernighan-lin"
    """What solves the multicut where evidence contradicts itself."""
    exact_edges: Annotated[int, Field(ge=0)] = 200
    """Contradictions of at most so many edges are solved to a proven optimum."""
    block: tuple[Annotated[int, Field(ge=16)], ...] | None = None
    """Voxels of a block, z,y,x or y,x; None: by the shape of the image."""
    halo: Annotated[int, Field(ge=4)] | None = None
    """Voxels (along x) that a block sees of its neighbours, which should be more than an object is
    wide; None: two diameters."""
    keep_scratch: bool = False
    """Keep predictions, so that thresholds can be changed without predicting again."""

    @field_validator("model")
    @classmethod
    def _named(cls, value: str) -> str:
        if not all(part.strip() for part in value.split(",")):
            raise ValueError("a model has no name")
        return value

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1] <= 100:
            raise ValueError(f"percentiles {value} must rise, between 0 and 100")
        return value

    @field_validator("intensity")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError(f"intensity {value} must rise")
        return value

    @property
    def models(self) -> tuple[str, ...]:
        """Each of the models that are averaged."""
        return tuple(part.strip() for part in self.model.split(","))

    @property
    def target(self) -> str:
        """URL of the label image that the run makes."""
        return self.output or files.join(self.image, "labels", self.name)

    @property
    def run(self) -> str:
        """URL of the run folder when none is chosen: beside the output."""
        return (self.output or f"{self.image}.{self.name}").rstrip("/") + ".bigseg"


Specification = TypeVar("Specification", bound=BaseModel)


def parse(values: Mapping[str, Any]) -> SegmentSpec:
    """Read a specification of a segmentation; see `parse_as`."""
    return parse_as(SegmentSpec, values)


def parse_as(kind: type[Specification], values: Mapping[str, Any]) -> Specification:
    """Read a specification; every problem is named with its key, value and range.

    Raises
    ------
    SpecError
        If a key is unknown, missing or has a wrong value.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        known = tuple(kind.model_fields)
        raise SpecError(" ".join(_sentence(one, known) for one in _distinct(error))) from None


WAYS = ("function-", "constrained-", "literal[")
"""How pydantic names the ways in which a value may be right."""


def _distinct(error: ValidationError) -> list[dict[str, Any]]:
    """Problems of a validation, one for each value: a value may be wrong in several ways."""
    found: dict[str, dict[str, Any]] = {}
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"] if not str(part).startswith(WAYS))
        if key in found:
            found[key]["msg"] += f", or: {problem['msg']}"
        else:
            found[key] = {**problem, "key": key}
    return list(found.values())


def _sentence(problem: Mapping[str, Any], known: Sequence[str]) -> str:
    key = problem["key"]
    if problem["type"] == "extra_forbidden":
        return f"'{key}' is not a setting; the settings are {', '.join(known)}."
    if problem["type"] == "missing":
        return f"'{key}' is missing."
    message = problem["msg"].removeprefix("Value error, ")
    if not key:  # it is of several settings together
        return f"These settings do not fit each other: {message}."
    return f"'{key}' is {problem['input']!r}: {message}."


def read_config(url: str) -> dict[str, Any]:
    """Settings of a TOML file."""
    try:
        return tomllib.loads(files.get(url).decode())
    except FileNotFoundError:
        raise NotFound(f"{url} does not exist; --config wants a TOML file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{url} is not TOML: {error}.") from None
