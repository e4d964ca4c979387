"""Measure the objects of each frame of labels, block by block: what tracking links are rows.

Ids are those of the labels, of any size; an object that reaches over blocks has a row in each, and
`detections` adds them up. Where several label images of the same frames compete, objects of all of
them are measured, and voxels counted that two of them share.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bigseg import files
from bigseg.core.objects import Table, measure_objects
from bigseg.core.overlap import overlap_counts
from bigseg.core.sparse_ids import densified
from bigseg.errors import ImageError
from bigseg.grid import Block, Grid, Index, size
from bigseg.io.ome import describe
from bigseg.io.series import Series
from bigseg.io.tables import write_table
from bigseg.io.volume import Volume
from bigseg.types import Facts, StageSpec

SHARED = ("source_a", "source_b", "id_a", "id_b", "voxels")
"""Columns of the table of what objects of two sources share."""
Loaded = tuple[tuple[NDArray[Any], ...], NDArray[Any] | None]
"""Labels (z, y, x) of a block, one for each source, and, if an image is given, its voxels."""


class Source(BaseModel):
    """Other labels of the same frames, which compete with the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: str
    frames: tuple[str, ...] = ()
    ngff: bool
    unit: Index
    made: bool = False
    """Whether they are made by the run itself."""


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
    alternatives: tuple[Source, ...] = ()
    """Other labels of the same voxels; sources are counted from 0, the labels themselves."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """All labels."""
        first = Source(
            labels=self.labels, frames=self.frames, ngff=self.ngff, unit=self.unit, made=self.made
        )
        return (first, *self.alternatives)

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, (0, 0, 0, 0))


def series_of(spec: Spec, source: int = 0) -> Series:
    """Labels that a specification speaks of; opened once per process."""
    one = spec.sources[source]
    return _series(one.labels, one.frames, one.ngff, spec.shape, one.unit, spec.spacing)


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


def shared_url(run: str, block: Block) -> str:
    """Where it is which objects of two sources share voxels of a block."""
    return files.join(run, "detections", "shared", f"{block.id}.parquet")


def check(spec: Spec) -> None:
    """Refuse labels that have changed since the run was planned."""
    for source in spec.sources:
        if not source.ngff or source.made:
            continue
        there = Volume.open(source.labels)
        t, _, z, y, x = there.shape
        if (t, z, y, x) != spec.shape:
            raise ImageError(
                f"{source.labels} has (t, z, y, x) = {(t, z, y, x)} voxels now, but had "
                f"{spec.shape} when the run was planned; start it again with --overwrite."
            )


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Loaded:
    """Labels of a block, and the voxels of the image."""
    labels = tuple(series_of(spec, n).read(block.read) for n in range(len(spec.sources)))
    if spec.image is None:
        return labels, None
    volume = Volume.open(spec.image, spec.level)
    return labels, volume.read(block.read, (spec.channel,))[0, 0]


def block(spec: Spec, block: Block, data: Loaded) -> Facts:
    """Measure the objects of a block."""
    return _store(spec, block, _tables(spec, block, data))


def leave_out(spec: Spec, block: Block) -> Facts:
    """Store that a block has no objects: a gap in tracks that go on after it."""
    return _store(spec, block, nothing(spec, block))


def _store(spec: Spec, block: Block, tables: tuple[Table, Table | None]) -> Facts:
    rows, shared = tables
    if shared is not None:
        write_table(shared_url(spec.run, block), shared)
    write_table(parts_url(spec.run, block), rows)
    return {"objects": len(rows["id"])}


def nothing(spec: Spec, block: Block) -> tuple[Table, Table | None]:
    """Tables of a block without objects: `parts_url`, and `shared_url` where labels compete."""
    empty = np.zeros(size(block.write)[1:], np.uint32)
    image = None if spec.image is None else np.zeros(empty.shape)
    return _tables(spec, block, ((empty,) * len(spec.sources), image))


def _tables(spec: Spec, block: Block, data: Loaded) -> tuple[Table, Table | None]:
    labels, image = data
    parts = [_measured(spec, block, one, image) for one in labels]
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if spec.alternatives:
        counts = [len(part["id"]) for part in parts]
        rows["source"] = np.repeat(np.arange(len(parts), dtype=np.int32), counts)
    return rows, _shared(labels) if spec.alternatives else None


def _measured(spec: Spec, block: Block, labels: NDArray[Any], image: NDArray[Any] | None) -> Table:
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
    return rows


def _shared(labels: Sequence[NDArray[Any]]) -> Table:
    """Which objects of two sources share voxels, and how many."""
    rows: list[NDArray[np.uint64]] = [np.zeros((0, 5), np.uint64)]
    for a, b in combinations(range(len(labels)), 2):
        pairs, counts = overlap_counts(labels[a], labels[b])
        both = np.full((len(counts), 2), (a, b), np.uint64)
        rows.append(np.column_stack([both, pairs, counts.astype(np.uint64)]))
    return dict(zip(SHARED, np.concatenate(rows).T.copy(), strict=True))


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count the rows."""
    return {"rows": sum(fact["objects"] for fact in facts)}
