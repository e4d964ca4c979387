"""The numbers of the story (`costs.Model`) from the series itself, or from links that are known.

First guesses come from objects that are each other's nearest in the next frame. Then links and
numbers are found in turn: link with what is known, count and fit (`fit`), link again.
Every share starts from a weak belief (`BELIEF` objects' worth), so that a short series without a
division does not prove that there are none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bigseg.core.tracking import costs, rivals
from bigseg.core.tracking.blocks import Links
from bigseg.core.tracking.costs import TENTHS, Model, Overlap, Sizes, Spread
from bigseg.core.tracking.detections import Bools, Detections, Floats, Ints
from bigseg.core.tracking.motion import Motion
from bigseg.core.tracking.overlaps import mutual, union_share

BELIEF = 50.0
"""How many observations a first guess of a share counts for."""
GUESS = {
    "divides": 0.01,
    "merges": 0.01,
    "appears": 0.01,
    "disappears": 0.01,
    "missed": 0.01,
    "false": 0.001,
}
ODDS = np.linspace(-2, 2, TENTHS)
"""First guess of the log-odds that objects belong together that overlap by each tenth."""
APART = 0.1
"""First guess of the share of links that do not overlap."""
FEW_OVERLAPS = 200
"""Fewer links than this do not tell how links overlap: one jump of the image would rule."""
TAILS = (1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 30.0)
UNSEEN_MIDDLE, UNSEEN_SEPARATION = 1.5, 1.25
"""How much wider divisions are spread than those that were found: the odd ones are not found, and
would never be if spreads were fitted to the others alone. Chosen on the epidermis and C2C12."""
_BALANCES = (0.0, 0.5, 1.0)
ASKED = 2000
"""How many objects of a frame are asked before anything is linked."""
FEW = 10
"""Fewer observations than this do not change a spread."""


@dataclass(frozen=True, slots=True)
class Known:
    """Links taken for true: rows of detections."""

    source: Ints
    target: Ints
    mother: Ints
    daughters: Ints
    parents: Ints
    """Of those that became one."""
    child: Ints
    real: Bools


def known(links: Links, real: Bools) -> Known:
    """Sort links by kind."""
    merging = links.merging
    moved, divided = ~(links.division | merging), np.flatnonzero(links.division)
    fused = np.flatnonzero(merging)
    fused = fused[np.argsort(links.target[fused], kind="stable")]
    divided = divided[np.lexsort((links.target[divided], links.source[divided]))]
    return Known(
        links.source[moved],
        links.target[moved],
        links.source[divided][::2],
        links.target[divided].reshape(-1, 2),
        links.source[fused],
        links.target[fused],
        real,
    )


def first(d: Detections, gap: int) -> Model:
    """Guess the numbers before anything is linked.

    Parameters
    ----------
    d
        Detections of at least one frame.
    gap
        Most frames that a link spans.
    """
    dimensions = d.dimensions
    d = rivals.unrivalled(d)
    per_volume, spacing = density(d, dimensions)
    steps, overlap = _first_steps(d)
    scale = _median_scale(steps, dimensions) if len(steps) >= FEW else spacing / 4
    scale = max(scale, spacing * 1e-3)
    return Model(
        dimensions=dimensions,
        density=per_volume,
        steps=tuple(Spread(scale * math.sqrt(k)) for k in range(1, gap + 1)),
        middle=Spread(scale * 1.5),
        separation=(math.log(spacing), 0.5),
        appears_at_border=2 * GUESS["appears"],
        disappears_at_border=2 * GUESS["disappears"],
        sizes=_first_sizes(d),
        brightness=_first_brightness(d),
        divides=GUESS["divides"],
        appears=GUESS["appears"],
        disappears=GUESS["disappears"],
        missed=GUESS["missed"],
        false=GUESS["false"],
        overlap=overlap,
    )


def _first_sizes(d: Detections) -> Sizes | None:
    if d.size is None or not len(d):
        return None
    mean, trend, deviation = _trend(np.log(d.size), d.frame, 0.05)
    return Sizes(Spread(0.2), Spread(0.3), 0.0, Spread(0.3), 0.5, mean, trend, deviation)


def _first_brightness(d: Detections) -> Sizes | None:
    if d.intensity is None or not len(d):
        return None
    # Images may have an offset, so that nobody knows how much is much.
    mean, trend, deviation = _trend(np.log(d.intensity), d.frame, 1e-3)
    like = Spread(deviation)
    return Sizes(like, like, math.log(2), like, 0.0, mean, trend, deviation)


def _first_steps(d: Detections) -> tuple[Floats, Overlap | None]:
    """Squared steps of what are probably links, and how these overlap, if that is known.

    Where outlines overlap, probable are those that are each other's most alike: centres of long
    thin objects are often nearest to those of others.
    """
    if d.overlaps is None or d.size is None:
        return _mutual_steps(d), None
    i, j = mutual(d.overlaps, d.size)
    alike = union_share(d.overlaps.shared(i, j), d.size[i] + d.size[j])
    overlap = _overlap(d, np.ones(len(d), np.bool_), (i, j), alike)
    if overlap is None:
        return _mutual_steps(d), None
    return ((d.position[j] - d.position[i]) ** 2).sum(1), overlap


def density(d: Detections, dimensions: int) -> tuple[float, float]:
    """Objects per volume where objects are, and the usual distance to the nearest."""
    ball = math.pi ** (dimensions / 2) / math.gamma(dimensions / 2 + 1)
    found, nearest = [], []
    for t in _some(d.frames, 50):
        points = d.position[d.starts[t] : d.starts[t + 1]]
        k = min(6, len(points) - 1)
        if k >= 1:
            distance = cKDTree(points).query(points[_some(len(points), ASKED)], k=k + 1)[0]
            found.append(k / (ball * np.maximum(distance[:, k], 1e-12) ** dimensions))
            nearest.append(distance[:, 1])
    if not found:
        extent = (float(np.ptp(d.position, axis=0).max()) if len(d) else 0.0) or 1.0
        return 1 / (ball * extent**dimensions), extent
    spacing = float(np.median(np.concatenate(nearest)))
    share = float(np.median(np.concatenate(found)))
    if spacing <= 0:
        spacing = (1 / (ball * share)) ** (1 / dimensions)
    return share, spacing


def _some(count: int, most: int) -> Ints:
    """At most `most` numbers below `count`, evenly spread."""
    if count < 1:
        return np.zeros(0, np.int64)
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _mutual_steps(d: Detections) -> Floats:
    """Squared distances of objects that are each other's nearest in successive frames."""
    found = []
    for t in _some(d.frames - 1, 50):
        a = d.position[d.starts[t] : d.starts[t + 1]]
        b = d.position[d.starts[t + 1] : d.starts[t + 2]]
        if len(a) and len(b):
            asked = _some(len(a), ASKED)
            distance, j = cKDTree(b).query(a[asked])
            _, i = cKDTree(a).query(b[j])
            found.append(distance[i == asked] ** 2)
    return np.concatenate(found) if found else np.zeros(0)


def _median_scale(squared: Floats, dimensions: int) -> float:
    """Deviation per axis whose squared lengths would have this median, roughly, if normal."""
    return math.sqrt(float(np.median(squared)) / (dimensions - 2 / 3 + 4 / (27 * dimensions)))


def _trend(logs: Floats, frame: NDArray[np.int32], least: float) -> tuple[float, float, float]:
    centred = frame - frame.mean()
    square = float((centred**2).sum())
    trend = float((centred * logs).sum() / square) if square else 0.0
    mean = float(logs.mean() - trend * frame.mean())
    rest = logs - mean - trend * frame
    return mean, trend, max(float(np.median(np.abs(rest))) * 1.4826, least)


def spread(squared: Floats, dimensions: int, before: Spread, least: float = 0.0) -> Spread:
    """Fit a t distribution about 0 to squared distances: scale and tail of most likelihood.

    Few observations are drawn to `before`.
    """
    if len(squared) < FEW:
        return before
    best, found = math.inf, before
    guess = max(_median_scale(squared, dimensions), least, 1e-12)
    for tail in TAILS:
        scale = guess
        for _ in range(30):
            weight = (tail + dimensions) / (tail + squared / scale**2)
            scale = max(math.sqrt(float((weight * squared).mean()) / dimensions), least, 1e-12)
        candidate = Spread(scale, tail)
        cost = float(candidate.cost(squared, dimensions).sum())
        if cost < best:
            best, found = cost, candidate
    share = len(squared) / (len(squared) + FEW)
    scale = math.exp(share * math.log(found.scale) + (1 - share) * math.log(before.scale))
    return Spread(scale, share * found.tail + (1 - share) * before.tail)


def fit(d: Detections, known: Known, motion: Motion, before: Model) -> Model:
    """Count and fit all numbers from links.

    Parameters
    ----------
    d, known
        The detections, and links among them.
    motion
        What it predicts.
    before
        Beliefs, which few observations change little.
    """
    counts = _Counts.of(d, known)
    steps, middle, separation, balance = _distances(d, known, motion, before)
    at_border = np.zeros(len(d), np.bool_) if d.border is None else d.border
    rate = counts.share
    inside = ~at_border
    # Another drawing of an object that is real is neither false nor an object.
    judged = ~rivals.explained(known.real, d.conflicts)
    return Model(
        dimensions=before.dimensions,
        density=before.density,
        steps=steps,
        middle=middle,
        separation=separation,
        divides=rate(counts.divided, counts.before_last, "divides") if before.divides else 0.0,
        appears=rate(counts.appeared, counts.after_first & inside, "appears"),
        disappears=rate(counts.gone, counts.before_last & inside, "disappears"),
        appears_at_border=rate(counts.appeared, counts.after_first & at_border, "appears", 2),
        disappears_at_border=rate(counts.gone, counts.before_last & at_border, "disappears", 2),
        missed=counts.missed(d, known),
        false=rate(~known.real, judged, "false"),
        merges=rate(counts.merged, counts.after_first, "merges") if before.merges else 0.0,
        sizes=_sizes(d, d.size, known, before.sizes, balance),
        brightness=_sizes(d, d.intensity, known, before.brightness, 0.0),
        overlap=_overlaps(d, known),
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    divided: Bools
    merged: Bools
    appeared: Bools
    gone: Bools
    after_first: Bools
    before_last: Bools

    @classmethod
    def of(cls, d: Detections, k: Known) -> _Counts:
        into, out, divided, merged = (np.zeros(len(d), np.bool_) for _ in range(4))
        into[k.target] = into[k.daughters.ravel()] = into[k.child] = True
        out[k.source] = out[k.mother] = out[k.parents] = True
        divided[k.mother] = merged[k.child] = True
        later = (d.frame > d.frame.min()) & k.real
        earlier = (d.frame < d.frame.max()) & k.real
        return cls(divided, merged, ~into, ~out, later, earlier)

    @staticmethod
    def share(event: Bools, among: Bools, name: str, factor: float = 1) -> float:
        prior = GUESS[name] * factor
        share = ((event & among).sum() + BELIEF * prior) / (among.sum() + BELIEF)
        return float(min(share, 0.3))

    @staticmethod
    def missed(d: Detections, k: Known) -> float:
        skipped = int((d.frame[k.target] - d.frame[k.source] - 1).sum())
        prior = BELIEF * GUESS["missed"]
        return float(min((skipped + prior) / (len(k.source) + BELIEF), 0.3))


def _distances(
    d: Detections, k: Known, motion: Motion, before: Model
) -> tuple[tuple[Spread, ...], Spread, tuple[float, float], float]:
    dims = before.dimensions
    span = d.frame[k.target] - d.frame[k.source]
    step = d.position[k.target] - d.position[k.source]
    way, doubt = motion.between(k.source, k.target)
    squared = ((step - span[:, None] * way) ** 2).sum(1) / doubt**2
    least = before.steps[0].scale * 1e-2
    steps = [spread(squared[span == 1], dims, before.steps[0], least)]
    for frames in range(2, before.gap + 1):
        usual = Spread(steps[0].scale * math.sqrt(frames), steps[0].tail)
        steps.append(spread(squared[span == frames], dims, usual, least))
    one, two = d.position[k.daughters[:, 0]], d.position[k.daughters[:, 1]]
    span = (d.frame[k.daughters].mean(1) - d.frame[k.mother])[:, None]
    centre = d.position[k.mother] + span * motion.ahead(k.mother)
    balances = _BALANCES if d.size is not None else (0.0,)
    rests = {b: _off(d, k, b, centre) / span[:, 0] for b in balances}
    balance = min(rests, key=lambda b: float(np.log(np.maximum(rests[b], 1e-12)).sum()))
    middle = rests[balance]
    usual = Spread(steps[0].scale * 1.5, steps[0].tail)
    apart = np.log(np.maximum(np.sqrt(((one - two) ** 2).sum(1)), 1e-12))
    near = spread(middle, dims, usual, least)
    mean, deviation = _normal(apart, before.separation)
    near = Spread(near.scale * UNSEEN_MIDDLE, near.tail)
    return tuple(steps), near, (mean, deviation * UNSEEN_SEPARATION), balance


def _off(d: Detections, k: Known, balance: float, centre: Floats) -> Floats:
    """Squared distance of the middle of daughters from where it is expected."""
    one, two = k.daughters.T
    logs = None if d.size is None else (np.log(d.size[one]), np.log(d.size[two]))
    between = costs.middle(d.position[one], d.position[two], balance, logs)
    return np.asarray(((between - centre) ** 2).sum(1))


def _normal(x: Floats, before: tuple[float, float]) -> tuple[float, float]:
    if len(x) < 2:
        return before
    share = len(x) / (len(x) + FEW)
    mean = share * float(np.mean(x)) + (1 - share) * before[0]
    variance = share * float(np.var(x)) + (1 - share) * before[1] ** 2
    return mean, max(math.sqrt(variance), 0.05)


def _sizes(
    d: Detections, values: Floats | None, k: Known, was: Sizes | None, balance: float
) -> Sizes | None:
    if values is None or was is None:
        return None
    logs = np.log(values)
    span = d.frame[k.target] - d.frame[k.source]
    step = (logs[k.target] - logs[k.source]) ** 2 / np.maximum(span, 1)
    a, b = logs[k.daughters[:, 0]], logs[k.daughters[:, 1]]
    whole = np.logaddexp(a, b) - logs[k.mother]
    share = len(whole) / (len(whole) + FEW)
    growth = was.growth
    if len(whole):
        growth = share * float(np.median(whole)) + (1 - share) * growth
    least = min(was.deviation / 10, 0.01)
    return Sizes(
        step=spread(step, 1, was.step, least / 2),
        whole=spread((whole - growth) ** 2, 1, was.whole, least),
        growth=growth,
        share=spread((a - b) ** 2, 1, was.share, least),
        balance=balance if len(whole) >= FEW else was.balance,
        mean=was.mean,
        trend=was.trend,
        deviation=was.deviation,
    )


def _overlaps(d: Detections, k: Known) -> Overlap | None:
    """How links to the next frame overlap, a mother with both of her daughters."""
    if d.overlaps is None or d.size is None:
        return None
    next_to = d.frame[k.target] - d.frame[k.source] == 1
    i, j = k.source[next_to], k.target[next_to]
    moved = union_share(d.overlaps.shared(i, j), d.size[i] + d.size[j])
    born = (d.frame[k.daughters] - d.frame[k.mother][:, None] == 1).all(1)
    m, (a, b) = k.mother[born], k.daughters[born].T
    both = d.overlaps.shared(m, a) + d.overlaps.shared(m, b)
    alike = np.r_[moved, union_share(both, d.size[m] + d.size[a] + d.size[b])]
    return _overlap(d, k.real, (np.r_[i, m, m], np.r_[j, a, b]), alike)


def _overlap(d: Detections, real: Bools, links: tuple[Ints, Ints], alike: Floats) -> Overlap | None:
    """Log-odds of links among all real objects that overlap so much.

    Of what does not overlap at all, the share of links that do not. More never tells against a
    link.
    """
    o, n = d.overlaps, len(d)
    if o is None or d.size is None or len(alike) < FEW_OVERLAPS:
        return None
    other = ~np.isin(o.source * n + o.target, links[0] * n + links[1])
    other &= real[o.source] & real[o.target]
    i, j = o.source[other], o.target[other]
    others = union_share(o.voxels[other], d.size[i] + d.size[j])
    edges = np.linspace(0, 1 + 1e-9, TENTHS + 1)
    believed = FEW / TENTHS
    found = np.histogram(alike[alike > 0], edges)[0] + believed
    odds = np.log(found / (np.histogram(others, edges)[0] + believed * np.exp(-ODDS)))
    apart = ((alike == 0).sum() + FEW * APART) / (len(alike) + FEW)
    return Overlap(tuple(np.maximum.accumulate(np.r_[math.log(apart), odds]).tolist()))
