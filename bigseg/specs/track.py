"""What a user asks for when objects are to be followed through time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bigseg import files

Positive = Annotated[float, Field(gt=0)]


class TrackSpec(BaseModel):
    """Track one series. Only the labels have to be given; distances are in physical units."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: str
    """Label image with a time axis (NGFF), a file with one, a folder or pattern of one file per
    frame, or a table of points (CSV or Parquet: t, z, y, x)."""
    output: str | None = None
    """OME-Zarr label image to create, objects numbered by track; None: beside the labels."""
    image: str | None = None
    """OME-Zarr image of the same voxels; brightness then helps to tell objects apart."""
    channel: int | str = 0
    """Channel of the image, by number or name."""
    voxel_size: tuple[Positive, ...] | None = None
    """Size of a voxel, z,y,x or y,x; None: what the labels say, or 1."""
    mode: Literal["global", "fast"] = "global"
    """global: all frames decide together, in blocks of space and time. fast: frame by frame."""
    gap: Annotated[int, Field(ge=1, le=10)] = 2
    """Most frames that one link spans: 2 bridges one frame in which an object was missed."""
    max_step: Positive | None = None
    """Farthest that an object moves from one frame to the next; None: estimated."""
    max_division: Positive | None = None
    """Farthest that a daughter lies from its mother a frame before; None: estimated."""
    divisions: bool = True
    """Whether objects may divide."""
    merging: bool = False
    """Whether two objects may become one."""
    min_length: Annotated[int, Field(ge=1)] = 1
    """Shorter tracks without relatives are dropped, frames."""
    fill_gaps: bool = False
    """Draw objects where they were missed, between the shapes before and after."""
    ctc: str | None = None
    """Folder to write as a result of the Cell Tracking Challenge, too."""
    edits: str | None = None
    """TOML or JSON file of corrections: link, unlink, divide, delete."""
    model: str | None = None
    """TOML file of costs, as 'bigseg calibrate-tracks' fits them; None: estimated."""
    window: Annotated[int, Field(ge=2)] = 10
    """Frames that one task solves."""
    objects_per_block: Annotated[int, Field(ge=100)] = 20_000
    """Detections that one task solves, about."""

    @property
    def target(self) -> str:
        """URL of the label image that the run makes."""
        if self.output is not None:
            return self.output
        base = self.labels.rstrip("/*").removesuffix(".zarr")
        if "/labels/" in self.labels:
            return f"{base}-tracks"
        return f"{base}-tracks.zarr"

    @property
    def run(self) -> str:
        """URL of the run folder when none is chosen: beside the output, but in no image."""
        if self.output is None and "/labels/" in self.labels:
            image, _, name = self.labels.rstrip("/").rpartition("/labels/")
            return f"{image}.{name}-tracks.bigseg"
        return f"{self.target.rstrip('/')}.bigseg"

    @property
    def points(self) -> bool:
        """Whether the labels are a table of points."""
        return files.join(self.labels).lower().endswith((".csv", ".csv.gz", ".parquet"))
