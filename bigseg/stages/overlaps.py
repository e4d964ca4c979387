"""One row per pair of objects of successive frames that share voxels: blocks are added up."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.overlap import add_counts
from bigseg.core.tracking.overlaps import Overlaps, gather_overlaps
from bigseg.grid import Block, Box, Grid
from bigseg.io.tables import read_tables, write_table
from bigseg.stages import detections, overlap
from bigseg.types import Facts, StageSpec

_NONE = np.zeros(0, np.int64)
Names = Table
"""How objects of a frame are called, where several label images compete; see `detections`."""


class Spec(StageSpec):
    """Whose rows are added up."""

    counted: overlap.Spec

    @property
    def grid(self) -> Grid:
        """A block for each frame but the last."""
        frames = self.counted.found.shape[0] - 1
        return Grid((frames, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))

    def place(self, block: Block) -> Box:
        """The whole frame."""
        return (block.write[0], *(slice(0, n) for n in self.counted.found.shape[1:]))


def frame_url(run: str, frame: int) -> str:
    """Where the pairs of a frame and the next one are: label, label there, voxels."""
    return files.join(run, "detections", "overlaps", f"{frame}.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `overlap` has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> tuple[Table, tuple[Names, Names] | None]:
    """Rows of all blocks of a frame, and how its objects and those of the next are called."""
    found, frame, grid = spec.counted.found, block.write[0].start, spec.counted.grid
    blocks = (grid.block_at((frame, *i)) for i in product(*map(range, grid.counts[1:])))
    parts = list(read_tables(overlap.parts_url(found.run, b) for b in blocks))
    rows = {name: np.concatenate([part[name] for part in parts]) for name in overlap.COLUMNS}
    if not found.alternatives:
        return rows, None
    here, there = (detections.read_names(found.run, t) for t in (frame, frame + 1))
    return rows, (here, there)


def block(spec: Spec, block: Block, data: tuple[Table, tuple[Names, Names] | None]) -> Facts:
    """Write the pairs of a frame."""
    rows, names = data
    ids = np.stack([rows["id_here"], rows["id_there"]], axis=1)
    called = ids if names is None else _called(rows, names)
    there = (called > 0).all(axis=1)
    pairs, voxels = add_counts([(called[there], rows["voxels"][there].astype(np.int64))])
    table = {"label": pairs[:, 0].copy(), "next": pairs[:, 1].copy(), "voxels": voxels}
    write_table(frame_url(spec.counted.found.run, block.write[0].start), table)
    return {"pairs": len(voxels)}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Store that objects of a frame overlap none of the next."""
    none = np.zeros(0, np.uint64)
    table = {"label": none, "next": none, "voxels": np.zeros(0, np.int64)}
    write_table(frame_url(spec.counted.found.run, block.write[0].start), table)
    return {"pairs": 0}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count pairs."""
    return {"pairs": sum(fact["pairs"] for fact in facts)}


def _called(rows: Table, names: tuple[Names, Names]) -> NDArray[np.uint64]:
    """Label of both ends of each row; 0 where another object stands for one."""
    ends = []
    for side, known in zip(("here", "there"), names, strict=True):
        label = np.zeros(len(rows["voxels"]), np.uint64)
        for source in range(int(rows[side].max(initial=0)) + 1):
            mine = rows[side] == source
            some = {name: column[known["source"] == source] for name, column in known.items()}
            place, there = _among(some["id"], rows[f"id_{side}"][mine])
            found = np.zeros(len(place), np.uint64)
            found[there] = (some["label"] * some["drawn"])[place[there]]
            label[mine] = found
        ends.append(label)
    return np.stack(ends, axis=1)


def read_overlaps(run: str, frames: Sequence[int], labels: Sequence[NDArray[Any]]) -> Overlaps:
    """Pairs of objects of successive frames, as rows of all that some frames have.

    Parameters
    ----------
    frames
        Ascending, without gaps.
    labels
        Of each frame, ascending.
    """
    first = np.cumsum([0, *(len(label) for label in labels)])
    urls = (frame_url(run, frame) for frame in frames[:-1])
    source, target, voxels = [_NONE], [_NONE], [_NONE]
    for k, table in enumerate(read_tables(urls)):
        here, known = _among(labels[k], table["label"])
        there, known_there = _among(labels[k + 1], table["next"])
        rows = known & known_there
        source.append(first[k] + here[rows])
        target.append(first[k + 1] + there[rows])
        voxels.append(table["voxels"][rows])
    return gather_overlaps(*(np.concatenate(column) for column in (source, target, voxels)))


def _among(ids: NDArray[Any], wanted: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Places of ids among ascending ones, and which are there: all, unless a block was left out."""
    place = np.searchsorted(ids, wanted)
    there = place < len(ids)
    there[there] = ids[place[there]] == wanted[there]
    return place, there
