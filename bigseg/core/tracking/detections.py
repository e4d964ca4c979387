"""Objects of a series: one row for each, sorted by frame and label, in physical units.

All of tracking reads this one table. Nothing in it says where the objects come from: a label image,
a table of points, or several segmentations of the same frames that compete (`conflicts`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.overlaps import Overlaps
from bigseg.errors import ImageError

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COLUMNS = ("size", "intensity", "border", "score", "claim")
"""What may be known of objects besides their place."""


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects, sorted by (frame, label); a frame may have none.

    Make it with `gather`, which sorts and checks.
    """

    frame: NDArray[np.int32]
    """(n,) number of the frame."""
    label: Ints
    """(n,) id of the object within its frame, above 0."""
    position: Floats
    """(n, 3) centre: z, y, x in physical units, 0 along an axis that the series does not have."""
    size: Floats | None = None
    """(n,) voxels, area or volume, above 0."""
    intensity: Floats | None = None
    """(n,) mean intensity, above 0."""
    border: Bools | None = None
    """(n,) whether the object touches the border of the image, where others come and go."""
    score: Floats | None = None
    """(n,) probability of being an object at all, within (0, 1)."""
    conflicts: Ints | None = None
    """(m, 2) row of a detection, number of a set: at most one of a set can be real."""
    claim: Floats | None = None
    """(n,) how many objects' worth each explains if it is real: itself, and rivals of other
    segmentations, as far as it covers them; 1 without rivals. See `rivals`."""

    overlaps: Overlaps | None = None
    """Voxels that objects of successive frames share; None: nobody has counted."""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def frames(self) -> int:
        """How many frames, from 0 to the last that has an object."""
        return int(self.frame[-1]) + 1 if len(self) else 0

    @property
    def starts(self) -> Ints:
        """(frames + 1,) first row of each frame."""
        return np.searchsorted(self.frame, np.arange(self.frames + 1)).astype(np.int64)

    @property
    def dimensions(self) -> int:
        """Along how many axes the positions differ, at least 1."""
        return max(int(self.axes.sum()), 1)

    @property
    def axes(self) -> Bools:
        """(3,) along which axes the positions differ."""
        if not len(self):
            return np.zeros(3, np.bool_)
        return np.asarray(np.ptp(self.position, axis=0) > 0)

    def take(self, rows: Ints) -> Detections:
        """Return the detections of ascending `rows`; sets of conflicts keep who is left."""
        part = Detections(
            self.frame[rows],
            self.label[rows],
            self.position[rows],
            size=None if self.size is None else self.size[rows],
            intensity=None if self.intensity is None else self.intensity[rows],
            border=None if self.border is None else self.border[rows],
            score=None if self.score is None else self.score[rows],
            claim=None if self.claim is None else self.claim[rows],
        )
        if self.overlaps is not None:
            part = replace(part, overlaps=self.overlaps.take(rows))
        if self.conflicts is None:
            return part
        place = np.searchsorted(rows, self.conflicts[:, 0])
        there = place < len(rows)
        there[there] = rows[place[there]] == self.conflicts[there, 0]
        return replace(part, conflicts=np.c_[place[there], self.conflicts[there, 1]])


def gather(
    frame: NDArray[Any],
    label: NDArray[Any],
    position: NDArray[Any],
    columns: Mapping[str, NDArray[Any] | None] | None = None,
    conflicts: NDArray[Any] | None = None,
) -> Detections:
    """Sort and check the objects of a series.

    Parameters
    ----------
    frame, label
        (n,) integers.
    position
        (n, 3) z, y, x in physical units; (n, 2) is y, x.
    columns
        Those there are of size, intensity, border, score and claim; see `Detections`.
    conflicts
        (m, 2) row (of the arrays as given), number of the set.

    Raises
    ------
    ImageError
        If columns differ in length, a number is not finite or not in its range, or an object occurs
        twice.
    """
    position = np.asarray(position, np.float64)
    if position.ndim == 2 and position.shape[1] == 2:
        position = np.c_[np.zeros(len(position)), position]
    frame, label = np.asarray(frame), np.asarray(label)
    given = {name: np.asarray(c) for name, c in (columns or {}).items() if c is not None}
    _check_columns(frame, label, position, given)
    order = np.lexsort((label, frame))
    sets: Ints | None = None
    if conflicts is not None:
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        sets = _sets(np.asarray(conflicts, np.int64).reshape(-1, 2), place)
    numbers = {n: given[n][order].astype(np.float64) for n in given if n != "border"}
    found = Detections(
        frame[order].astype(np.int32),
        label[order].astype(np.int64),
        np.ascontiguousarray(position[order]),
        size=numbers.get("size"),
        intensity=numbers.get("intensity"),
        border=given["border"][order].astype(np.bool_) if "border" in given else None,
        score=numbers.get("score"),
        conflicts=sets,
        claim=numbers.get("claim"),
    )
    _check_rows(found)
    return found


def near_border(d: Detections, distance: float, low: Floats, high: Floats) -> Detections:
    """Mark as touching the border what is within `distance` of the box from `low` to `high`."""
    close = (d.position < low + distance) | (d.position > high - distance)
    return replace(d, border=np.asarray((close & d.axes).any(1)))


def _sets(conflicts: Ints, place: Ints) -> Ints:
    if len(conflicts) and not (0 <= conflicts[:, 0].min() <= conflicts[:, 0].max() < len(place)):
        raise ImageError(
            f"Conflicts name the detection {conflicts[:, 0].max()} of {len(place)}: "
            "the first column holds rows of the table, counted from 0."
        )
    moved = np.c_[place[conflicts[:, 0]], conflicts[:, 1]]
    return np.asarray(moved[np.lexsort((moved[:, 0], moved[:, 1]))])


def _check_columns(
    frame: NDArray[Any], label: NDArray[Any], position: Floats, given: dict[str, NDArray[Any]]
) -> None:
    if position.shape != (len(frame), 3):
        raise ImageError(
            f"Positions have the shape {position.shape}, but there are {len(frame)} detections: "
            "one row z, y, x (or y, x) is needed for each."
        )
    unknown = sorted(set(given) - set(COLUMNS))
    if unknown:
        raise ImageError(
            f"Detections have no column '{unknown[0]}'; there are {', '.join(COLUMNS)}."
        )
    for name, column in {"label": label, **given}.items():
        if column.shape != frame.shape:
            raise ImageError(
                f"Column '{name}' has {column.shape} values for {len(frame)} detections."
            )
    for name, column in (("frame", frame), ("label", label)):
        if len(column) and not np.issubdtype(column.dtype, np.integer):
            raise ImageError(f"Column '{name}' is of type {column.dtype}; integers are needed.")


def _check_rows(d: Detections) -> None:
    if not len(d):
        return
    if d.frame[0] < 0:
        raise ImageError(f"A detection is in frame {d.frame[0]}; frames are counted from 0.")
    _first(d, d.label <= 0, "has the label {}, which is background", d.label)
    twice = np.zeros(len(d), np.bool_)
    twice[1:] = (np.diff(d.frame) == 0) & (np.diff(d.label) == 0)
    _first(d, twice, "occurs twice; give each object of a frame a label of its own", d.label)
    _first(d, ~np.isfinite(d.position).all(1), "has the position {}", d.position)
    for name in ("size", "intensity", "claim"):
        column = getattr(d, name)
        if column is not None:
            _first(d, ~(np.isfinite(column) & (column > 0)), f"has the {name} {{}}", column)
    if d.score is not None:
        _first(d, ~((d.score > 0) & (d.score < 1)), "has the score {}, not within 0 and 1", d.score)


def _first(d: Detections, wrong: Any, what: str, values: Iterable[Any]) -> None:
    if wrong.any():
        k = int(np.argmax(wrong))
        value = np.asarray(values)[k]
        raise ImageError(
            f"Object {d.label[k]} of frame {d.frame[k]} {what.format(value)}; "
            f"{int(wrong.sum())} of {len(d)} are like it. Correct or drop them."
        )
