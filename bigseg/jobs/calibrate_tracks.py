"""Fit what links cost to tracks that are known.

The objects of a run are found again in the truth: of masks by their overlap, of points by their
distance. Then it is known which links there are, and all numbers of `core.tracking.costs` are
counted and fitted; where an object was missed, the link goes over it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.overlap import contingency
from bigseg.core.tracking import link
from bigseg.core.tracking.blocks import Links
from bigseg.core.tracking.costs import Model
from bigseg.core.tracking.detections import Detections
from bigseg.core.tracking.graph import Graph, linked, of_lineages
from bigseg.core.tracking.matching import match_masks, match_points
from bigseg.errors import BigsegError, ImageError, SpecError
from bigseg.io.track_points import Points
from bigseg.run.folder import Run, open_run
from bigseg.run.ledger import Ledger
from bigseg.stages import detect, learn
from bigseg.stages.tracked import Masks, open_tracked

FEWEST = 20
"""True links that are needed to fit anything."""
COVERED = 0.8
"""Share of the objects that the truth must know so that the others count as false."""

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TrackCalibration:
    """Numbers behind costs that were fitted to known tracks."""

    model: Model
    before: Model
    """As the series itself tells them, without the truth."""
    objects: int
    matched: int
    """Objects that the truth knows."""
    links: int
    divisions: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def text(self) -> str:
        """Say it to a person."""
        lines = [
            f"{self.matched} of {self.objects} objects are in the truth, with {self.links} links "
            f"and {self.divisions} divisions.",
            "",
            f"{'':<34}{'estimated':>11}{'fitted':>11}",
        ]
        for name, (one, other) in _numbers(self.before, self.model).items():
            lines.append(f"{name:<34}{one:>11.4g}{other:>11.4g}")
        return "\n".join(lines)


def _numbers(before: Model, after: Model) -> dict[str, tuple[float, float]]:
    """Numbers that a person can judge, of both."""
    pair = (before, after)
    shares = ("divides", "appears", "disappears", "missed", "false")
    rows = {f"share that {_SAID[name]}": tuple(getattr(m, name) for m in pair) for name in shares}
    rows["usual step"] = tuple(m.steps[0].scale for m in pair)
    rows["usual distance of daughters"] = tuple(float(np.exp(m.separation[0])) for m in pair)
    return {name: (float(a), float(b)) for name, (a, b) in rows.items()}


_SAID = {
    "divides": "divides",
    "appears": "appears",
    "disappears": "disappears",
    "missed": "is missed in a frame",
    "false": "is false",
}


def calibrate_tracks(
    run: str, truth: str, *, lines: str | None = None, distance: float | None = None
) -> TrackCalibration:
    """Fit the numbers behind costs to the true tracks of a series that was tracked.

    Parameters
    ----------
    run
        Run folder of `bigseg track`; its objects must have been measured.
    truth
        True tracks: a CTC folder, a label image over time, a GEFF graph or a table of points.
    lines
        Table that says what descends from what, where the truth does not; see `evaluate_tracks`.
    distance
        Farthest that a true point may be from an object's centre, in physical units.

    Raises
    ------
    NotFound, SpecError, ImageError
        The run has no objects, or the truth does not fit it.
    BigsegError
        Too few links are known to fit anything.
    """
    found = open_run(files.absolute(run))
    spec = _learned(found)
    objects = link.bordered(learn.load(spec, range(spec.frames)))
    known = open_tracked(truth, lines)
    if isinstance(known, Points):
        graph, rows = of_lineages(known.lineages()), _near(objects, known, distance)
    else:
        graph, rows = _overlapping(found, objects, known)
    links = true_links(graph, rows, objects, spec.settings.gap + 1)
    if len(links.source) < FEWEST:
        raise BigsegError(
            f"Only {len(links.source)} true links are between objects of {run}; at least {FEWEST} "
            "are needed. Is it the truth of the same frames?"
        )
    real = np.zeros(len(objects), np.bool_)
    real[rows[rows >= 0]] = True
    everything = real if real.mean() >= COVERED else None
    still = link.steady(objects, link.find_drift(objects))
    return TrackCalibration(
        model=link.learn_from(still, links, spec.settings, everything),
        before=spec.model or learn.read_model(found.url),
        objects=len(objects),
        matched=int(real.sum()),
        links=len(links.source),
        divisions=int(links.division.sum()) // 2,
    )


def _learned(run: Run) -> learn.Spec:
    """How objects were linked; refuse runs that have none, or not yet."""
    spec = next((step.spec for step in run.steps if isinstance(step.spec, learn.Spec)), None)
    if spec is None:
        raise SpecError(f"The run {run.url} tracks nothing.")
    if Ledger.of(run, run.step("learn")).finished() is None:
        raise SpecError(f"{run.url} has not learned yet; 'bigseg run {run.url}' goes on.")
    return spec


def _near(objects: Detections, known: Points, distance: float | None) -> Ints:
    """Row of the object of each true point; -1 for none."""
    if distance is None or not distance > 0:
        raise SpecError(
            f"{known.name} holds points; give the distance, above 0 and in physical units, within "
            "which a point is the same as an object: --distance."
        )
    pairs = match_points(known.frame, known.position, objects.frame, objects.position, distance)
    rows = np.full(len(known.frame), -1, np.int64)
    rows[pairs[:, 0]] = pairs[:, 1]
    return rows


def _overlapping(run: Run, objects: Detections, known: Masks) -> tuple[Graph, Ints]:
    """True objects in tracks, and the row of the object of each; -1 for none."""
    spec = next((s.spec for s in run.steps if isinstance(s.spec, detect.Spec)), None)
    if spec is None:
        raise ImageError(f"The run {run.url} tracked points; give the truth as points, too.")
    ours, theirs = detect.series_of(spec), known.series
    if ours.shape != theirs.shape:
        raise ImageError(
            f"{known.name} has (t, z, y, x) = {theirs.shape} voxels, but the run tracked "
            f"{ours.shape}; give the truth of the same frames."
        )
    frames, labels, rows = [], [], []
    for t in range(ours.shape[0]):
        box = (slice(t, t + 1), *(slice(0, n) for n in ours.shape[1:]))
        found = match_masks(*contingency(ours.read(box), theirs.read(box)))
        frames.append(np.full(len(found.true), t))
        labels.append(found.true)
        rows.append(_rows(objects, t, found.true, found.pairs))
    frame, label = np.concatenate(frames), np.concatenate(labels)
    lines = np.zeros((0, 4), np.int64) if known.rows is None else known.rows
    graph = linked(frame, label, lines[np.argsort(lines[:, 0])])
    return graph, np.concatenate(rows)


def _rows(objects: Detections, t: int, true: Ints, pairs: Ints) -> Ints:
    """Row of the object of each true label of a frame; what holds several true ones is of none."""
    rows = np.full(len(true), -1, np.int64)
    ids, counts = np.unique(pairs[:, 1], return_counts=True)
    alone = pairs[np.isin(pairs[:, 1], ids[counts == 1])]
    first, last = np.searchsorted(objects.frame, (t, t + 1))
    rows[np.searchsorted(true, alone[:, 0])] = first + np.searchsorted(
        objects.label[first:last], alone[:, 1]
    )
    return rows


def true_links(graph: Graph, rows: Ints, objects: Detections, gap: int) -> Links:
    """Links between objects that the truth knows, over those that were missed.

    Parameters
    ----------
    graph
        The truth.
    rows
        (n,) object of each of its detections; -1 where it was missed.
    gap
        Most frames that a link spans.
    """
    before = graph.source
    split = np.bincount(before[before >= 0], minlength=len(before)) > 1
    source, born = before.copy(), np.zeros(len(before), np.bool_)
    while True:
        born |= (source >= 0) & split[source]
        over = (source >= 0) & (rows[source] < 0)
        if not over.any():
            break
        source[over] = before[source[over]]
    there = (source >= 0) & (rows >= 0)
    a, b, born = rows[source[there]], rows[there], born[there]
    children = np.bincount(a, minlength=len(objects))[a]
    # A daughter whose sister was missed has neither moved nor shown a division.
    good = (objects.frame[b] - objects.frame[a] <= gap) & (children == 1 + born)
    pairs = np.bincount(a[good], minlength=len(objects))[a]
    good &= pairs == 1 + born
    a, b, born = a[good], b[good], born[good]
    order = np.argsort(b)
    return Links(a[order], b[order], born[order], np.zeros(len(order)))
