"""What a user knows better than the program: links that are there, or not, and what is no object.

A link that is given takes its source's way on and its target's way in out of the program: all other
candidates there are dropped, and the link itself is added when parts are put together. So it may be
of any length, and changes nothing elsewhere but what its ends were taken for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bigseg.core.tracking.candidates import Candidates
from bigseg.core.tracking.costs import Nodes
from bigseg.core.tracking.detections import Bools, Detections, Ints


@dataclass(frozen=True, slots=True)
class Edits:
    """Corrections of a series, by frame and label of objects."""

    links: Ints
    """(n, 4) frame and label of the source, of the target: these are there."""
    unlinks: Ints
    """(n, 4) these are not."""
    deleted: Ints
    """(n, 2) frame and label of what is no object."""


def no_edits() -> Edits:
    """No corrections."""
    return Edits(np.zeros((0, 4), np.int64), np.zeros((0, 4), np.int64), np.zeros((0, 2), np.int64))


@dataclass(frozen=True, slots=True)
class Bans:
    """What corrections mean for some detections."""

    out: Bools
    """(n,) No candidate leaves: where they go is given."""
    into: Bools
    """(n,) No candidate enters."""
    pairs: Ints
    """(m, 2) rows of sources and targets that are not linked."""

    @property
    def real(self) -> Bools:
        """(n,) Which are objects, as links of theirs are given."""
        return np.asarray(self.out | self.into)

    def __bool__(self) -> bool:
        return bool(self.real.any()) or len(self.pairs) > 0

    def take(self, rows: Ints) -> Bans:
        """What they mean for the detections of ascending `rows`."""
        place = np.minimum(np.searchsorted(rows, self.pairs), max(len(rows) - 1, 0))
        there = (rows[place] == self.pairs).all(axis=1) if len(rows) else np.zeros(0, np.bool_)
        return Bans(self.out[rows], self.into[rows], place[there])


def rows_of(d: Detections, objects: Ints) -> Ints:
    """Rows of objects, given as (n, 2) frame and label; -1 for those that are not there."""
    rows = np.full(len(objects), -1, np.int64)
    first = int(d.frame[0]) if len(d) else 0
    near = (objects[:, 0] >= first) & (objects[:, 0] < d.frames)
    starts = d.starts
    for k in np.flatnonzero(near).tolist():
        frame, label = objects[k]
        labels = d.label[starts[frame] : starts[frame + 1]]
        place = int(np.searchsorted(labels, label))
        if place < len(labels) and labels[place] == label:
            rows[k] = starts[frame] + place
    return rows


def cleared(d: Detections, edits: Edits) -> Detections:
    """Detections without those deleted, and without those that compete with linked ones."""
    gone = np.zeros(len(d), np.bool_)
    gone[_there(rows_of(d, edits.deleted))] = True
    if d.conflicts is not None and len(d.conflicts):
        sure = np.zeros(len(d), np.bool_)
        ends = np.concatenate([edits.links[:, :2], edits.links[:, 2:]])
        sure[_there(rows_of(d, ends))] = True
        row, group = d.conflicts.T
        decided = np.isin(group, group[sure[row]])
        gone[row[decided & ~sure[row]]] = True
        d = replace(d, conflicts=d.conflicts[~decided])
    return d.take(np.flatnonzero(~gone)) if gone.any() else d


def bans(d: Detections, edits: Edits) -> Bans:
    """What corrections mean for some detections; those of others mean nothing."""
    out, into = np.zeros(len(d), np.bool_), np.zeros(len(d), np.bool_)
    out[_there(rows_of(d, edits.links[:, :2]))] = True
    into[_there(rows_of(d, edits.links[:, 2:]))] = True
    pairs = np.stack([rows_of(d, edits.unlinks[:, :2]), rows_of(d, edits.unlinks[:, 2:])], axis=1)
    return Bans(out, into, pairs[(pairs >= 0).all(axis=1)])


def allowed(c: Candidates, bans: Bans | None) -> Candidates:
    """Candidates that corrections, if there are any, leave open."""
    if bans is None:
        return c
    size = len(bans.out)
    banned = bans.pairs[:, 0] * size + bans.pairs[:, 1]
    links = ~(bans.out[c.source] | bans.into[c.target])
    links &= ~np.isin(c.source * size + c.target, banned)
    born = ~(bans.out[c.mother] | bans.into[c.daughters].any(axis=1))
    born &= ~np.isin(c.mother[:, None] * size + c.daughters, banned).any(axis=1)
    return Candidates(
        c.source[links],
        c.target[links],
        c.gain[links],
        c.mother[born],
        c.daughters[born],
        c.born[born],
    )


def certain(n: Nodes, bans: Bans) -> Nodes:
    """Costs of detections, of which those that links are given of are never false."""
    return replace(n, false=np.where(bans.real, np.inf, n.false))


def _there(rows: Ints) -> Ints:
    return rows[rows >= 0]
