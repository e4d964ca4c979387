"""Count the voxels that objects of successive frames share, block by block.

A block of a frame is laid over the same region of the next one, from where the image has drifted
to: an object that stays overlaps itself. The drift of two frames follows from their objects alone,
so that all blocks of a frame find the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files, opened
from bigseg.core.overlap import overlap_counts
from bigseg.core.tracking import link
from bigseg.core.tracking.detections import gather
from bigseg.grid import Block, Box, Grid, Index, intersection, within
from bigseg.io.tables import write_table
from bigseg.stages import detect, detections
from bigseg.types import Facts, StageSpec

COLUMNS = ("here", "there", "id_here", "id_there", "voxels")
"""Of the table of a block: source and id of an object, and of one in the next frame."""
PLACE = ("centroid_z", "centroid_y", "centroid_x")
Labels = NDArray[Any]
Loaded = tuple[tuple[Labels, ...], tuple[Labels, ...]]
"""Labels of a block, and what lies over them in the next frame, one (z, y, x) for each source."""


class Spec(StageSpec):
    """Whose objects are compared."""

    found: detect.Spec

    @property
    def grid(self) -> Grid:
        """Blocks as objects were measured in, but of the last frame."""
        t, *space = self.found.shape
        return Grid((t - 1, *space), self.found.block, (0, 0, 0, 0))


def parts_url(run: str, block: Block) -> str:
    """Where the pairs of a block are."""
    return files.join(run, "detections", "overlap", f"{block.id}.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `detect` has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Loaded:
    """Labels of a block, and of the next frame where the image has drifted to."""
    moved = drift(spec, block.write[0].start)
    series = [detect.series_of(spec.found, n) for n in range(len(spec.found.sources))]
    here = tuple(one.read(block.write) for one in series)
    box = (slice(block.write[0].start + 1, block.write[0].stop + 1), *block.write[1:])
    return here, tuple(_moved(one.read, box, moved, spec.found.shape) for one in series)


def _moved(read: Any, box: Box, moved: Index, shape: Index) -> Labels:
    """Labels of a box that is moved; 0 beyond the frame."""
    wanted = tuple(slice(b.start + m, b.stop + m) for b, m in zip(box, (0, *moved), strict=True))
    there = intersection(wanted, tuple(slice(0, n) for n in shape))
    if there is None:
        return np.zeros([b.stop - b.start for b in box[1:]], np.uint32)
    labels: Labels = read(there)
    if there == wanted:
        return labels
    whole = np.zeros([b.stop - b.start for b in box[1:]], labels.dtype)
    whole[within(there, wanted)[1:]] = labels
    return whole


def drift(spec: Spec, frame: int) -> Index:
    """By how many voxels, (z, y, x), the image goes on from a frame to the next."""
    return opened.once(spec.found.run, ("drift", frame), lambda: _drift(spec, frame))


def _drift(spec: Spec, frame: int) -> Index:
    tables = list(detections.read_frames(spec.found.run, (frame, frame + 1)))
    if not all(len(table["label"]) for table in tables):
        return (0, 0, 0)
    if spec.found.alternatives:
        tables = [{name: t[name][t["source"] == 0] for name in t} for t in tables]
    table = {name: np.concatenate([t[name] for t in tables]) for name in ("frame", "label", *PLACE)}
    position = np.stack([table[name] for name in PLACE], axis=1)
    d = gather(table["frame"] - frame, table["label"].astype(np.int64), position)
    found = link.find_drift(d)
    if not found:
        return (0, 0, 0)
    z, y, x = np.rint(np.asarray(found[-1]) / spec.found.spacing).astype(int).tolist()
    return z, y, x


def block(spec: Spec, block: Block, data: Loaded) -> Facts:
    """Count what objects of a block share with those of the next frame."""
    return _store(spec, block, data)


def leave_out(spec: Spec, block: Block) -> Facts:
    """Store that objects of a block overlap none of the next frame."""
    return _store(spec, block, ((), ()))


def _store(spec: Spec, block: Block, data: Loaded) -> Facts:
    rows: list[NDArray[np.uint64]] = [np.zeros((0, len(COLUMNS)), np.uint64)]
    for a, here in enumerate(data[0]):
        for b, there in enumerate(data[1]):
            pairs, counts = overlap_counts(here, there)
            both = np.full((len(counts), 2), (a, b), np.uint64)
            rows.append(np.column_stack([both, pairs, counts.astype(np.uint64)]))
    table = dict(zip(COLUMNS, np.concatenate(rows).T.copy(), strict=True))
    write_table(parts_url(spec.found.run, block), table)
    return {"pairs": len(table["voxels"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count the rows."""
    return {"pairs": sum(fact["pairs"] for fact in facts)}
