"""Measure the objects of each frame of labels, block by block: what tracking links are rows.

Ids are those of the labels, of any size; an object that reaches over blocks has a row in each, and
`detections` adds them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import measure_objects
from bigseg.core.sparse_ids import densified
from bigseg.errors import ImageError
from bigseg.grid import Block, Grid, Index
from bigseg.io.ome import describe
from bigseg.io.series import Series
from bigseg.io.tables import write_table
from bigseg.io.volume import Volume
from bigseg.types import Facts, StageSpec

Loaded = tuple[NDArray[Any], NDArray[Any] | None]
"""Labels (z, y, x) of a block and, if an image is given, its voxels."""


class Spec(StageSpec):
    """Which labels, and in which blocks."""

    run: str
    labels: str
    """Label image, file or folder; see `bigseg.io.series`."""
    frames: tuple[str, ...] = ()
    """A file for each frame, where they are files."""
    ngff: bool
    """Whether it is a label image."""
    shape: Index
    """(t, z, y, x)."""
    unit: Index
    """(t, z, y, x) of what is stored together."""
    block: Index
    """(t, z, y, x); t is 1."""
    spacing: tuple[float, float, float]
    """Size of a voxel, (z, y, x)."""
    image: str | None = None
    """Image of the same voxels, of which mean intensities are measured."""
    level: int = 0
    """Level of that image that has the voxels of the labels."""
    channel: int = 0
    made: bool = False
    """Whether the labels are made by the run itself."""

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, (0, 0, 0, 0))


def series_of(spec: Spec) -> Series:
    """Labels that a specification speaks of; opened once per process."""
    return _series(spec.labels, spec.frames, spec.ngff, spec.shape, spec.unit, spec.spacing)


@lru_cache(maxsize=8)
def _series(
    url: str,
    frames: tuple[str, ...],
    ngff: bool,
    shape: Index,
    unit: Index,
    spacing: tuple[float, float, float],
) -> Series:
    image = describe(url) if ngff else None
    return Series(url, frames, shape, unit, spacing, image.units if image else {}, image)


def parts_url(run: str, block: Block) -> str:
    """Where the rows of a block are."""
    return files.join(run, "detections", "parts", f"{block.id}.parquet")


def check(spec: Spec) -> None:
    """Refuse labels that have changed since the run was planned."""
    if spec.ngff and not spec.made:
        there = Volume.open(spec.labels)
        t, _, z, y, x = there.shape
        if (t, z, y, x) != spec.shape:
            raise ImageError(
                f"{spec.labels} has (t, z, y, x) = {(t, z, y, x)} voxels now, but had {spec.shape} "
                "when the run was planned; start it again with --overwrite."
            )


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Loaded:
    """Labels of a block, and the voxels of the image."""
    labels = series_of(spec).read(block.read)
    if spec.image is None:
        return labels, None
    volume = Volume.open(spec.image, spec.level)
    return labels, volume.read(block.read, (spec.channel,))[0, 0]


def block(spec: Spec, block: Block, data: Loaded) -> Facts:
    """Measure the objects of a block."""
    labels, image = data
    dense, ids = densified(labels)
    rows = measure_objects(
        dense, read=block.read, write=block.write, shape=spec.shape, count=len(ids)
    )
    rows = {name: rows[name] for name in rows if name not in ("voxels_total", "cut")}
    rows["id"] = ids
    if image is not None:
        rows["sum_intensity"] = np.bincount(
            dense.ravel(), image.ravel().astype(np.float64), minlength=len(ids) + 1
        )[1:]
    write_table(parts_url(spec.run, block), rows)
    return {"objects": len(ids)}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count the rows."""
    return {"rows": sum(fact["objects"] for fact in facts)}
