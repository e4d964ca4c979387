"""What links cost: minus the log-likelihood of what they claim. The one place for all costs.

Everything is told by one generative story. Of the objects of a frame a share *divides*, a share
*disappears*, the others go on; a share of all is *missed* by the detector in a frame; new ones
*appear*, and *false* detections come, anywhere among the others (at `density` objects per unit
volume). Who goes on is displaced by a step, which is heavy-tailed (a multivariate t distribution);
its size, and its brightness where there is an image, change by factors that are heavy-tailed
too. Who divides puts two daughters on
opposite sides of where it would have been: their *middle* is displaced like a step, their
*separation* is log-normal and of any direction, their sizes add up to the mother's.

    move       -log P(goes on) - log f(displacement) - log f(size ratio) - overlap
    gap        the same, with as many times -log P(missed) as frames lie between
    division   -log P(divides) - log f(middle) - log f(separation) - log f(sum) - log f(share)
               - overlap of both daughters with the mother
    appear     -log P(appears) - log density - log f(size among all)
    disappear  -log P(disappears)
    false      -log P(false) - log density - log f(size among all) + log-odds of the score
               + CAUTION
    rival      -log density

Several segmentations may have drawn the same frame. A drawing is a *rival* if another one that it
competes with is real: that explains it, so it is not false, and it costs its place only. Two
objects then cost as many densities as one that covers both, and how they go on decides. What a
drawing explains besides itself, as far as it covers it, is its `Detections.claim`; where none of
several is real, they cost about what one false detection does.

Where outlines are known, *overlap* is `DEPENDENT` times the log-odds that objects that are so much
alike (intersection over union, drift taken back) belong together, as they do in this series. It is
no density of its own, as it tells much of what displacement tells: only a share of it counts.

As every object is explained exactly once as a start (moved to, born, appeared, false or a rival),
densities of the same dimension are compared whatever is chosen, so that costs need no weights. All
numbers of the story are in `Model`; `rates.estimate` gets them from the series itself, `fit` from
known links.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.detections import Detections, Floats
from bigseg.core.tracking.motion import Weights

CAUTION = math.log(10)
"""What rejecting a detection costs besides: to lose a real one is ten times worse than to keep a
false one (as in the challenge's TRA)."""

DEPENDENT = 0.5
"""Share of what overlap tells that displacement and sizes have not told; measured, see
`docs/explanation/how-tracking-works.md`."""
TENTHS = 10


Drift = tuple[tuple[float, float, float], ...]
"""Where the image of each frame is, less where that of frame 0 is: z, y, x, in physical units."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A multivariate t distribution about 0: nearly normal, with heavier tails."""

    scale: float
    """In the unit of the quantity."""
    tail: float = 4.0
    """Degrees of freedom: few are heavy tails."""

    def cost(self, squared: Floats, dimensions: int = 1) -> Floats:
        """Minus the log-density at squared distances from the centre."""
        v, d = self.tail, dimensions
        constant = (
            math.lgamma(v / 2)
            - math.lgamma((v + d) / 2)
            + d / 2 * math.log(v * math.pi)
            + d * math.log(self.scale)
        )
        return constant + (v + d) / 2 * np.log1p(squared / (v * self.scale**2))

    def reach(self, cost: float, dimensions: int) -> float:
        """Distance at which the density costs `cost`; 0 where it costs more even at the centre."""
        room = cost - float(self.cost(np.zeros(1), dimensions)[0])
        if room <= 0:
            return 0.0
        power = min(2 * room / (self.tail + dimensions), 60.0)
        return self.scale * math.sqrt(self.tail * math.expm1(power))


@dataclass(frozen=True, slots=True)
class Sizes:
    """How sizes change, or brightness; all of logarithms."""

    step: Spread
    """Of size from one frame to the next."""
    whole: Spread
    """Of the sum of the daughters over the mother."""
    growth: float
    """Where that is centred."""
    share: Spread
    """Of one daughter over the other."""
    balance: float
    """Whether the middle of two daughters is that of their sizes (1), or half way (0)."""
    mean: float
    """Of the sizes of all objects, in frame 0."""
    trend: float
    """What it changes by per frame."""
    deviation: float
    """How far sizes of one frame lie apart."""

    def move(self, growth: Floats, frames: int) -> Floats:
        """Cost of a change over some frames."""
        return self.step.cost(growth**2 / frames) + math.log(frames) / 2

    def family(self, mother: Floats, a: Floats, b: Floats) -> Floats:
        """Cost of two daughters of a mother."""
        whole = np.logaddexp(a, b) - mother - self.growth
        return self.whole.cost(whole**2) + self.share.cost((a - b) ** 2)

    def among_all(self, logs: Floats, frame: NDArray[np.int32]) -> Floats:
        """Cost of a size among all sizes of its frame."""
        z = (logs - self.mean - self.trend * frame) / self.deviation
        return z**2 / 2 + math.log(self.deviation * math.sqrt(2 * math.pi))


@dataclass(frozen=True, slots=True)
class Overlap:
    """How objects of successive frames that belong together overlap, and others do."""

    odds: tuple[float, ...]
    """Log-odds that two belong together by their intersection over union: 0, and each tenth."""

    def cost(self, alike: Floats) -> Floats:
        """Cost of links between objects that are so much `alike`: intersection over union."""
        knots = np.r_[0.0, (np.arange(TENTHS) + 0.5) / TENTHS]
        return -DEPENDENT * np.interp(alike, knots, self.odds)


@dataclass(frozen=True, slots=True)
class Model:
    """The numbers of the story; lengths in physical units, shares per object and frame."""

    dimensions: int
    density: float
    """Objects per unit volume (area in 2D) where objects are."""
    steps: tuple[Spread, ...]
    """Of the displacement over 1, 2, ... frames, less what motion predicts."""
    middle: Spread
    """Of the middle of two daughters about where their mother would be."""
    separation: tuple[float, float]
    """Mean and deviation of the logarithm of the daughters' distance."""
    divides: float
    appears: float
    disappears: float
    appears_at_border: float
    disappears_at_border: float
    missed: float
    false: float
    merges: float = 0.0
    """Share of objects of which two became one; 0: none do."""
    sizes: Sizes | None = None
    brightness: Sizes | None = None
    """How mean intensities change, likewise."""
    overlap: Overlap | None = None
    motion: Weights = field(default_factory=Weights)
    """What the next step is predicted from."""
    drift: Drift = ()
    """Of the image, if it drifts; positions are meant less this."""

    @property
    def gap(self) -> int:
        """Most frames that a link spans."""
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class Nodes:
    """What is known of each detection before links are: what it costs to start, end or be false."""

    appear: Floats
    disappear: Floats
    false: Floats
    logs: Floats | None
    """Logarithm of the size."""
    lights: Floats | None = None
    """Logarithm of the mean intensity."""


@dataclass(frozen=True, slots=True)
class Change:
    """What links claim besides a displacement, each of (n,) links; None where nobody knows."""

    growth: Floats | None = None
    """Difference of the logarithms of the sizes."""
    brightening: Floats | None = None
    """Difference of the logarithms of the mean intensities."""
    alike: Floats | None = None
    """Intersection over union, drift taken back."""


def nodes(d: Detections, model: Model, frames: tuple[int, int] | None = None) -> Nodes:
    """Costs of each detection by itself.

    Parameters
    ----------
    d, model
        The detections, or a part of them, and the story.
    frames
        First and last frame of the series, in which nothing appears or disappears: those of `d` if
        not given.
    """
    at_border = np.zeros(len(d), np.bool_) if d.border is None else d.border
    place = np.full(len(d), -math.log(model.density))
    anywhere, logs, lights = place, None, None
    if model.sizes is not None and d.size is not None:
        logs = np.log(d.size)
        anywhere = anywhere + model.sizes.among_all(logs, d.frame)
    if model.brightness is not None and d.intensity is not None:
        lights = np.log(d.intensity)
        anywhere = anywhere + model.brightness.among_all(lights, d.frame)
    appear = anywhere - np.log(np.where(at_border, model.appears_at_border, model.appears))
    disappear = -np.log(np.where(at_border, model.disappears_at_border, model.disappears))
    first, last = frames or (0, d.frames - 1)
    appear[d.frame == first] = anywhere[d.frame == first]
    disappear[d.frame == last] = 0
    false = anywhere - math.log(model.false) + CAUTION
    if d.claim is not None and d.conflicts is not None:
        # What keeps an object saves what its rivals would cost as false ones, too.
        rival = np.unique(d.conflicts[:, 0])
        false[rival] = place[rival] + d.claim[rival] * (CAUTION - math.log(model.false))
    if d.score is not None:
        false = false + np.log(d.score / (1 - d.score))
    return Nodes(appear, disappear, false, logs, lights)


def moves(model: Model, squared: Floats, frames: int, doubt: Floats, change: Change) -> Floats:
    """Cost of going on over `frames` frames.

    Parameters
    ----------
    squared
        (n,) squared distance from the predicted position.
    doubt
        (n,) how much wider the step is spread, as its prediction is less certain.
    change
        What else is different.
    """
    stays = 1 - model.divides - model.disappears - model.merges
    cost = model.steps[frames - 1].cost(squared / doubt**2, model.dimensions)
    cost = cost + model.dimensions * np.log(doubt) - frames * math.log(stays)
    if frames > 1:
        cost = cost - (frames - 1) * math.log(model.missed)
    if change.growth is not None and model.sizes is not None:
        cost = cost + model.sizes.move(change.growth, frames)
    if change.brightening is not None and model.brightness is not None:
        cost = cost + model.brightness.move(change.brightening, frames)
    if change.alike is not None and model.overlap is not None:
        cost = cost + model.overlap.cost(change.alike)
    return np.asarray(cost)


Family = tuple[Floats, Floats, Floats]
"""Of mothers, and each daughter."""


def divisions(
    model: Model,
    middle: Floats,
    separation: Floats,
    logs: Family | None = None,
    lights: Family | None = None,
    alike: Floats | None = None,
) -> Floats:
    """Cost of a division.

    Parameters
    ----------
    middle
        (n,) squared distance of the middle of the daughters from the mother's predicted position.
    separation
        (n,) distance between the daughters.
    logs, lights
        Logarithms of their sizes, and of their mean intensities.
    alike
        (n,) intersection over union of the mother and both daughters together.
    """
    cost = model.middle.cost(middle, model.dimensions) - math.log(model.divides)
    cost = cost + apart(model, separation)
    if logs is not None and model.sizes is not None:
        cost = cost + model.sizes.family(*logs)
    if lights is not None and model.brightness is not None:
        cost = cost + model.brightness.family(*lights)
    if alike is not None and model.overlap is not None:
        cost = cost + model.overlap.cost(alike)
    return np.asarray(cost)


def middle(p: Floats, q: Floats, balance: float, logs: tuple[Floats, Floats] | None) -> Floats:
    """Where between two daughters their mother was: half way, or nearer to the larger one.

    Parameters
    ----------
    p, q
        (n, 3) positions.
    balance
        See `Sizes`.
    logs
        Logarithms of the sizes.
    """
    if logs is None:
        return (p + q) / 2
    share = balance / (1 + np.exp(logs[1] - logs[0])) + (1 - balance) / 2
    return share[:, None] * p + (1 - share[:, None]) * q


def apart(model: Model, separation: Floats) -> Floats:
    """Cost of where two daughters lie about their middle: log-normal distance, any direction.

    The pair has no order, so that each direction stands for its opposite as well.
    """
    mean, deviation = model.separation
    r = np.log(np.maximum(separation, 1e-9 * math.exp(mean)))
    d = model.dimensions
    sphere = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
    normal = (r - mean) ** 2 / (2 * deviation**2) + math.log(deviation * math.sqrt(2 * math.pi))
    return np.asarray(normal + d * r + sphere - math.log(2))
