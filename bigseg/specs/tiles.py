"""What a user asks for when tiles that are labelled already are to become one label image."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Voxels = Annotated[int, Field(ge=0)]


class MergeSpec(BaseModel):
    """Merge tiles. Tiles and output have to be given; and where the tiles lie, if they don't say.

    Numbers along axes are in the order z, y, x, or y, x for planes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tiles: tuple[str, ...] = ()
    """Files, OME-Zarr or folders of them, patterns with * and ?, or paths with {z}, {y}, {x}, {t}
    in the place of numbers; may be left out where a table of positions names the files."""
    output: str
    """OME-Zarr label image to create."""
    positions: str | None = None
    """CSV table with the columns file, z, y, x and t, as far as needed: first voxel of each."""
    pattern: str | None = None
    """How numbers stand in the files' names, as tile_y{y}_x{x}.tif; they are first voxels, or with
    `pitch` or `overlap` places in a grid."""
    pitch: tuple[Count, ...] | None = None
    """Voxels from one tile of a grid to the next."""
    grid: tuple[Count, ...] | None = None
    """Tiles along each axis; files are taken row by row, in the order of the numbers in them."""
    overlap: tuple[Voxels, ...] | None = None
    """Voxels that neighbours in a grid have in common; one number for all axes, or one for each."""
    axes: str | None = None
    """Axes of each tile, as zyx; None: what the files say, else yx, zyx, tzyx."""
    voxel_size: tuple[Positive, ...] | None = None
    """Size of a voxel; None: what the tiles say."""
    unit: str | None = None
    """Of the voxel size; None: what the tiles say."""
    allow_gaps: bool = False
    """Leave voxels that no tile covers empty, rather than refuse."""
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Prior probability that two objects that meet are different; above 0.5 less is merged."""
    repulsion: Annotated[float, Field(ge=0)] | None = None
    """How strongly objects of one tile stay apart, in mean absolute costs; None: 0 where tiles
    overlap, 1 where they only touch."""
    min_size: Voxels = 0
    """Smaller objects are dropped, voxels."""
    block: tuple[Annotated[int, Field(ge=16)], ...] | None = None
    """Voxels that are written at once, z,y,x or y,x; None: by the shape of the result."""

    @property
    def target(self) -> str:
        """URL of the label image that the run makes."""
        return self.output

    @property
    def run(self) -> str:
        """URL of the run folder when none is chosen: beside the output."""
        return self.output.rstrip("/") + ".bigseg"
