"""Tables of what became of each detection and each track, in physical units."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.lineage import Ints, Lineages

Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]


def previous(found: Lineages) -> Ints:
    """(n,) row of the detection before each one in its track; -1 for the first of a track."""
    before = np.full(len(found.frame), -1, np.int64)
    own = found.links[~found.parental]
    before[own[:, 1]] = own[:, 0]
    return before


def detection_table(
    found: Lineages, label: Ints, position: Floats, *, interval: float = 1.0
) -> Columns:
    """One row for each detection.

    Parameters
    ----------
    found : Lineages
        Of `n` detections.
    label : (n,) int
        Label of each in its frame.
    position : (n, 3) float
        z, y, x in physical units.
    interval : float
        Time from one frame to the next.

    Returns
    -------
    dict of arrays
        frame, label, track, lineage, z, y, x; `displacement` from the detection before it in the
        same track, and `speed`, which is that over the time between them: both nan for the first of
        a track. A jump from a mother to her daughter is no motion of an object, so it is left out.
    """
    before = previous(found)
    moved = before >= 0
    displacement = np.full(len(before), np.nan)
    displacement[moved] = np.linalg.norm(position[moved] - position[before[moved]], axis=1)
    time = np.full(len(before), np.nan)
    time[moved] = (found.frame[moved] - found.frame[before[moved]]) * interval
    z, y, x = position.T
    return {
        "frame": found.frame,
        "label": np.asarray(label),
        "track": found.track,
        "lineage": found.lineage[found.track - 1],
        "z": z,
        "y": y,
        "x": x,
        "displacement": displacement,
        "speed": displacement / time,
    }


def track_table(found: Lineages, position: Floats, *, interval: float = 1.0) -> Columns:
    """One row for each track.

    Returns
    -------
    dict of arrays
        track, begin, end (frames), parent (0 for none), `other_parent` (the second one, where two
        objects became one), lineage, generation, daughters,
        `detections`, `missed` frames between begin and end; `division`, the frame of its last
        detection if it divides, else -1; `cycle`, the time from its first detection to its division
        where it was born of one, else nan; `path`, the length of its way, `net`, the distance from
        its first to its last position, and `speed`, its way over its time (nan for one detection).
    """
    n = len(found)
    before = previous(found)
    moved = before >= 0
    step = np.linalg.norm(position[moved] - position[before[moved]], axis=1)
    path = np.bincount(found.track[moved] - 1, step, minlength=n)
    first, last = ends(found)
    frames = found.end - found.begin
    divides = found.daughters > 1
    siblings = np.zeros(n, np.bool_)
    siblings[found.parent > 0] = divides[found.parent[found.parent > 0] - 1]
    time = frames * interval
    with np.errstate(invalid="ignore", divide="ignore"):
        speed = np.where(frames > 0, path / time, np.nan)
    return {
        "track": np.arange(1, n + 1),
        "begin": found.begin,
        "end": found.end,
        "parent": found.parent,
        "other_parent": found.other_parent,
        "lineage": found.lineage,
        "generation": found.generation,
        "daughters": found.daughters,
        "detections": found.length,
        "missed": frames + 1 - found.length,
        "division": np.where(divides, found.end, -1).astype(np.int32),
        "cycle": np.where(divides & siblings, time, np.nan),
        "path": path,
        "net": np.linalg.norm(position[last] - position[first], axis=1),
        "speed": speed,
    }


def ends(found: Lineages) -> tuple[Ints, Ints]:
    """(tracks,) rows of the first and of the last detection of each track."""
    order = np.argsort(found.track, kind="stable")
    stop = np.cumsum(found.length)
    return order[stop - found.length], order[stop - 1]
