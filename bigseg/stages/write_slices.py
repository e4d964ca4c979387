"""Write the label image of a volume that was put together from planes, and fill gaps in it.

Gaps are filled into the background only, with shapes between those of the planes next to them
(`core.gaps`). A block reads these planes as far as the bounds of its gaps reach, so the result
depends neither on a halo nor on where blocks end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.gaps import Plane, fill_gaps
from bigseg.core.objects import Table
from bigseg.grid import Block
from bigseg.io.create import create_arrays
from bigseg.io.tables import read_table, write_table
from bigseg.io.volume import Volume
from bigseg.stages import objects, volumes, write
from bigseg.stages.slices import Slices, in_volume, read_planes
from bigseg.types import Facts, Labels

SUMS = ("sum_z", "sum_y", "sum_x")


class Spec(Slices):
    """Where labels come from and where they go."""

    written: write.Spec
    """The label image, with `run` the `Slices.run` and blocks those of the volume."""
    spacing: tuple[float, float, float]
    """Voxel size (z, y, x)."""


@dataclass(frozen=True)
class Loaded:
    """What a block needs."""

    labels: Labels
    """(z, y, x) ids of the volume."""
    gaps: Table | None
    planes: dict[int, Plane] = field(default_factory=dict)
    """Planes before and after the gaps."""


def filled_url(run: str, block: Block) -> str:
    """Where it is what was filled in by a block: a row per object."""
    return files.join(run, "filled", f"{block.id}.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan of the run has not found."""


def prepare(spec: Spec) -> None:
    """Create the arrays of all levels."""
    create_arrays(write.label_image(spec.written), labels=True)


def read(spec: Spec, block: Block) -> Loaded:
    """Ids of the volume in the block, its gaps, and the planes next to them."""
    labels = in_volume(spec.run, read_planes(spec.flat, block.write))
    gaps = volumes.read_gaps(spec.run, block.id)
    if gaps is None:
        return Loaded(labels, None)
    planes: dict[int, Plane] = {}
    for z in np.unique(np.r_[gaps["before"], gaps["after"]]).tolist():
        rows = (gaps["before"] == z) | (gaps["after"] == z)
        (y0, x0), (y1, x1) = (
            [int(best(gaps[f"{axis}{side}"][rows])) for axis in "yx"]
            for best, side in ((np.min, 0), (np.max, 1))
        )
        box = (block.write[0], slice(z, z + 1), slice(y0, y1), slice(x0, x1))
        planes[z] = (y0, x0), in_volume(spec.run, read_planes(spec.flat, box))[0]
    return Loaded(labels, gaps, planes)


def block(spec: Spec, block: Block, data: Loaded) -> Facts:
    """Fill the gaps of a block and write it: whole shards that no other block touches."""
    return _store(spec, block, data)


def _store(spec: Spec, block: Block, data: Loaded) -> Facts:
    labels, count = data.labels, 0
    if data.gaps is not None:
        z, y, x = (s.start for s in block.write[1:])
        new = fill_gaps(labels, (z, y, x), data.gaps, data.planes)
        if spec.flat.region is not None:
            filled_outside = new & ~spec.flat.region.read(block.write)
            labels[filled_outside] = 0
            new &= ~filled_outside
        rows = _sums(labels, new, (z, y, x))
        count = int(rows["voxels"].sum())
        write_table(filled_url(spec.run, block), rows)
    plan = write.label_image(spec.written)
    final = labels.astype(np.uint64 if plan.dtype.itemsize == 8 else np.uint32, copy=False)
    Volume(plan, 0).write(block.write, final[None])
    return {"voxels": int(np.count_nonzero(final)), "filled": count}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Write the planes that can be read, and fill no gaps."""
    labels = in_volume(spec.run, read_planes(spec.flat, block.write, damaged=True))
    return _store(spec, block, Loaded(labels, None))


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Add to the objects what was filled in, and write their table."""
    found = read_table(volumes.found_url(spec.run))
    there = zip(spec.grid, facts, strict=True)
    filled = (read_table(filled_url(spec.run, block)) for block, fact in there if fact["filled"])
    write_table(objects.table_url(spec.run), with_filled(found, filled, spec.spacing))
    return {name: sum(fact[name] for fact in facts) for name in ("voxels", "filled")}


def with_filled(
    found: Table, filled: Iterable[Table], spacing: tuple[float, float, float]
) -> Table:
    """Add to objects what blocks have filled in.

    Parameters
    ----------
    found
        Rows of objects before gaps were filled, by rising id.
    filled
        Tables of `filled_url`; rows of other objects are left out.
    spacing
        Voxel size (z, y, x).
    """
    table = found | {"filled": np.zeros(len(found["id"]), np.int64)}
    sums = [np.rint(table[axis] * table["voxels"]).astype(np.int64) for axis in "zyx"]
    for rows in filled:
        ours = np.isin(rows["id"], table["id"])
        at = np.searchsorted(table["id"], rows["id"][ours])
        table["filled"][at] += rows["voxels"][ours]
        for total, name in zip(sums, SUMS, strict=True):
            total[at] += rows[name][ours]
    table["voxels"] = table["voxels"] + table["filled"]
    for axis, total, step in zip("zyx", sums, spacing, strict=True):
        table[axis] = total / np.maximum(table["voxels"], 1)
        table[f"centroid_{axis}"] = table[axis] * step
    table["volume"] = table["voxels"] * float(np.prod(spacing))
    return table


def _sums(labels: Labels, new: NDArray[np.bool_], corner: tuple[int, int, int]) -> Table:
    """Voxels that objects were given, and the sums of their coordinates; a row per object."""
    places = np.nonzero(new)
    ids, of = np.unique(labels[new], return_inverse=True)
    table: Table = {"id": ids.astype(np.uint64), "voxels": np.bincount(of, minlength=len(ids))}
    for name, place, start in zip(SUMS, places, corner, strict=True):
        total = np.zeros(len(ids), np.int64)
        np.add.at(total, of, place + start)
        table[name] = total
    return table
