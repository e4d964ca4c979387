"""Which links are possible: near, few for each object, and likelier than what they replace.

Every candidate carries its *gain*: what it saves against the source disappearing and the targets
appearing. Candidates that save nothing can be in no best solution and are dropped here, so that
programs stay small and lose nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from bigseg.core.tracking import costs
from bigseg.core.tracking.costs import Change, Model, Nodes
from bigseg.core.tracking.detections import Bools, Detections, Floats, Ints
from bigseg.core.tracking.motion import Motion
from bigseg.core.tracking.overlaps import union_share


@dataclass(frozen=True, slots=True)
class Candidates:
    """Links and divisions; rows of the detections, and gains below 0 for what helps."""

    source: Ints
    target: Ints
    gain: Floats
    mother: Ints
    daughters: Ints
    """(n, 2), ascending."""
    born: Floats
    """Gain of each division."""


Open = tuple[Bools, Bools]
_NO_LINKS = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
_NO_BIRTHS = (np.zeros(0, np.int64), np.zeros((0, 2), np.int64), np.zeros(0))


def none() -> Candidates:
    """No candidates."""
    empty = np.zeros(0, np.int64)
    gain = np.zeros(0)
    return Candidates(empty, empty, gain, empty, np.zeros((0, 2), np.int64), gain)


def join(parts: list[Candidates]) -> Candidates:
    """Return all candidates of `parts`, in this order."""
    parts = [none(), *parts]
    names = ("source", "target", "gain", "mother", "daughters", "born")
    return Candidates(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))


def taken(c: Candidates, links: Bools, divisions: Bools) -> Candidates:
    """Return some links and some divisions."""
    return Candidates(
        c.source[links], c.target[links], c.gain[links],
        c.mother[divisions], c.daughters[divisions], c.born[divisions],
    )  # fmt: skip


def among(c: Candidates, real: Bools) -> Candidates:
    """Return candidates all of whose ends are real."""
    born = real[c.mother] & real[c.daughters].all(axis=1)
    return taken(c, real[c.source] & real[c.target], born)


def near(a: Floats, b: Floats, radius: float, k: int, *, both: bool) -> tuple[Ints, Ints]:
    """Pairs of points of `a` and `b`: the `k` nearest within `radius`, of `a`, or of both sides.

    Sorted and unique. Ties are broken by the order of the points.
    """
    if not len(a) or not len(b) or radius <= 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    i, j = _nearest(a, b, radius, k)
    if both:
        jj, ii = _nearest(b, a, radius, k)
        i, j = np.concatenate([i, ii]), np.concatenate([j, jj])
    key = _unique(i * len(b) + j)
    return key // len(b), key % len(b)


def _unique(key: Ints) -> Ints:
    """Sorted, each once; `np.unique` takes its time with a million."""
    key = np.sort(key)
    return key[np.r_[True, key[1:] != key[:-1]]] if len(key) else key


def _nearest(a: Floats, b: Floats, radius: float, k: int) -> tuple[Ints, Ints]:
    tree = cKDTree(b, balanced_tree=False, compact_nodes=False)
    k = min(k, len(b))
    _, j = tree.query(a, k=np.arange(1, k + 1), distance_upper_bound=radius)
    i = np.repeat(np.arange(len(a)), k)
    j = j.ravel()
    found = j < len(b)
    return i[found].astype(np.int64), j[found].astype(np.int64)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far candidates are sought, and how many."""

    move: tuple[float, ...]
    """Farthest from the predicted position, for 1, 2, ... frames."""
    division: float
    """Farthest of a daughter from the mother's predicted position."""
    neighbours: int = 8
    limits: tuple[float, float] = (math.inf, math.inf)
    """What a user has set of both: it holds for objects that overlap, too."""

    @classmethod
    def of(cls, model: Model, neighbours: int = 8) -> Reach:
        """As far as anything can be likelier than its alternative."""
        worst = -math.log(min(model.appears, model.appears_at_border) * model.density)
        worst -= math.log(min(model.disappears, model.disappears_at_border))
        for one in (model.sizes, model.brightness):
            if one is not None:
                # The best that it can add to a move: it agrees, where most objects differ.
                peak = float(one.step.cost(np.zeros(1))[0])
                typical = math.log(one.deviation * math.sqrt(2 * math.pi)) + 2
                worst += max(typical - peak, 0.0)
        move = tuple(s.reach(worst, model.dimensions) for s in model.steps)
        mean, deviation = model.separation
        # Of unequal daughters the smaller goes farther than half of their distance.
        far = 0.75 * math.exp(mean + 2.5 * deviation) + 3 * model.middle.scale
        return cls(move, far, neighbours)


def leaving(
    d: Detections, n: Nodes, model: Model, reach: Reach, motion: Motion, frame: int
) -> Candidates:
    """Candidates whose source, or mother, is in `frame`."""
    spans = [s for s in range(1, model.gap + 1) if frame + s < d.frames]
    rows = of_frame(d, frame)
    moves = [_moves(d, n, model, reach, motion, (rows, of_frame(d, frame + s))) for s in spans]
    i, j, gain = (np.concatenate(column) for column in zip(_NO_LINKS, *moves, strict=True))
    order = np.lexsort((j, i))
    i, j, gain = i[order], j[order], gain[order]
    births = [
        _births(d, n, model, reach, motion, frame, s)
        for s in ((1, 1), (1, 2), (2, 2))
        if max(s) in spans and model.divides > 0
    ]
    empty = none()
    parts = [Candidates(i, j, gain, empty.mother, empty.daughters, empty.born)]
    parts += [Candidates(empty.source, empty.target, empty.gain, *b) for b in births]
    return _undominated(join(parts), len(d))


def _moves(
    d: Detections, n: Nodes, model: Model, reach: Reach, motion: Motion, ends: tuple[Ints, Ints]
) -> tuple[Ints, Ints, Floats]:
    """Moves from rows of one frame to rows of another: (source, target, gain)."""
    a, b = ends
    if not len(a) or not len(b):
        return _NO_LINKS
    span = int(d.frame[b[0]] - d.frame[a[0]])
    here = d.position[a] + span * motion.ahead(a) / 2
    there = d.position[b] - span * motion.behind(b) / 2
    count = max(reach.neighbours // span, 2)
    i, j = near(here, there, reach.move[span - 1], count, both=True)
    i, j = _overlapping(d, a, (a[i], b[j]), count) if span == 1 else (a[i], b[j])
    way, doubt = motion.between(i, j)
    squared = ((d.position[j] - d.position[i] - span * way) ** 2).sum(1)
    change = Change(
        growth=None if n.logs is None else n.logs[j] - n.logs[i],
        brightening=None if n.lights is None else n.lights[j] - n.lights[i],
        alike=_alike(d, i, (j,)) if span == 1 else None,
    )
    cost = costs.moves(model, squared, span, doubt, change)
    gain = cost - n.disappear[i] - n.appear[j]
    good = (gain < 0) & (squared <= (span * reach.limits[0]) ** 2)
    return i[good], j[good], gain[good]


def _overlapping(d: Detections, a: Ints, pairs: tuple[Ints, Ints], k: int) -> tuple[Ints, Ints]:
    """Pairs, and those of rows `a` with what they overlap most: `k` of each, from both sides."""
    if d.overlaps is None or d.size is None or not len(a):
        return pairs
    more = d.overlaps.leaving(int(a[0]), int(a[-1]) + 1).most(d.size, k)
    key = np.concatenate([pairs[0] * len(d) + pairs[1], more.source * len(d) + more.target])
    key = np.unique(key)
    return key // len(d), key % len(d)


def _alike(d: Detections, source: Ints, targets: tuple[Ints, ...]) -> Floats | None:
    """Intersection over union of each source and all of its targets; None if nobody knows."""
    if d.overlaps is None or d.size is None:
        return None
    shared = sum((d.overlaps.shared(source, one) for one in targets), np.zeros(len(source)))
    both = sum((d.size[one] for one in targets), d.size[source])
    return union_share(shared, both)


def of_frame(d: Detections, frame: int) -> Ints:
    """Rows of a frame; none if there is no such frame."""
    return np.arange(*np.searchsorted(d.frame, (frame, frame + 1)))


def _births(
    d: Detections, n: Nodes, model: Model, reach: Reach, motion: Motion, frame: int,
    spans: tuple[int, int],
) -> tuple[Ints, Ints, Floats]:  # fmt: skip
    """Divisions with one daughter each `spans` frames later: (mother, daughters, gain).

    A daughter of the second frame was missed in the first one; if both are, it was the mother who
    was missed.
    """
    a = of_frame(d, frame)
    here, ahead = d.position[a], motion.ahead(a)
    found = []
    for span in dict.fromkeys(spans):
        b = of_frame(d, frame + span)
        count = reach.neighbours if spans == (1, 1) else reach.neighbours * 3 // 4
        i, j = near(here + span * ahead, d.position[b], reach.division, count, both=False)
        i, j = a[i], b[j]
        if span == 1:
            i, j = _overlapping(d, a, (i, j), count)
            far = ((d.position[j] - d.position[i] - motion.ahead(i)) ** 2).sum(1)
            close = far <= reach.limits[1] ** 2
            i, j = i[close], j[close]
        found.append((i, j))
    i, one, two = pairs(*found[0]) if len(found) == 1 else _products(*found[0], *found[1])
    return _born(d, n, model, motion, (i, one, two))


def _born(
    d: Detections, n: Nodes, model: Model, motion: Motion, who: tuple[Ints, Ints, Ints]
) -> tuple[Ints, Ints, Floats]:
    """Those of (mother, daughter, daughter) that are worth it: (mother, daughters, gain)."""
    mother, one, two = who
    span = (d.frame[one] + d.frame[two]) / 2 - d.frame[mother]
    p, q = d.position[one], d.position[two]
    logs = None if n.logs is None else (n.logs[one], n.logs[two])
    centre = costs.middle(p, q, model.sizes.balance if model.sizes else 0.0, logs)
    expected = d.position[mother] + span[:, None] * motion.ahead(mother)
    middle = ((centre - expected) ** 2).sum(1) / span
    close = middle < (8 * model.middle.scale) ** 2
    mother, one, two, middle, span = (c[close] for c in (mother, one, two, middle, span))
    apart = np.sqrt(((p[close] - q[close]) ** 2).sum(1))
    sizes, lights = (
        None if column is None else (column[mother], column[one], column[two])
        for column in (n.logs, n.lights)
    )
    alike = _alike(d, mother, (one, two)) if (span == 1).all() else None
    cost = costs.divisions(model, middle, apart, sizes, lights, alike)
    cost = cost - np.where(span > 1, math.log(model.missed), 0.0)
    gain = cost - n.disappear[mother] - n.appear[one] - n.appear[two]
    good = gain < 0
    return mother[good], np.c_[one[good], two[good]], gain[good]


def onward(
    d: Detections, n: Nodes, model: Model, reach: Reach, motion: Motion, frame: int
) -> Candidates:
    """Moves from `frame` to the next one, and divisions with both daughters there."""
    ends = of_frame(d, frame), of_frame(d, frame + 1)
    empty = none()
    parts = [Candidates(*_moves(d, n, model, reach, motion, ends), *_NO_BIRTHS)]
    if model.divides > 0 and len(ends[0]):
        born = _births(d, n, model, reach, motion, frame, (1, 1))
        parts.append(Candidates(empty.source, empty.target, empty.gain, *born))
    return _undominated(join(parts), len(d))


def over_gaps(
    d: Detections, n: Nodes, model: Model, reach: Reach, motion: Motion, frame: int, open_ends: Open
) -> Candidates:
    """Moves from `frame` over others, between what has no link there: (way out, way in) of each."""
    out, into = open_ends
    rows = of_frame(d, frame)
    rows = rows[out[rows]]
    parts = []
    for span in range(2, model.gap + 1):
        later = of_frame(d, frame + span)
        parts.append(_moves(d, n, model, reach, motion, (rows, later[into[later]])))
    i, j, gain = (np.concatenate(column) for column in zip(_NO_LINKS, *parts, strict=True))
    return Candidates(i, j, gain, *_NO_BIRTHS)


def pairs(group: Ints, member: Ints) -> tuple[Ints, Ints, Ints]:
    """All pairs of members of the same group; groups are sorted."""
    _, group_of = np.unique(group, return_inverse=True)
    count = np.bincount(group_of, minlength=1)
    start = np.cumsum(count) - count
    rows = np.arange(len(group))
    later = start[group_of] + count[group_of] - 1 - rows
    first = np.repeat(rows, later)
    step = np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return group[first], member[first], member[first + 1 + step]


def _products(group: Ints, member: Ints, other: Ints, partner: Ints) -> tuple[Ints, Ints, Ints]:
    """All pairs of a member and a partner of the same group; groups are sorted."""
    size = max(group.max(initial=0), other.max(initial=0)) + 1
    count = np.bincount(other, minlength=size)
    start = np.cumsum(count) - count
    times = count[group]
    first = np.repeat(np.arange(len(group)), times)
    step = np.arange(len(first)) - np.repeat(np.cumsum(times) - times, times)
    return group[first], member[first], partner[start[group[first]] + step]


def _undominated(c: Candidates, size: int) -> Candidates:
    """Drop divisions that are worse than one daughter having moved and the other appearing."""
    if not len(c.mother) or not len(c.source):
        return c
    key = c.source * size + c.target
    best = np.zeros(len(c.mother))
    for k in (0, 1):
        wanted = c.mother * size + c.daughters[:, k]
        place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        best = np.minimum(best, np.where(key[place] == wanted, c.gain[place], 0))
    good = c.born < best
    return Candidates(c.source, c.target, c.gain, c.mother[good], c.daughters[good], c.born[good])
