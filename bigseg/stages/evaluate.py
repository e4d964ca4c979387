"""Score labels against the truth block by block, on images of any size.

Each block gives a contingency table (which ids meet in how many voxels); tables add up, so the
scores are those of the whole image in memory, whatever the blocks. Memory follows the block and
the number of pairs of objects that meet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import groupby, islice
from typing import Any

import numpy as np

from bigseg import files
from bigseg.core.metrics import Scores, score
from bigseg.core.overlap import Counts, Pairs, add_counts, contingency
from bigseg.errors import ImageError
from bigseg.grid import Block, Grid, Index
from bigseg.io.masks import Mask, opened_mask
from bigseg.run.machine import cores

Table = tuple[Pairs, Counts]
VOXELS = 1 << 22
"""Voxels of a block, unless one stored object is larger."""
MOST_THREADS = 8
"""Beyond this, reading is what takes the time."""


@dataclass(frozen=True, slots=True)
class Evaluation(Scores):
    """Scores, and what was compared."""

    prediction: str
    truth: str

    def text(self) -> str:
        """Say it to a person."""
        lines = [
            f"{self.predicted} objects predicted, {self.true} in the truth",
            "",
            f"{'IoU':<10}{'found':>8}{'AP':>8}{'error rate':>12}",
        ]
        rows = zip(
            self.thresholds,
            self.true_positives,
            self.average_precision,
            self.error_rate,
            strict=True,
        )
        lines += [f"{t:<10g}{found:>8}{ap:>8.3f}{error:>12.3f}" for t, found, ap, error in rows]
        lines += [
            "",
            f"mean AP, IoU 0.5 to 0.95     {self.mean_average_precision:.3f}",
            f"AJI (Kumar et al., 2017)     {self.aji:.3f}",
            f"AJI (as in Cellpose)         {self.aji_cellpose:.3f}",
            f"VOI split, merge (bits)      {self.voi_split:.3f}, {self.voi_merge:.3f}",
            f"adapted Rand error           {self.rand_error:.3f}",
        ]
        return "\n".join(lines)


def evaluate(
    prediction: str,
    truth: str,
    *,
    workers: int | None = None,
    block: Index | None = None,
    across_frames: bool = False,
) -> Evaluation:
    """Score the labels at `prediction` against those at `truth`, voxel by voxel.

    Parameters
    ----------
    prediction, truth : str
        Label images (NGFF 0.4 or 0.5, also an image that has exactly one), plain zarr arrays, or
        TIFF, PNG and npy masks. Axes of length 1 and, in files that do not name them, their names
        make no difference.
    workers : int or None
        Threads; None takes the cores of this machine, up to 8.
    block : (t, z, y, x) or None
        Voxels to compare at a time; it changes nothing in the result.
    across_frames : bool
        Whether an id that occurs in several frames of a time series is one object, as of labels
        that are tracked. By default each frame's objects count by themselves, which is how
        segmentation is scored whether ids are tracked or not.

    Returns
    -------
    Evaluation
        The fields of `bigseg.core.metrics.Scores`, with `text` and `as_dict`.

    Raises
    ------
    NotFound
        If one of them does not exist.
    ImageError
        If one holds no labels, or they differ in shape.
    """
    with opened_mask(prediction) as ours, opened_mask(truth) as opened_truth:
        theirs = opened_truth.like(ours)
        ours = ours if len(ours.shape) >= len(theirs.shape) else ours.like(theirs)
        _check_shapes(ours, theirs)
        grid = Grid(ours.shape, block or block_shape(ours), (0,) * len(ours.shape))

        def one(part: Block) -> Table:
            return contingency(_labels(ours, part), _labels(theirs, part))

        threads = workers or min(cores(), MOST_THREADS)
        frames = "t" in ours.axes and not across_frames
        pairs, counts = _add_up(grid, one, threads, frames=frames)
    scores = score(pairs, counts)
    values = {field.name: getattr(scores, field.name) for field in fields(Scores)}
    return Evaluation(**values, prediction=prediction, truth=truth)


def evaluation_url(run: str) -> str:
    """Where a run keeps its scores, if it has been evaluated; its report shows them."""
    return files.join(run, "tables", "evaluation.json")


def remember(run: str, evaluation: Evaluation) -> None:
    """Keep the scores in a run, for its report (see `bigseg.stages.report.renew`)."""
    found = evaluation.as_dict() | {
        "prediction": files.absolute(evaluation.prediction),
        "truth": files.absolute(evaluation.truth),
    }
    files.put(evaluation_url(run), json.dumps(found, indent=1).encode())


def block_shape(mask: Mask) -> Index:
    """Whole stored objects of about 2²² voxels, of one frame each."""
    edges = [1 if axis == 0 and len(mask.shape) == 4 else n for axis, n in enumerate(mask.unit)]
    for axis in reversed(range(1 if len(edges) == 4 else 0, len(edges))):
        while edges[axis] < mask.shape[axis] and 2 * int(np.prod(edges)) <= VOXELS:
            edges[axis] *= 2
    return tuple(min(edge, n) for edge, n in zip(edges, mask.shape, strict=True))


def _check_shapes(ours: Mask, theirs: Mask) -> None:
    if ours.shape == theirs.shape:
        return
    raise ImageError(
        f"{ours.name} has {_shape(ours)} voxels, but {theirs.name} has {_shape(theirs)}; labels "
        "are compared voxel by voxel, so both must be of the same level and region."
    )


def _shape(mask: Mask) -> str:
    axes = "(t, z, y, x) = " if mask.axes else ""
    return f"{axes}{mask.shape}"


def _labels(mask: Mask, block: Block) -> Any:
    """Labels of a block; ids below 0 are refused, with the name of their file."""
    labels = mask.read(block.write)
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise ImageError(
            f"{mask.name} has the label {labels.min()}; labels are whole numbers from 0, the "
            "background: renumber them."
        )
    return labels


def _add_up(grid: Grid, one: Callable[[Block], Table], threads: int, *, frames: bool) -> Table:
    """Sum the tables of all blocks; with `frames`, ids of different frames are kept apart."""
    total: Table = add_counts([])
    for _, blocks in groupby(grid, key=lambda part: part.index[0] if frames else 0):
        table = _sum(_each(one, blocks, threads))
        if frames:
            table = _dense(table, total[0].max(axis=0, initial=0))
        total = add_counts([total, table])
    return total


def _dense(table: Table, first: Any) -> Table:
    """Renumber ids from `first` + 1, so that those of many frames stay small."""
    pairs = np.empty_like(table[0])
    for side in (0, 1):
        ids, inverse = np.unique(table[0][:, side], return_inverse=True)
        numbers = np.arange(len(ids), dtype=np.uint64) + (first[side] + np.uint64(1))
        if len(ids) and ids[0] == 0:
            numbers = np.r_[np.uint64(0), numbers[:-1]]
        pairs[:, side] = numbers[inverse]
    return pairs, table[1]


def _sum(tables: Iterable[Table]) -> Table:
    """Sum tables as they come, in steps that grow with what is already there."""
    total, waiting, rows = add_counts([]), [], 0
    for table in tables:
        waiting.append(table)
        rows += len(table[1])
        if rows > max(len(total[1]), 1 << 16):
            total, waiting, rows = add_counts([total, *waiting]), [], 0
    return add_counts([total, *waiting])


def _each(one: Callable[[Block], Table], blocks: Iterable[Block], threads: int) -> Iterator[Table]:
    """Tables of all blocks, in order; only a few are ever waiting."""
    queue = iter(blocks)
    with ThreadPoolExecutor(threads) as pool:
        flying: list[Future[Table]] = [pool.submit(one, b) for b in islice(queue, 2 * threads)]
        try:
            while flying:
                yield flying.pop(0).result()
                flying += [pool.submit(one, part) for part in islice(queue, 1)]
        finally:
            pool.shutdown(cancel_futures=True)
