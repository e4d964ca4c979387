"""Links that were found, strictly and over gaps.

Three counts, each one to one between detections that are alone (see `Pairing.alone`):

- `links_found`: links of both graphs between the same detections; traccuracy's `BasicMetrics`.
- `links_found(…, gaps=True)`: a link over frames stands for a path of the other graph whose
  detections in between have no partner; traccuracy's, with both skips relaxed.
- `steps_found`: links between *consecutive detections* of a cell. What was never detected is not
  asked for: this judges a linker, given the detections.
"""

from __future__ import annotations

import numpy as np

from bigseg.core.tracking.graph import Graph
from bigseg.core.tracking.lineage import Ints
from bigseg.core.tracking.metrics import Bools, Found, Pairing, keys, masked

MOST_FRAMES = 3
"""Frames a step may take, as gap closing usually does."""


def links_found(truth: Graph, result: Graph, pairs: Pairing, *, gaps: bool = False) -> Found:
    """Count the links that both graphs have.

    Parameters
    ----------
    gaps : bool
        Whether a link over several frames counts where the other graph has a path instead. Paths
        follow the first source of a detection.
    """
    right = _in_both(result.links, truth.links, pairs.reverse, len(truth.frame))
    found = _in_both(truth.links, result.links, pairs.alone, len(result.frame))
    if gaps:
        for here, there, partner, other, ours, theirs in (
            (result, truth, pairs.reverse, pairs.alone, right, found),
            (truth, result, pairs.alone, pairs.reverse, found, right),
        ):
            skips, passed = _paths(here, there, partner, other)
            ours[skips] = True
            theirs |= passed
    return Found(int(found.sum()), int(right.sum()), len(truth.links), len(result.links))


def steps_found(
    truth: Graph, result: Graph, pairs: Pairing, *, most_frames: int = MOST_FRAMES
) -> Found:
    """Count the steps from one detection of a cell to the next that was detected.

    Parameters
    ----------
    most_frames : int
        True steps that take more frames than this are not asked for; a link of the result that
        takes such a step is wrong.
    """
    steps = _true_steps(truth, pairs.alone >= 0, most_frames)
    links = pairs.reverse[result.links]
    real = (links >= 0).all(axis=1)
    right = np.isin(keys(links[real], len(truth.frame)), keys(steps, len(truth.frame)))
    return Found(int(right.sum()), int(right.sum()), len(steps), len(links))


def _in_both(links: Ints, others: Ints, partner: Ints, n: int) -> Bools:
    """Which links the other graph, of `n` detections, has between the partners."""
    there = partner[links] if len(links) else links
    return (there >= 0).all(axis=1) & np.isin(keys(there, n), keys(others, n))


def _true_steps(truth: Graph, seen: Bools, most_frames: int) -> Ints:
    """(k, 2) each seen detection and the nearest seen one it comes from."""
    row = np.flatnonzero(seen)
    source = truth.source
    at = source[row] if len(source) else row
    for _ in range(most_frames - 1):
        hidden = (at >= 0) & ~seen[at]
        if not hidden.any():
            break
        at = np.where(hidden, masked(source, at), at)
    good = (at >= 0) & seen[at]
    good[good] = truth.frame[row[good]] - truth.frame[at[good]] <= most_frames
    return np.stack([at[good], row[good]], axis=1)


def _paths(here: Graph, there: Graph, partner: Ints, other: Ints) -> tuple[Ints, Bools]:
    """Links over frames that stand for paths, and which links of the other graph these are.

    A path goes from the partner of the source to that of the target, and no detection on its way
    has a partner itself.
    """
    span = here.frame[here.links[:, 1]] - here.frame[here.links[:, 0]]
    skips = np.flatnonzero(span != 1)
    ends = partner[here.links[skips]].reshape(-1, 2)
    real = (ends >= 0).all(axis=1)
    skips, ends = skips[real], ends[real]
    source = there.source
    at, whole = ends[:, 1], np.zeros(len(ends), np.bool_)
    ways = []
    while True:
        going = (at >= 0) & ~whole
        if not going.any():
            break
        ways.append(np.where(going, at, -1))
        at = np.where(going, masked(source, at), at)
        whole |= going & (at == ends[:, 0])
        at[(at >= 0) & ~whole & (masked(other, at) >= 0)] = -1
    passed = np.zeros(len(there.frame), np.bool_)
    for way in ways:
        passed[way[whole & (way >= 0)]] = True
    first = np.zeros(len(there.links), np.bool_)
    if len(there.links):
        first = source[there.links[:, 1]] == there.links[:, 0]
    return skips[whole], first & passed[there.links[:, 1]]
