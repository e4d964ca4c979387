"""What files of points say: who is where, and what comes from what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.lineage import Frames, Ints, LineageError, Lineages, lineages

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Detections of a series as points, sorted by frame, then id."""

    name: str
    """Where they come from, for messages."""
    id: Ints
    """(n,) unique."""
    frame: Frames
    position: Floats
    """(n, 3) z, y, x; z is 0 where there is none."""
    links: Ints
    """(m, 2) rows: source, target."""
    units: dict[str, str] = field(default_factory=dict)
    """Of z, y, x and t, where known."""
    properties: dict[str, NDArray[Any]] = field(default_factory=dict)
    """(n,) more columns."""

    def lineages(self) -> Lineages:
        """Tracks and lineages of the points; merges are allowed."""
        return lineages(self.frame, self.id, self.links, merging=True)


def points(
    name: str,
    ids: NDArray[Any],
    frame: NDArray[Any],
    position: Floats,
    edges: NDArray[Any],
    *,
    units: dict[str, str] | None = None,
    properties: dict[str, NDArray[Any]] | None = None,
) -> Points:
    """Sort points, and find the rows that edges between ids mean.

    Raises
    ------
    LineageError
        If an id is there twice, an edge names one that is not there, a frame is no whole number
        from 0, or a position is not finite.
    """
    ids = np.asarray(ids).astype(np.int64)
    wrong = ~np.isfinite(frame) | (frame < 0) | (frame != np.floor(frame))
    if wrong.any():
        raise LineageError(
            f"{name} has the frame {frame[wrong][0]:g}; frames are whole numbers from 0."
        )
    frame = np.asarray(frame).astype(np.int64)
    if not np.isfinite(position).all():
        row = int(np.flatnonzero(~np.isfinite(position).all(axis=1))[0])
        raise LineageError(f"{name} gives point {ids[row]} the position {position[row].tolist()}.")
    order = np.lexsort((ids, frame))
    sorted_ids, first, counts = np.unique(ids[order], return_index=True, return_counts=True)
    if (counts > 1).any():
        raise LineageError(
            f"{name} has the id {sorted_ids[counts > 1][0]} {counts.max()} times; each point needs "
            "an id of its own."
        )
    ends = np.asarray(edges).astype(np.int64).reshape(-1, 2)
    unknown = ends[~np.isin(ends, sorted_ids)]
    if len(unknown):
        raise LineageError(
            f"A link in {name} names point {unknown[0]}, which is not there; "
            "a point without parent has 0, -1 or nothing instead."
        )
    links = first[np.searchsorted(sorted_ids, ends)].reshape(-1, 2)
    return Points(
        name,
        ids[order],
        frame[order].astype(np.int32),
        np.asarray(position, np.float64)[order],
        links.astype(np.int64),
        units or {},
        {key: np.asarray(column)[order] for key, column in (properties or {}).items()},
    )
