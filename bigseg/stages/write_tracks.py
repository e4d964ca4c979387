"""Write labels again with each object numbered by its track, block by block.

As in `write`, the arrays are created here, and the metadata that make them an image come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.relabel import id_dtype, relabel
from bigseg.core.sparse_ids import densified
from bigseg.core.tracking.filling import Piece, between, cut, paste
from bigseg.errors import ImageError
from bigseg.grid import Block, Grid, size
from bigseg.io.create import create_arrays
from bigseg.io.ome import Image
from bigseg.io.plan import plan_image, plan_labels
from bigseg.io.series import Series
from bigseg.io.tables import read_table, write_table
from bigseg.io.volume import Volume
from bigseg.stages import detect, detections, lineages
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """Where labels come from and where they go."""

    found: detect.Spec
    target: str
    fill_gaps: bool = False
    """Draw objects where they were missed."""

    @property
    def grid(self) -> Grid:
        return self.found.grid


@dataclass(frozen=True)
class Loaded:
    """What a block needs."""

    labels: tuple[NDArray[Any], ...]
    """(z, y, x) as given, of each source."""
    ids: tuple[Table, ...]
    """`label` and `track` of the objects that each has in the frame."""
    missed: tuple[tuple[int, Piece], ...] = ()
    """Tracks that miss their object in this frame, and what is drawn for each."""


def planned_image(spec: Spec, largest: int, series: Series | None = None) -> Image:
    """Plan of the label image, given the largest id: like the labels, where these are NGFF.

    Labels that are not made yet are told by `series`.
    """
    dtype, block = id_dtype(largest), spec.found.block[1:]
    series = series or detect.series_of(spec.found)
    source = series.image
    if source is not None:
        return plan_labels(source, spec.target, dtype, block)
    length = dict(zip("tzyx", spec.found.shape, strict=True))
    axes = tuple(axis for axis in "tzyx" if axis != "z" or length["z"] > 1)
    scale = {"t": 1.0, **dict(zip("zyx", spec.found.spacing, strict=True))}
    shape = tuple(length[axis] for axis in axes)
    plan = plan_image(spec.target, axes, shape, dtype, tuple(scale[a] for a in axes), block)
    return replace(plan, units={a: unit for a, unit in series.units.items() if a in axes})


def label_image(spec: Spec) -> Image:
    """Plan of the label image; its type holds the largest id."""
    total = read_table(lineages.total_url(spec.found.run))
    return planned_image(spec, int(total["tracks"][0]))


def drawn_url(run: str) -> str:
    """Where it is which tracks were drawn in frames in which their object was missed."""
    return files.join(run, "tracking", "drawn.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `detect` has not found."""


def prepare(spec: Spec) -> None:
    """Create the arrays of all levels."""
    create_arrays(label_image(spec), labels=True)


def read(spec: Spec, block: Block) -> Loaded:
    """Labels of a block, and the tracks of the objects of its frame."""
    ids = _ids(spec, block.write[0].start)
    labels = tuple(detect.series_of(spec.found, n).read(block.write) for n in range(len(ids)))
    return Loaded(labels, ids, _missed(spec, block) if spec.fill_gaps else ())


def _ids(spec: Spec, frame: int) -> tuple[Table, ...]:
    """Tracks of the objects of a frame, by their labels in each source; 0 if not drawn from it."""
    ids = read_table(lineages.ids_url(spec.found.run, frame))
    if not spec.found.alternatives:
        return (ids,)
    names = detections.read_names(spec.found.run, frame)
    track = ids["track"][np.searchsorted(ids["label"], names["label"])] * names["drawn"]
    sources = (names["source"] == n for n in range(len(spec.found.sources)))
    return tuple({"label": names["id"][own], "track": track[own]} for own in sources)


def block(spec: Spec, block: Block, data: Loaded) -> Facts:
    """Number the objects of a block by track and write it: whole shards that no other touches."""
    return _write(spec, block, data)


def leave_out(spec: Spec, block: Block) -> Facts:
    """Leave a block without labels, but for objects that are drawn where they were missed."""
    missed: tuple[tuple[int, Piece], ...] = ()
    with suppress(Exception):  # each store and codec has exceptions of its own
        missed = _missed(spec, block) if spec.fill_gaps else ()
    empty = np.zeros(size(block.write)[1:], np.uint32)
    nobody = {"label": np.zeros(0, np.uint64), "track": np.zeros(0, np.uint64)}
    return _write(spec, block, Loaded((empty,), (nobody,), missed))


def _write(spec: Spec, block: Block, data: Loaded) -> Facts:
    plan = label_image(spec)
    dtype = np.uint64 if plan.dtype.itemsize == 8 else np.uint32
    final, *others = map(tracked, data.labels, data.ids, repeat(dtype))
    for other in others:  # where outlines cross, the earlier source draws
        final = np.where(final == 0, other, final)
    drawn = []
    for track, piece in data.missed:  # ascending, so that all blocks agree on who comes first
        if paste(final, piece, track):
            drawn.append(track)
    Volume(plan, 0).write(block.write, final[None])
    return {"voxels": int(np.count_nonzero(final)), "drawn": drawn}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count the labelled voxels, and note which objects were drawn where they were missed."""
    drawn = {
        (block.write[0].start, track)
        for block, fact in zip(spec.grid, facts, strict=True)
        for track in fact.get("drawn", ())
    }
    frame, track = np.array(sorted(drawn), np.int64).reshape(-1, 2).T
    write_table(drawn_url(spec.found.run), {"frame": frame, "track": track})
    return {"voxels": sum(fact["voxels"] for fact in facts), "drawn": len(drawn)}


def _missed(spec: Spec, block: Block) -> tuple[tuple[int, Piece], ...]:
    """What is drawn in a block, in its own coordinates."""
    rows = lineages.read_gaps(spec.found.run, block.write[0].start)
    if rows is None:
        return ()
    found = []
    for row in np.flatnonzero(_may_meet(rows, block)).tolist():
        pieces = [_piece(spec, rows, side, row) for side in ("before", "after")]
        if pieces[0] is not None and pieces[1] is not None:
            shape = between(pieces[0], pieces[1], float(rows["part"][row]))
            start = tuple(s.start for s in block.write[1:])
            corner = tuple(c - s for c, s in zip(shape.corner, start, strict=True))
            found.append((int(rows["track"][row]), replace(shape, corner=corner)))
    return tuple(found)


def _may_meet(rows: Table, block: Block) -> NDArray[np.bool_]:
    """Which objects may reach into a block: those whose two boxes, taken together, do.

    A shape that moves between them stays within a box that holds both.
    """
    meets = np.ones(len(rows["track"]), np.bool_)
    for axis, s in zip("zyx", block.write[1:], strict=True):
        low = np.minimum(rows[f"before_{axis}0"], rows[f"after_{axis}0"])
        high = np.maximum(rows[f"before_{axis}1"], rows[f"after_{axis}1"])
        room = high - low  # centres may be anywhere in the boxes
        meets &= (low - room < s.stop) & (high + room > s.start)
    return meets


def _piece(spec: Spec, rows: Table, side: str, row: int) -> Piece | None:
    """An object in the frame before or after, in voxels of the frame."""
    several = bool(spec.found.alternatives)
    source = int(rows[f"{side}_source"][row]) if several else 0
    frame = int(rows[f"{side}_frame"][row])
    label = int(rows[f"{side}_{'id' if several else 'label'}"][row])
    box = [slice(int(rows[f"{side}_{a}0"][row]), int(rows[f"{side}_{a}1"][row])) for a in "zyx"]
    labels = detect.series_of(spec.found, source).read((slice(frame, frame + 1), *box))
    piece = cut(labels, [label]).get(label)
    if piece is None:
        return None
    corner = tuple(c + s.start for c, s in zip(piece.corner, box, strict=True))
    return replace(piece, corner=corner)


def tracked(
    labels: NDArray[Any], ids: Table, dtype: type[np.uint32 | np.uint64]
) -> NDArray[np.unsignedinteger[Any]]:
    """Replace labels by tracks.

    Parameters
    ----------
    labels
        (z, y, x) of one frame.
    ids
        `label`, ascending, and `track` of the objects of that frame; 0 for objects that are
        dropped.
    dtype
        Of the result.

    Raises
    ------
    ImageError
        There is a label that nobody has detected: the labels have changed.
    """
    dense, found = densified(labels)
    known = ids["label"].astype(np.uint64)
    at = np.minimum(np.searchsorted(known, found), max(len(known) - 1, 0))
    missing = found[known[at] != found] if len(known) else found
    if len(missing):
        raise ImageError(
            f"The labels hold object {missing[0]}, which they did not when they were measured; "
            "start the run again with --overwrite."
        )
    track = ids["track"].astype(np.uint64)[at] if len(found) else np.zeros(0, np.uint64)
    return relabel(dense, track, dtype)
