"""One row per object and frame: add up what blocks have measured, frame by frame.

Objects are called by frame and label. Where several label images compete, those of the first keep
their labels; those of the others get numbers above, in the order of sources and labels, and what is
the same in two of them is one object. A frame then has two tables more: `names`, who is called
what, and `sets`, of which at most one is real.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import HIGH, LOW, SUMS, Table
from bigseg.core.tracking.rivals import compete
from bigseg.grid import Block, Box, Grid
from bigseg.io.tables import read_table, read_tables, write_table
from bigseg.stages import detect
from bigseg.types import Facts, StageSpec

Ints = NDArray[np.int64]
COUNTED = ("voxels", *SUMS, "sum_intensity")


class Spec(StageSpec):
    """Whose rows are added up."""

    found: detect.Spec

    @property
    def grid(self) -> Grid:
        """A block per frame."""
        frames = self.found.shape[0]
        return Grid((frames, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))

    def place(self, block: Block) -> Box:
        """The whole frame."""
        return (block.write[0], *(slice(0, n) for n in self.found.shape[1:]))


def frame_url(run: str, frame: int) -> str:
    """Where the detections of a frame are."""
    return files.join(run, "detections", "frames", f"{frame}.parquet")


def names_url(run: str, frame: int) -> str:
    """Where it is how objects of a frame are called: source, id there, label, and whether drawn.

    An object that is not `drawn` is the same as one of an earlier source.
    """
    return files.join(run, "detections", "names", f"{frame}.parquet")


def sets_url(run: str, frame: int) -> str:
    """Where the sets of a frame are of which at most one is real: label, number of the set."""
    return files.join(run, "detections", "sets", f"{frame}.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `detect` has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> tuple[Table, Table | None]:
    """Rows of all blocks of a frame, and what objects of several sources share."""
    run, blocks = spec.found.run, list(_blocks(spec, block))
    rows = _together(read_tables(detect.parts_url(run, b) for b in blocks))
    if not spec.found.alternatives:
        return rows, None
    return rows, _together(read_tables(detect.shared_url(run, b) for b in blocks))


def _together(tables: Iterator[Table]) -> Table:
    parts = list(tables)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _blocks(spec: Spec, block: Block) -> Iterator[Block]:
    grid = spec.found.grid
    frame = block.write[0].start
    return (grid.block_at((frame, *index)) for index in product(*map(range, grid.counts[1:])))


def block(spec: Spec, block: Block, data: tuple[Table, Table | None]) -> Facts:
    """Write the detections of a frame, ascending labels."""
    return _store(spec, block, data)


def _store(spec: Spec, block: Block, data: tuple[Table, Table | None]) -> Facts:
    (rows, shared), run, frame = data, spec.found.run, block.write[0].start
    if shared is None:
        table = joined(rows, spec.found.spacing)
    else:
        table, names, sets = _competing(spec, rows, shared)
        write_table(names_url(run, frame), names)
        write_table(sets_url(run, frame), sets)
    table["frame"] = np.full(len(table["label"]), frame, np.int32)
    write_table(frame_url(run, frame), table)
    return {"detections": len(table["label"])}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Write the detections of those blocks of a frame that can be read."""
    run, found = spec.found.run, list[tuple[Table, Table | None]]()
    for one in _blocks(spec, block):
        try:
            shared = read_table(detect.shared_url(run, one)) if spec.found.alternatives else None
            found.append((read_table(detect.parts_url(run, one)), shared))
        except Exception:  # each store and parquet have exceptions of their own
            found.append(detect.nothing(spec.found, one))
    rows = _together(rows for rows, _ in found)
    shares = [shared for _, shared in found if shared is not None]
    return _store(spec, block, (rows, _together(iter(shares)) if shares else None))


def _competing(spec: Spec, rows: Table, shared: Table) -> tuple[Table, Table, Table]:
    """Objects of all sources, how they are called, and their sets."""
    sources = [
        joined({name: column[rows["source"] == n] for name, column in rows.items()},
               spec.found.spacing)
        for n in range(len(spec.found.sources))
    ]  # fmt: skip
    table = _together(iter(sources))
    counts = [len(one["label"]) for one in sources]
    table["source"] = np.repeat(np.arange(len(sources), dtype=np.int32), counts)
    table["id"] = table.pop("label")
    ours = table["id"][: counts[0]]
    free = ours.max(initial=np.uint64(0)) + np.arange(1, sum(counts[1:]) + 1, dtype=np.uint64)
    table["label"] = np.concatenate([ours, free])
    pairs, voxels = _pairs(table, shared, counts)
    found = compete(table["source"], table["voxels"], pairs, voxels)
    drawn = found.same == np.arange(len(found.same))
    names = {
        "source": table["source"],
        "id": table["id"],
        "label": table["label"][found.same],
        "drawn": drawn,
    }
    member, number = found.conflicts.T
    sets = {"label": table["label"][member], "set": number}
    table["claim"] = found.claim
    return {name: column[drawn] for name, column in table.items()}, names, sets


def _pairs(table: Table, shared: Table, counts: list[int]) -> tuple[Ints, Ints]:
    """Rows of objects of two sources that share voxels, and how many; blocks are added up."""
    first = np.cumsum([0, *counts])
    ends = [
        [
            first[n] + np.searchsorted(table["id"][first[n] : first[n + 1]], shared[f"id_{side}"])
            for n in range(len(counts))
        ]
        for side in "ab"
    ]
    rows = [
        np.choose(shared[f"source_{side}"].astype(np.int64), ends[k]) for k, side in enumerate("ab")
    ]
    pairs, of = np.unique(np.stack(rows, axis=1), axis=0, return_inverse=True)
    voxels = np.bincount(of.ravel(), shared["voxels"].astype(np.float64), minlength=len(pairs))
    return pairs.astype(np.int64), voxels.astype(np.int64)


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


def read_names(run: str, frame: int) -> Table:
    """How objects of a frame are called, where several sources compete; see `names_url`."""
    return read_table(names_url(run, frame))


def read_sets(run: str, frames: Sequence[int]) -> Iterator[Table]:
    """Sets of some frames of which at most one is real, one table each."""
    return read_tables(sets_url(run, frame) for frame in frames)


def read_frame(run: str, frame: int) -> Table:
    """Detections of one frame."""
    return read_table(frame_url(run, frame))
