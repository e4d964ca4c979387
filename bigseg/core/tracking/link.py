"""Links of a whole series, from its detections: what all else of tracking is for.

    drift = find_drift(detections)                      # of the image, from frame to frame
    detections = steady(detections, drift)
    model = learn(detections, settings)                 # the numbers of the story, from a sample
    parts = [link_part(detections, core, ...) for core in cores(...)]   # each by itself, anywhere
    links, dropped = blocks.stitch(parts)

`link` does all of it in one process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bigseg.core.tracking import (
    assign,
    blocks,
    candidates,
    costs,
    fusions,
    motion,
    program,
    rates,
    rivals,
)
from bigseg.core.tracking import drift as drifts
from bigseg.core.tracking.blocks import Core, Links
from bigseg.core.tracking.candidates import Candidates, Reach
from bigseg.core.tracking.costs import Drift, Model
from bigseg.core.tracking.detections import Bools, Detections, Ints, near_border
from bigseg.core.tracking.edits import Bans, allowed, certain
from bigseg.core.tracking.motion import Motion
from bigseg.errors import SpecError

MODES = ("global", "fast")
CROWDED = 3
"""How many times the sample may be exceeded before a part of each frame must do."""
LARGER = 5
"""How much longer, and larger, parts are in fast mode."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to link; the usual values are for all series alike."""

    mode: str = "global"
    """'global': the best links of all, by a linear program; 'fast': frame by frame."""
    gap: int = 2
    """Frames in which an object may be missed and still be linked."""
    divisions: bool = True
    """Whether objects divide."""
    merging: bool = False
    """Whether two objects may become one; in global mode only."""
    neighbours: int = 8
    """Most candidates of an object in another frame, from either side."""
    max_move: float | None = None
    """Farthest an object moves in a frame, in physical units; estimated if not given."""
    max_division: float | None = None
    """Farthest a daughter is from her mother; estimated if not given."""
    passes: int = 4
    """How often links and the numbers behind costs are found in turn."""
    refine: int = 1
    """How often everything is linked again with the motion that was seen, where that helps."""
    velocity: float = 0.0
    """How much of its own last and next step an object may keep, 0 to 1; measured: real cells do
    not keep it well enough to help, simulated ones do."""
    brightness: bool = False
    """Whether changes of brightness tell links, where it is known; measured: cells that divide
    change it too much for that."""
    sample: int = 30_000
    """Detections that those are estimated from."""
    core_frames: int = 10
    core_objects: int = 20_000
    """A part's own frames, and about how many detections."""
    seconds: float = 60.0
    """For an integer program, where a part needs one."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise SpecError(f"Mode '{self.mode}' is unknown; link in mode {' or '.join(MODES)}.")
        if self.merging and self.mode != "global":
            raise SpecError("Objects can only merge in global mode; the fast mode has no merging.")
        for name, least in (("gap", 0), ("neighbours", 1), ("passes", 1), ("core_frames", 1)):
            if getattr(self, name) < least:
                raise SpecError(f"{name} is {getattr(self, name)}; {least} is the least.")


@dataclass(frozen=True, slots=True)
class Part:
    """Links of a part, and how sure they are the best."""

    links: Links
    rejected: Ints
    """Rows of detections that the part owns and takes for false."""
    value: float
    """Sum of all gains of the part with its halo."""
    bound: float
    """No solution of it is below."""
    fractional: int
    """Variables that the linear program left between 0 and 1."""

    @property
    def gap(self) -> float:
        """How far the solution may be from the best, as a share; 1 where no bound is known."""
        if not np.isfinite(self.bound):
            return 1.0
        return max(self.value - self.bound, 0.0) / max(abs(self.bound), 1e-9)


@dataclass(frozen=True, slots=True)
class Linked:
    """What is known of a series once it is linked."""

    links: Links
    real: Bools
    """(n,) False for detections that were rejected."""
    model: Model
    reach: Reach
    parts: tuple[Part, ...]
    dropped: int
    """Links at faces of parts that disagreed."""


def link(d: Detections, settings: Settings | None = None) -> Linked:
    """Link all detections of a series.

    Parameters
    ----------
    d
        The detections, see `detections.gather`.
    settings
        How; the usual ones if not given.
    """
    settings = settings or Settings()
    d = bordered(d)
    drifted = find_drift(d)
    d = steady(d, drifted)
    model = replace(learn(d, settings), drift=drifted)
    found = [link_part(d, core, model, settings) for core in cores(d, settings)]
    links, dropped = blocks.stitch([p.links for p in found])
    real = np.ones(len(d), np.bool_)
    for part in found:
        real[part.rejected] = False
    links, real = settled(links, real, d)
    return Linked(links, real, model, reach_of(model, settings), tuple(found), dropped)


def settled(links: Links, real: Bools, d: Detections) -> tuple[Links, Bools]:
    """Links and real detections once no rivals are left that parts have chosen differently.

    Those with the links of most gain remain.
    """
    if d.conflicts is None:
        return links, real
    worth = np.zeros(len(d))
    for ends in (links.source, links.target):
        np.add.at(worth, ends, links.gain)
    keep = rivals.settled(real, worth, d.conflicts)
    left = keep[links.source] & keep[links.target]
    links = Links(links.source[left], links.target[left], links.division[left], links.gain[left])
    return blocks.stitch([links])[0], keep  # a division of which one daughter is left is none


def bordered(d: Detections) -> Detections:
    """Return detections that know which are at the border: if not told, near that of all of them.

    Objects come and go at the border of the image, so that it has rates of its own.
    """
    if d.border is not None or not len(d):
        return d
    scale = rates.first(d, 1).steps[0].scale
    return near_border(d, 3 * scale, d.position.min(0), d.position.max(0))


def cores(d: Detections, settings: Settings) -> list[Core]:
    """Return the parts of a series."""
    # Fast, what a part sees beyond its own would cost more than the rest.
    times = LARGER if settings.mode == "fast" else 1
    return blocks.split(d, times * settings.core_frames, times * settings.core_objects)


def learn(d: Detections, settings: Settings) -> Model:
    """Estimate the numbers of the story from the series, or a sample of it.

    Parameters
    ----------
    d
        Detections of the whole series, taken back by its drift, if it has one (`steady`).
    settings
        As for linking.
    """
    model = rates.first(d, settings.gap + 1)
    if not settings.brightness:
        model = replace(model, brightness=None)
    if not settings.divisions:
        model = replace(model, divides=0.0)
    if settings.merging:
        model = replace(model, merges=rates.GUESS["merges"])
    if not len(d):
        return model
    fast = settings.mode == "fast"
    d = sample(bordered(d), settings.sample // (3 if fast else 1))
    drift = motion.still(d)
    for _ in range(settings.passes):
        # With caution nothing would be false, and then everything else is explained too often.
        links, real, _ = solve(d, bold(model), drift, settings, (int(d.frame.min()), d.frames - 1))
        drift = motion.learn(d, links, settings.velocity)
        model = rates.fit(d, rates.known(links, real), drift, model)
    return replace(model, motion=drift.weights)


def find_drift(d: Detections) -> Drift:
    """Find where the image of each frame of a series has drifted to; nothing if it does not."""
    if not len(d):
        return ()
    d = rivals.unrivalled(d)
    found = drifts.drift(d, rates.density(d, d.dimensions)[1])
    return tuple((z, y, x) for z, y, x in found.tolist()) if found.any() else ()


def steady(d: Detections, drift: Drift) -> Detections:
    """Take detections back by the drift of their frames; parts are linked and shared out so.

    Where objects touch the border must be known before (`bordered`).
    """
    return drifts.steady(d, np.asarray(drift)) if drift else d


def learn_from(d: Detections, links: Links, settings: Settings, real: Bools | None = None) -> Model:
    """Fit the numbers of the story to links that are known to be true.

    Parameters
    ----------
    d, links
        Detections, and all true links among them.
    settings
        As for linking.
    real
        (n,) False for detections that are known to be false; None: those without links are not
        judged.
    """
    d = bordered(d)
    drift = motion.learn(d, links, settings.velocity)
    before = rates.first(d, settings.gap + 1)
    if not settings.brightness:
        before = replace(before, brightness=None)
    if settings.merging:
        before = replace(before, merges=rates.GUESS["merges"])
    if real is None:
        real = np.zeros(len(d), np.bool_)
        real[links.source] = real[links.target] = True
        model = rates.fit(d, rates.known(links, real), drift, before)
        return replace(model, motion=drift.weights, false=before.false)
    return replace(rates.fit(d, rates.known(links, real), drift, before), motion=drift.weights)


def sample(d: Detections, most: int) -> Detections:
    """Return successive frames in the middle of a series that hold about `most` detections.

    Of frames with too many, a region in the middle; where it was cut counts as a border, as others
    come and go there.
    """
    if len(d) <= most:
        return d
    middle = int(d.frame[len(d) // 2])
    count = max(int(d.frames * most / len(d)), 6)
    inside = (d.frame >= middle - count // 2) & (d.frame < middle + (count + 1) // 2)
    part = d.take(np.flatnonzero(inside))
    if len(part) <= CROWDED * most:
        return part
    axes = part.axes
    share = (most / len(part)) ** (1 / part.dimensions) / 2
    low, high = (np.quantile(part.position, 0.5 + side * share, axis=0) for side in (-1, 1))
    within = ((part.position >= low) & (part.position <= high))[:, axes].all(1)
    region = part.take(np.flatnonzero(within))
    scale = rates.first(region, 1).steps[0].scale
    cut = near_border(region, 3 * scale, low, high)
    if region.border is None or cut.border is None:
        return cut
    return replace(cut, border=cut.border | region.border)


def link_part(
    d: Detections,
    core: Core,
    model: Model,
    settings: Settings,
    ends: tuple[int, int] | None = None,
    bans: Bans | None = None,
) -> Part:
    """Link what a part owns.

    Parameters
    ----------
    d
        Detections of the whole series, or at least those of the part and its halo (`halo`), taken
        back by the drift: rows of the result are rows of these.
    core
        The part.
    model, settings
        As for all parts.
    ends
        First and last frame of the whole series, if `d` is not all of it.
    bans
        What corrections mean for `d`, if there are any; links that are given are not in the result.
    """
    frames, distance = halo(model, settings)
    rows = np.flatnonzero(core.holds(d, frames, distance))
    part = d.take(rows)
    if not len(part):
        return Part(blocks.stitch([])[0], rows, 0.0, 0.0, 0)
    ends = ends or (0, d.frames - 1)
    links, real, chosen = refined(part, model, settings, ends, bans and bans.take(rows))
    own = core.holds(part)
    return Part(
        blocks.owned(links, rows, own), rows[own & ~real], chosen.value, chosen.bound,
        chosen.fractional,
    )  # fmt: skip


def halo(model: Model, settings: Settings) -> tuple[int, float]:
    """Frames and distance that a part sees beyond what it owns."""
    reach = reach_of(model, settings)
    return model.gap + 1, 3 * max(reach.division, model.steps[0].scale * 6)


def reach_of(model: Model, settings: Settings) -> Reach:
    """How far candidates are sought."""
    reach = Reach.of(model, settings.neighbours)
    if settings.max_move is not None:
        move = tuple(settings.max_move * k for k in range(1, model.gap + 1))
        reach = replace(reach, move=move, limits=(settings.max_move, math.inf))
    if settings.max_division is not None:
        limits = (reach.limits[0], settings.max_division)
        reach = replace(reach, division=settings.max_division, limits=limits)
    return reach


def solve(
    d: Detections,
    model: Model,
    drift: Motion,
    settings: Settings,
    ends: tuple[int, int],
    bans: Bans | None = None,
) -> tuple[Links, Bools, program.Chosen]:
    """Link some detections, all at once; which are real, and how the program ended.

    Parameters
    ----------
    ends
        First and last frame of the whole series.
    bans
        What corrections mean for the detections, if there are any.
    """
    n = costs.nodes(d, model, ends)
    reach = reach_of(model, settings)
    frames = range(int(d.frame[0]), d.frames - 1)
    if bans is not None:
        n = certain(n, bans)
    if settings.mode == "fast":
        known = d, n, model, replace(reach, neighbours=min(reach.neighbours, 5)), drift
        c = allowed(candidates.join([candidates.onward(*known, t) for t in frames]), bans)
        real = rivals.decided(c, n, d.conflicts, settings.seconds)
        c = candidates.among(c, real)
        patient = costs.nodes(d, open_ended(model), ends)
        near = assign.solve(c, n, patient, settings.seconds)
        left = assign.open_ends(near, real)
        more = candidates.join([candidates.over_gaps(*known, t, left) for t in frames])
        c, chosen = assign.with_gaps(near, c, allowed(more, bans), n, real, settings.seconds)
    else:
        c = candidates.join([candidates.leaving(d, n, model, reach, drift, t) for t in frames])
        c = allowed(c, bans)
        merging = fusions.sought(d, n, model, reach, drift, frames)
        merging = fusions.useful(fusions.open_to(merging, bans), c, len(d))
        chosen = program.solve(c, n, d.conflicts, settings.seconds, merging)
        return links_of(c, chosen, merging), chosen.real, chosen
    return links_of(c, chosen), chosen.real, chosen


def open_ended(model: Model) -> Model:
    """The story as two frames tell it: who has no link there may be missed in one of them."""
    shares = ("appears", "appears_at_border", "disappears", "disappears_at_border")
    return replace(model, **{name: getattr(model, name) + model.missed for name in shares})


def bold(model: Model) -> Model:
    """The story without caution about what is false: what to believe, not what to risk."""
    return replace(model, false=model.false * math.exp(costs.CAUTION))


def refined(
    d: Detections,
    model: Model,
    settings: Settings,
    ends: tuple[int, int],
    bans: Bans | None = None,
) -> tuple[Links, Bools, program.Chosen]:
    """Link; see where everything is going; link again, as often as is set."""
    drift = motion.still(d)
    if model.motion.useful:
        for _ in range(settings.refine):
            links, _, _ = solve(d, model, drift, settings, ends, bans)
            drift = motion.seen(d, links, model.motion)
    return solve(d, model, drift, settings, ends, bans)


def links_of(
    c: Candidates, chosen: program.Chosen, merging: fusions.Fusions | None = None
) -> Links:
    """Return what was chosen of the candidates."""
    a, b = chosen.links, chosen.divisions
    fused = fusions.none() if merging is None else merging.some(chosen.fusions)
    source = np.concatenate([c.source[a], fused.parents.ravel(), np.repeat(c.mother[b], 2)])
    target = np.concatenate([c.target[a], np.repeat(fused.child, 2), c.daughters[b].ravel()])
    division = np.arange(len(source)) >= a.sum() + 2 * len(fused)
    gain = np.concatenate([c.gain[a], np.repeat(fused.gain / 2, 2), np.repeat(c.born[b] / 2, 2)])
    order = np.argsort(target, kind="stable")
    return Links(source[order], target[order], division[order], gain[order])
