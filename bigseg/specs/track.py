"""What a user asks for when objects are to be followed through time."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bigseg.errors import SpecError
from bigseg.specs.segment import SegmentSpec, parse

POINTS = (".csv.gz", ".csv", ".parquet", ".geff")
"""How names of points end."""
_SETTINGS = re.compile(r"\s*[a-z_]+\s*=")
"""How settings begin; URLs have no '=' so early."""
Positive = Annotated[float, Field(gt=0)]


def given_labels(alternatives: Iterable[str]) -> bool:
    """Whether some alternatives are labels, and not settings of a segmentation."""
    return not all(_SETTINGS.match(one) for one in alternatives)


class TrackSpec(BaseModel):
    """Track one series. Only the labels have to be given; distances are in physical units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: str
    """Label image with a time axis (NGFF), a file with one, a folder or pattern of one file per
    frame; points as CSV, Parquet or GEFF; with `model` the image, which is segmented first."""
    output: str | None = None
    """OME-Zarr label image to create, objects numbered by track; None: beside the labels."""
    image: str | None = None
    """OME-Zarr image of the same voxels; mean intensities of objects are measured in it."""
    channel: int | str = 0
    """Channel of the image, by number or name."""
    voxel_size: tuple[Positive, ...] | None = None
    """Size of a voxel, z,y,x or y,x; None: what the labels say, or 1."""
    mode: Literal["global", "fast"] = "global"
    """global: all frames decide together, in blocks of space and time. fast: frame by frame."""
    gap: Annotated[int, Field(ge=1, le=10)] = 3
    """Most frames that one link spans: 3 bridges two frames in which an object was missed."""
    max_step: Positive | None = None
    """Farthest that an object moves from one frame to the next; None: estimated."""
    max_division: Positive | None = None
    """Farthest that a daughter lies from its mother a frame before; None: estimated."""
    divisions: bool = True
    """Whether objects may divide."""
    merging: bool = False
    """Whether two objects may become one; global mode only, and no CTC folder can say it."""
    brightness: bool = False
    """Whether objects keep their brightness, so that it helps to tell them apart. Cells that divide
    do not."""
    min_length: Annotated[int, Field(ge=1)] = 1
    """Shorter tracks without relatives are dropped, frames."""
    fill_gaps: bool = False
    """Draw objects where they were missed, between the shapes before and after."""
    ctc: str | None = None
    """Folder to write as a result of the Cell Tracking Challenge, too."""
    edits: str | None = None
    """TOML or JSON file of corrections: link, unlink, divide, delete."""
    costs: str | None = None
    """File of costs, as 'bigseg calibrate' fits them to true tracks; None: estimated."""
    model: str | None = None
    """Model that segments the image first; see `SegmentSpec`."""
    segment: dict[str, Any] = Field(default_factory=dict)
    """Other settings of that segmentation: fields of `SegmentSpec`."""
    alternatives: tuple[str, ...] = ()
    """Other labels of the same frames, which compete with the first: at each place those are taken
    that go best with the frames before and after. With `model` also other settings of that
    segmentation, as "cellprob_threshold=2": the same predictions, followed again."""
    window: Annotated[int, Field(ge=2)] = 10
    """Frames that one task solves."""
    objects_per_block: Annotated[int, Field(ge=100)] = 20_000
    """Detections that one task solves, about."""

    @model_validator(mode="after")
    def _merged(self) -> TrackSpec:
        if self.merging and self.mode != "global":
            raise ValueError("objects can only merge in mode global")
        if self.merging and self.ctc is not None:
            raise ValueError(
                "a CTC folder has one parent for a track at most, so it cannot say that objects "
                "merge; leave ctc or merging out (tracks.geff says it)"
            )
        return self

    @model_validator(mode="after")
    def _segmented(self) -> TrackSpec:
        if self.model is None and self.segment:
            raise ValueError("settings of a segmentation are given, but no model")
        again = next((one for one in self.alternatives if not given_labels([one])), None)
        if self.model is None and again is not None:
            raise ValueError(
                f"the alternative '{again}' is a setting of a segmentation, but there is no model"
            )
        for name in ("image", "output", "model"):
            if name in self.segment:
                raise ValueError(f"'{name}' is no setting of the segmentation; give it by itself")
        if self.model is not None and self.image is not None:
            raise ValueError("an image is given beside a model; the image is what is tracked")
        if self.brightness and not (self.of_points or self.model or self.image):
            raise ValueError("brightness is to tell objects apart, but no image is given")
        for name in ("image", "ctc", "fill_gaps", "model", "alternatives"):
            if self.of_points and getattr(self, name):
                raise ValueError(f"'{name}' needs outlines of objects, but points have none")
        return self

    @property
    def of_points(self) -> bool:
        """Whether points are tracked, which have no outlines."""
        return self.labels.rstrip("/").lower().endswith(POINTS)

    @property
    def segmentation(self) -> SegmentSpec | None:
        """How the image is segmented first, if it is."""
        if self.model is None:
            return None
        return parse({**self.segment, "image": self.labels, "model": self.model})

    @property
    def competing(self) -> tuple[str | SegmentSpec, ...]:
        """Alternatives: URLs of labels, and how the image is segmented again.

        Raises
        ------
        SpecError
            Settings that cannot be read, or that do not exist.
        """
        first, again, found = self.segmentation, 0, list[str | SegmentSpec]()
        for one in self.alternatives:
            if first is None or given_labels([one]):
                found.append(one)
                continue
            again += 1
            found.append(_again(first, one, again))
        return tuple(found)

    @property
    def source(self) -> str:
        """URL of the labels that are tracked."""
        first = self.segmentation
        return self.labels if first is None else first.target

    @property
    def target(self) -> str:
        """URL of the label image that the run makes, or of the folder of tables."""
        if self.output is not None:
            return self.output
        base = self.source.rstrip("/*").removesuffix(".zarr")
        if self.of_points:
            ending = next(one for one in POINTS if base.lower().endswith(one))
            return f"{base[: -len(ending)]}-tracks"
        return f"{base}-tracks" if "/labels/" in self.source else f"{base}-tracks.zarr"

    @property
    def run(self) -> str:
        """URL of the run folder when none is chosen: beside the output, but in no image."""
        if self.output is None and "/labels/" in self.source:
            image, _, name = self.source.rstrip("/").rpartition("/labels/")
            return f"{image}.{name}-tracks.bigseg"
        return f"{self.target.rstrip('/')}.bigseg"


def _again(first: SegmentSpec, settings: str, number: int) -> SegmentSpec:
    """How an image is segmented again, with some other settings."""
    try:
        values: dict[str, Any] = tomllib.loads(f"_ = {{{settings}}}")["_"]
    except tomllib.TOMLDecodeError as error:
        raise SpecError(
            f"The alternative '{settings}' cannot be read ({error}); write name=value, and several "
            "as name=value, name=value."
        ) from None
    if "name" in values or "output" in values:
        raise SpecError(
            f"The alternative '{settings}' names its labels; they are called after the first ones."
        )
    name = f"{first.name}-alternative-{number}"
    output = (
        f"{first.output.removesuffix('.zarr')}-alternative-{number}.zarr" if first.output else None
    )
    return parse(first.model_dump() | values | {"name": name, "output": output})
