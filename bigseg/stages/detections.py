"""One row per object and frame: add up what blocks have measured, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import HIGH, LOW, SUMS, Table
from bigseg.grid import Block, Grid
from bigseg.io.tables import read_table, read_tables, write_table
from bigseg.stages import detect
from bigseg.types import Facts, StageSpec

COUNTED = ("voxels", *SUMS, "sum_intensity")


class Spec(StageSpec):
    """Whose rows are added up."""

    found: detect.Spec

    @property
    def grid(self) -> Grid:
        """A block per frame."""
        frames = self.found.shape[0]
        return Grid((frames, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def frame_url(run: str, frame: int) -> str:
    """Where the detections of a frame are."""
    return files.join(run, "detections", "frames", f"{frame}.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `detect` has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Table:
    """Rows of all blocks of a frame."""
    parts = list(read_tables(detect.parts_url(spec.found.run, b) for b in _blocks(spec, block)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _blocks(spec: Spec, block: Block) -> Iterator[Block]:
    grid = spec.found.grid
    frame = block.write[0].start
    return (grid.block_at((frame, *index)) for index in product(*map(range, grid.counts[1:])))


def block(spec: Spec, block: Block, data: Table) -> Facts:
    """Write the detections of a frame, ascending labels."""
    table = joined(data, spec.found.spacing)
    table["frame"] = np.full(len(table["label"]), block.write[0].start, np.int32)
    write_table(frame_url(spec.found.run, block.write[0].start), table)
    return {"detections": len(table["label"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count detections, and say which frames are empty."""
    counts = [fact["detections"] for fact in facts]
    empty = [frame for frame, count in enumerate(counts) if count == 0]
    return {"detections": sum(counts), "counts": counts, "empty": empty}


def joined(rows: Table, spacing: tuple[float, float, float]) -> Table:
    """Add up rows of one label.

    Parameters
    ----------
    rows
        Of one frame, as `detect` makes them.
    spacing
        Size of a voxel, (z, y, x).

    Returns
    -------
    Table
        `label`, `voxels`, bounding box `z0` … `x1` (half-open), centroid `z`, `y`, `x` in voxels
        and `centroid_z`, `centroid_y`, `centroid_x` in physical units, `touches_border`, and
        `intensity` (mean; NaN without an image).
    """
    label, of = np.unique(rows["id"].astype(np.uint64), return_inverse=True)
    n = len(label)
    total = {
        name: np.bincount(of, rows[name].astype(np.float64), minlength=n)
        for name in COUNTED
        if name in rows
    }
    table: Table = {"label": label, "voxels": total["voxels"].astype(np.int64)}
    for names, best in ((LOW, np.minimum), (HIGH, np.maximum)):
        for name in names:
            table[name] = _extreme(rows[name], of, n, best)
    for name, axis, step in zip(SUMS, "zyx", spacing, strict=True):
        table[axis] = total[name] / np.maximum(total["voxels"], 1)
        table[f"centroid_{axis}"] = table[axis] * step
    table["touches_border"] = np.bincount(of, rows["touches_border"], minlength=n) > 0
    means = (
        total["sum_intensity"] / np.maximum(total["voxels"], 1)
        if "sum_intensity" in total
        else None
    )
    table["intensity"] = np.full(n, np.nan) if means is None else means
    return table


def _extreme(
    values: NDArray[np.int32], of: NDArray[np.intp], n: int, best: np.ufunc
) -> NDArray[np.int32]:
    start = np.iinfo(np.int32).max if best is np.minimum else 0
    found = np.full(n, start, np.int32)
    best.at(found, of, values)
    return found


def read_frames(run: str, frames: Sequence[int]) -> Iterator[Table]:
    """Detections of some frames, one table each."""
    return read_tables(frame_url(run, frame) for frame in frames)


def read_frame(run: str, frame: int) -> Table:
    """Detections of one frame."""
    return read_table(frame_url(run, frame))
