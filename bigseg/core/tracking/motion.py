"""Where objects are going: what links tell of the next step, and the drift of whole images.

A link from i to j is expected to go on as i came, and as j will go on, and as the neighbours of
both go. How much each of these tells is different in every series (cells in a tissue go with their
neighbours, single cells on glass on their own way), so their weights are fitted to the series.
The link itself is never asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from bigseg.core.tracking.blocks import Links
from bigseg.core.tracking.detections import Detections, Floats, Ints

NEIGHBOURS = 8
"""Whose median displacement is the flow around an object."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
FEWEST = 50
"""Fewer links than this have no weights fitted."""
WORTH = 0.98
"""Weights are only used if they shorten the usual rest of a step to this share of it."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How much of its own way, and of its neighbours', a link keeps, by what is known of it.

    Of a link of which neither end, one end, or both have another link.
    """

    own: tuple[float, float, float] = (0.0, 0.0, 0.0)
    flow: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rest: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """How much longer the rest of a step is than where both are known."""

    @property
    def useful(self) -> bool:
        """Whether anything is predicted at all."""
        return any(self.own) or any(self.flow)


@dataclass(frozen=True, slots=True)
class Motion:
    """What links tell of each detection; nan where they tell nothing."""

    came: Floats
    """(n, 3) displacement into it, per frame."""
    went: Floats
    """(n, 3) displacement from it, per frame."""
    flow_out: Floats
    """(n, 3) of its neighbours, from this frame."""
    flow_in: Floats
    """(n, 3) of its neighbours, into this frame."""
    weights: Weights

    def between(self, source: Ints, target: Ints) -> tuple[Floats, Floats]:
        """Displacement per frame that links are expected to have, and how uncertain each is."""
        if not self.weights.useful:
            return np.zeros((len(source), 3)), np.ones(len(source))
        came, went = self.came[source], self.went[target]
        before, after = ~np.isnan(came[:, 0]), ~np.isnan(went[:, 0])
        known = before.astype(np.int64) + after
        own = _sum(came, went) / np.maximum(known, 1)[:, None]
        flow = _mean(self.flow_out[source], self.flow_in[target])
        return self._weighted(known, own, flow), np.asarray(self.weights.rest)[known]

    def ahead(self, source: Ints) -> Floats:
        """Displacement from a detection, if nothing is known of where it leads."""
        if not self.weights.useful:
            return np.zeros((len(source), 3))
        came = self.came[source]
        known = (~np.isnan(came[:, 0])).astype(np.int64)
        return self._weighted(known, np.nan_to_num(came), np.nan_to_num(self.flow_out[source]))

    def behind(self, target: Ints) -> Floats:
        """Displacement into a detection, if nothing is known of where it comes from."""
        if not self.weights.useful:
            return np.zeros((len(target), 3))
        went = self.went[target]
        known = (~np.isnan(went[:, 0])).astype(np.int64)
        return self._weighted(known, np.nan_to_num(went), np.nan_to_num(self.flow_in[target]))

    def _weighted(self, known: Ints, own: Floats, flow: Floats) -> Floats:
        a, b = np.asarray(self.weights.own)[known], np.asarray(self.weights.flow)[known]
        return a[:, None] * own + b[:, None] * flow


def _sum(a: Floats, b: Floats) -> Floats:
    return np.nan_to_num(a) + np.nan_to_num(b)


def _mean(a: Floats, b: Floats) -> Floats:
    known = (~np.isnan(a[:, :1])).astype(np.int64) + ~np.isnan(b[:, :1])
    return _sum(a, b) / np.maximum(known, 1)


def still(d: Detections) -> Motion:
    """Nothing is known: everything stays where it is."""
    unknown = np.full((len(d), 3), np.nan)
    return Motion(unknown, unknown, unknown, unknown, Weights())


def seen(d: Detections, links: Links, weights: Weights) -> Motion:
    """Gather displacements along links, and around each detection.

    Divisions tell nothing: daughters jump.
    """
    moved = ~(links.division | links.merging)
    i, j = links.source[moved], links.target[moved]
    step = (d.position[j] - d.position[i]) / (d.frame[j] - d.frame[i])[:, None]
    came, went = np.full((len(d), 3), np.nan), np.full((len(d), 3), np.nan)
    came[j], went[i] = step, step
    if not any(weights.flow):
        unknown = np.full((len(d), 3), np.nan)
        return Motion(came, went, unknown, unknown, weights)
    return Motion(came, went, _flow(d, went), _flow(d, came), weights)


def _flow(d: Detections, step: Floats) -> Floats:
    """Median displacement of the nearest others of the frame, each frame by itself."""
    flow = np.full(step.shape, np.nan)
    starts = d.starts
    for first, last in pairwise(starts):
        points, known = d.position[first:last], ~np.isnan(step[first:last, 0])
        count = int(known.sum())
        if count < 3:
            continue
        k = min(NEIGHBOURS + 1, count)
        _, near = cKDTree(points[known]).query(points, k=k)
        others = step[first:last][known][near]
        # Who is its own nearest neighbour is left out.
        own = np.flatnonzero(known)[near] == np.arange(last - first)[:, None]
        others[own] = np.nan
        flow[first:last] = np.nanmedian(others, axis=1)
    return flow


def learn(d: Detections, links: Links, velocity: float = 1.0) -> Motion:
    """See where everything goes, with the weights that leave least of the steps of these links.

    Parameters
    ----------
    d, links
        Detections and links among them.
    velocity
        Most of its own way that an object may keep; 0 leaves the flow around it only.
    """
    m = seen(d, links, Weights(flow=(1.0, 1.0, 1.0)))
    near = ~(links.division | links.merging) & (d.frame[links.target] - d.frame[links.source] == 1)
    i, j = links.source[near], links.target[near]
    columns = (m.came[i], m.went[j], m.flow_out[i], m.flow_in[j])
    told = ~np.isnan(np.stack([c[:, 0] for c in columns])).any(0)
    if told.sum() < FEWEST:
        return replace(m, weights=Weights())
    came, went, out, into = (c[told] for c in columns)
    step = d.position[j[told]] - d.position[i[told]]
    flow = (out + into) / 2
    ways = (np.zeros_like(came), came, (came + went) / 2)
    found = [_best(step, w, flow, velocity if k else 0.0) for k, w in enumerate(ways)]
    if found[2][2] > WORTH * _rest(step):
        return replace(m, weights=Weights())
    own, neighbours, rest = zip(*found, strict=True)
    shares = tuple(max(r / rest[2], 1.0) for r in rest)
    return replace(m, weights=Weights(own, neighbours, (shares[0], shares[1], 1.0)))


def _best(step: Floats, own: Floats, flow: Floats, most: float) -> tuple[float, float, float]:
    """Weights of own way (`most` at most) and flow that leave least, and what they leave."""
    pairs = [(a, b) for a in SHARES for b in SHARES if a + b <= 1 and a <= most]
    return min(
        ((a, b, _rest(step - a * own - b * flow)) for a, b in pairs), key=lambda found: found[2]
    )


def _rest(step: Floats) -> float:
    """The usual length, by the mean of logarithms: neither long nor short ones rule."""
    return float(np.exp(np.log(np.maximum((step**2).sum(1), 1e-12)).mean() / 2))
