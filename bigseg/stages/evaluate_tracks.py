"""Score tracks against the truth, frame by frame, on series of any size.

Masks of one frame at a time are in memory (one block, where frames are large); what is kept of them
is which labels there are and which meet. From that and from what descends from what, all scores
follow.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.overlap import Counts, Pairs, add_counts, contingency
from bigseg.core.tracking.graph import Graph, linked, of_lineages, of_rows
from bigseg.core.tracking.lineage import Ints, LineageError
from bigseg.core.tracking.matching import FrameMatches, match_masks, match_points
from bigseg.core.tracking.metrics import Pairing, pairing
from bigseg.core.tracking.scores import TrackScores, track_scores
from bigseg.errors import ImageError, SpecError
from bigseg.grid import Box
from bigseg.io.ctc import Outlines, outlines
from bigseg.io.masks import opened_mask
from bigseg.io.series import Series
from bigseg.io.track_points import Points
from bigseg.run.machine import cores
from bigseg.stages.tracked import Masks, open_tracked

VOXELS = 1 << 25
"""Voxels of a block; frames that are larger are compared in several."""
MOST_THREADS = 8


@dataclass(frozen=True)
class TrackEvaluation:
    """Scores of tracks, and what was compared."""

    scores: TrackScores
    prediction: str
    truth: str
    notes: tuple[str, ...] = ()
    """What a reader of the scores must know."""

    def as_dict(self) -> dict[str, Any]:
        """Scores as JSON knows them: None where there is none."""
        names = {"prediction": self.prediction, "truth": self.truth, "notes": list(self.notes)}
        return self.scores.as_dict() | names

    def text(self) -> str:
        """Say it to a person."""
        found, values = self.scores, self.scores.values()
        done = found.operations
        lines = [
            f"{found.tracks[0]} tracks of {found.detections[0]} detections; "
            f"{found.tracks[1]} of {found.detections[1]} in the truth",
            "",
            _line("detection", values, ("DET", "SEG")),
            _line("tracking", values, ("TRA", "LNK")),
            _line("tracks", values, ("CT", "TF", "CCA")),
            _line("overall", values, ("OP_CSB", "OP_CTB")),
            _line("links", values, ("edge F1", "gap-aware edge F1", "step F1")),
            "",
            f"{'frames off':<12}" + "".join(f"{i:>9}" for i in found.bc),
        ]
        for name in ("division F1", "BC", "BIO", "OP_CLB"):
            row = [values[f"{name}({i})"] for i in found.bc]
            lines.append(f"{name:<12}" + "".join(f"{_shown(v):>9}" for v in row))
        lines += [
            "",
            "to correct: "
            f"split {done.NS}, add {done.FN} and delete {done.FP} detections; "
            f"add {done.EA}, delete {done.ED} and change {done.EC} links",
            *self.notes,
        ]
        return "\n".join(lines)


def _line(name: str, values: dict[str, float], keys: tuple[str, ...]) -> str:
    return f"{name:<12}" + "   ".join(f"{key} {_shown(values[key])}" for key in keys)


def _shown(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def evaluate_tracks(
    prediction: str,
    truth: str,
    *,
    lines: str | None = None,
    true_lines: str | None = None,
    distance: float | None = None,
    workers: int | None = None,
) -> TrackEvaluation:
    """Score the tracks at `prediction` against those at `truth`.

    Parameters
    ----------
    prediction, truth : str
        Each a CTC folder (result or truth), a label image over time whose labels are tracks (NGFF,
        TIFF, a folder of frames), a GEFF graph, or a table of points (CSV or Parquet). Both are
        masks, or both are points.
    lines, true_lines : str or None
        Tables of tracks (track, begin, end, parent), or CTC text files, that say what descends from
        what in label images and tables of points that do not say it. What `bigseg track` has
        written is found beside its labels.
    distance : float or None
        Farthest that a point may be from the true one; needed for points, in their unit.
    workers : int or None
        Threads; None takes the cores of this machine, up to 8.

    Raises
    ------
    NotFound
        If something does not exist.
    ImageError
        If one holds no tracks, or they differ in kind, frames or shape.
    LineageError
        If tracks contradict themselves.
    SpecError
        If points come without a distance.
    """
    ours, theirs = open_tracked(prediction, lines), open_tracked(truth, true_lines)
    if isinstance(ours, Points) and isinstance(theirs, Points):
        return _evaluate_points(ours, theirs, distance)
    if isinstance(ours, Points) or isinstance(theirs, Points):
        kinds = {True: "points", False: "masks"}
        raise ImageError(
            f"{prediction} holds {kinds[isinstance(ours, Points)]} and {truth} "
            f"{kinds[isinstance(theirs, Points)]}; give both as masks or both as points."
        )
    if distance is not None:
        raise SpecError("A distance matches points; masks are matched by their overlap: leave it.")
    return _evaluate_masks(ours, theirs, workers or min(cores(), MOST_THREADS))


def _evaluate_points(ours: Points, theirs: Points, distance: float | None) -> TrackEvaluation:
    if distance is None or not distance > 0:
        raise SpecError(
            f"{ours.name} and {theirs.name} hold points; give the distance, above 0 and in their "
            "unit, within which a point is the same as a true one: --distance."
        )
    true, result = (of_lineages(side.lineages()) for side in (theirs, ours))
    pairs = match_points(theirs.frame, theirs.position, ours.frame, ours.position, distance)
    scores = track_scores(true, result, pairing(len(theirs.frame), len(ours.frame), pairs))
    notes: tuple[str, ...] = ()
    last = int(ours.frame.max(initial=-1)), int(theirs.frame.max(initial=-1))
    if last[0] != last[1]:
        notes = (f"The last points are of frame {last[0]}, in the truth of frame {last[1]}.",)
    return TrackEvaluation(scores, ours.name, theirs.name, notes)


def _evaluate_masks(ours: Masks, theirs: Masks, threads: int) -> TrackEvaluation:
    _check_shapes(ours, theirs)
    with ThreadPoolExecutor(threads) as pool:
        try:
            one = partial(_frame, ours.series, theirs.series)
            frames = list(pool.map(one, range(ours.series.shape[0])))
            seg, notes = _seg(ours, theirs, frames, pool)
        finally:
            pool.shutdown(cancel_futures=True)
    result = _nodes([f.result for f in frames])
    true = _nodes([f.true for f in frames])
    graphs = _graph(theirs, *true), _graph(ours, *result)
    pairs = _pairing(frames, true, result)
    scores = track_scores(*graphs, pairs, seg=seg)
    for side in (ours, theirs):
        if side.rows is None:
            notes += (
                f"Nobody says what descends from what in {side.name}; its tracks have no parents.",
            )
    return TrackEvaluation(scores, ours.name, theirs.name, notes)


def _check_shapes(ours: Masks, theirs: Masks) -> None:
    one, other = ours.series.shape, theirs.series.shape
    if one[0] != other[0]:
        raise ImageError(
            f"{ours.name} has {one[0]} frames, but {theirs.name} has {other[0]}; tracks are "
            "compared frame by frame, so both must be of the same frames."
        )
    if one[1:] != other[1:]:
        raise ImageError(
            f"{ours.name} has frames of (z, y, x) = {one[1:]} voxels, but {theirs.name} of "
            f"{other[1:]}; labels are compared voxel by voxel, so both must be of the same level "
            "and region."
        )


def _frame(ours: Series, theirs: Series, frame: int) -> FrameMatches:
    """Labels of one frame, and which meet."""
    tables = [_table(ours, theirs, box) for box in _boxes(ours, frame)]
    return match_masks(*add_counts(tables))


def _table(ours: Series, theirs: Series, box: Box) -> tuple[Pairs, Counts]:
    return contingency(_labels(ours, box), _labels(theirs, box))


def _labels(series: Series, box: Box) -> NDArray[Any]:
    labels = series.read(box)
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise ImageError(
            f"{series.url} has the label {labels.min()} in frame {box[0].start}; labels are whole "
            "numbers from 0, the background: renumber them."
        )
    return labels


def _boxes(series: Series, frame: int) -> Iterator[Box]:
    """Parts of a frame that are whole stored objects and not much larger than `VOXELS`."""
    shape, edges = series.shape[1:], list(series.unit[1:])
    for axis in (2, 1, 0):
        while edges[axis] < shape[axis] and 2 * math.prod(edges) <= VOXELS:
            edges[axis] *= 2
    starts = product(*(range(0, n, edge) for n, edge in zip(shape, edges, strict=True)))
    for start in starts:
        ends = (min(s + e, n) for s, e, n in zip(start, edges, shape, strict=True))
        yield (slice(frame, frame + 1), *map(slice, start, ends))


def _nodes(labels: list[Ints]) -> tuple[Ints, Ints]:
    """Frame and label of all objects."""
    frame = np.repeat(np.arange(len(labels)), [len(ids) for ids in labels])
    return frame, np.concatenate([*labels, np.zeros(0, np.int64)]).astype(np.int64)


def _pairing(
    frames: list[FrameMatches], true: tuple[Ints, Ints], result: tuple[Ints, Ints]
) -> Pairing:
    """Pairs of labels as pairs of rows."""
    rows = [np.zeros((0, 2), np.int64)]
    first = [0, 0]
    for found in frames:
        sides = (found.true, found.result)
        at = [np.searchsorted(ids, found.pairs[:, k]) + first[k] for k, ids in enumerate(sides)]
        rows.append(np.stack(at, axis=1))
        first = [n + len(ids) for n, ids in zip(first, sides, strict=True)]
    return pairing(len(true[0]), len(result[0]), np.concatenate(rows).astype(np.int64))


def _graph(side: Masks, frame: Ints, label: Ints) -> Graph:
    if side.rows is None:
        return linked(frame, label, np.zeros((0, 4), np.int64))
    try:
        if side.strict:
            return of_rows(frame, label, side.rows)
        unknown = ~np.isin(label, side.rows[:, 0])
        if unknown.any():
            at = int(np.argmax(unknown))
            raise LineageError(
                f"label {label[at]} in frame {frame[at]} has no row in its table of tracks; the "
                "table is of other labels, or the labels are not of tracks."
            )
        return linked(frame, label, side.rows[np.argsort(side.rows[:, 0])])
    except LineageError as error:
        raise LineageError(f"{side.name}: {error}") from error


def _seg(
    ours: Masks, theirs: Masks, frames: list[FrameMatches], pool: ThreadPoolExecutor
) -> tuple[float, tuple[str, ...]]:
    """SEG by the true outlines, or by the true masks where these are outlines."""
    if theirs.seg is not None:
        shapes = pool.map(partial(_outlined, ours.series), outlines(theirs.seg))
        found = list(shapes)
        return _mean(found), ()
    if not theirs.markers:
        return _mean([(float(f.iou.sum()), len(f.true)) for f in frames]), ()
    return math.nan, (f"No SEG: {theirs.name} has no folder SEG with outlines beside its markers.",)


def _mean(found: list[tuple[float, int]]) -> float:
    total = sum(count for _, count in found)
    return sum(iou for iou, _ in found) / total if total else math.nan


def _outlined(ours: Series, file: Outlines) -> tuple[float, int]:
    """Sum of Jaccard indices of the true objects of one file, and how many there are."""
    if file.frame >= ours.shape[0]:
        raise ImageError(
            f"{file.path} is of frame {file.frame}, but there are {ours.shape[0]} frames."
        )
    with opened_mask(file.path) as mask:
        true = np.asarray(mask.read(tuple(slice(0, n) for n in mask.shape)))
    planes = slice(0, ours.shape[1]) if file.plane is None else slice(file.plane, file.plane + 1)
    box = (slice(file.frame, file.frame + 1), planes, *(slice(0, n) for n in ours.shape[2:]))
    labels = _labels(ours, box)
    if true.size != labels.size or true.shape[-2:] != labels.shape[-2:]:
        raise ImageError(
            f"{file.path} has the shape {true.shape[-3:]}, but the result has {labels.shape} there."
        )
    found = match_masks(*contingency(labels, true.reshape(labels.shape)))
    return float(found.iou.sum()), len(found.true)
