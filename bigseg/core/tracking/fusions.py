"""Two objects that become one: a division, seen backwards in time.

The middle of both is displaced like a step, their distance is that of daughters, their sizes add up
to that of what they become. So the same densities tell of them; only how many there are is learned
by itself. Where objects are drawn as one because they touch, the distance of two neighbours is
about that of daughters, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bigseg.core.tracking import costs
from bigseg.core.tracking.candidates import Candidates, Reach, near, of_frame, pairs
from bigseg.core.tracking.costs import Model, Nodes
from bigseg.core.tracking.detections import Bools, Detections, Floats, Ints
from bigseg.core.tracking.edits import Bans
from bigseg.core.tracking.motion import Motion
from bigseg.core.tracking.overlaps import union_share


@dataclass(frozen=True, slots=True)
class Fusions:
    """Candidates: two objects of a frame that become one of the next; rows of the detections."""

    parents: Ints
    """(n, 2), ascending."""
    child: Ints
    gain: Floats
    """Below 0 for what helps."""

    def __len__(self) -> int:
        return len(self.child)

    def some(self, rows: Bools) -> Fusions:
        """Those of some rows."""
        return Fusions(self.parents[rows], self.child[rows], self.gain[rows])


def none() -> Fusions:
    """No fusions."""
    return Fusions(np.zeros((0, 2), np.int64), np.zeros(0, np.int64), np.zeros(0))


def sought(
    d: Detections, n: Nodes, model: Model, reach: Reach, motion: Motion, frames: Iterable[int]
) -> Fusions:
    """Fusions of objects of `frames` that are worth it."""
    if model.merges <= 0:
        return none()
    found = [none(), *(_of_frame(d, n, model, reach, motion, t) for t in frames)]
    return Fusions(*(np.concatenate([getattr(f, k) for f in found]) for k in Fusions.__slots__))


def _of_frame(
    d: Detections, n: Nodes, model: Model, reach: Reach, motion: Motion, frame: int
) -> Fusions:
    a, b = of_frame(d, frame), of_frame(d, frame + 1)
    ahead = d.position[a] + motion.ahead(a)
    j, i = near(d.position[b], ahead, reach.division, reach.neighbours, both=False)
    child, one, two = pairs(b[j], a[i])
    p, q = d.position[one], d.position[two]
    logs = None if n.logs is None else (n.logs[one], n.logs[two])
    balance = model.sizes.balance if model.sizes else 0.0
    way = (motion.ahead(one) + motion.ahead(two)) / 2
    centre = costs.middle(p, q, balance, logs) + way
    middle = ((d.position[child] - centre) ** 2).sum(1)
    apart = np.sqrt(((p - q) ** 2).sum(1))
    cost = model.middle.cost(middle, model.dimensions) - math.log(model.merges)
    # Who the other one is: of all around, one of this distance.
    cost = cost + costs.apart(model, apart) + math.log(model.density)
    if logs is not None and n.logs is not None and model.sizes is not None:
        whole = np.logaddexp(*logs) - n.logs[child]
        cost = cost + model.sizes.whole.cost(whole**2)
    if d.overlaps is not None and d.size is not None and model.overlap is not None:
        shared = d.overlaps.shared(one, child) + d.overlaps.shared(two, child)
        sizes = d.size[one] + d.size[two] + d.size[child]
        cost = cost + model.overlap.cost(union_share(shared, sizes))
    gain = cost - n.disappear[one] - n.disappear[two] - n.appear[child]
    return Fusions(np.c_[one, two], child, np.asarray(gain)).some(np.asarray(gain < 0))


def useful(f: Fusions, c: Candidates, size: int) -> Fusions:
    """Leave out those that are worse than one of both having moved and the other being gone."""
    if not len(f) or not len(c.source):
        return f
    key = c.source * size + c.target
    order = np.argsort(key)
    best = np.zeros(len(f))
    for k in (0, 1):
        wanted = f.parents[:, k] * size + f.child
        place = order[np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)]
        best = np.minimum(best, np.where(key[place] == wanted, c.gain[place], 0))
    return f.some(f.gain < best)


def open_to(f: Fusions, bans: Bans | None) -> Fusions:
    """Fusions that corrections, if there are any, leave open."""
    if bans is None:
        return f
    size = len(bans.out)
    unlinked = bans.pairs[:, 0] * size + bans.pairs[:, 1]
    shut = bans.out[f.parents].any(axis=1) | bans.into[f.child]
    shut |= np.isin(f.parents * size + f.child[:, None], unlinked).any(axis=1)
    return f.some(~shut)
