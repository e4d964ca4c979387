"""Draw lineages as trees: time to the right, a line for each track, a fork for each division.

A track that two merged into has a line from each; it lies beside the first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.lineage import Lineages
from bigseg.view.outlines import colours
from bigseg.view.svg import ticks

ROWS = 72
"""Tracks without daughters that are drawn, at most: each has a row of its own."""
STEP, LEFT, WIDE, BOTTOM = 11, 44, 880, 28


def lineage_trees(found: Lineages, frames: int) -> tuple[str, int]:
    """Trees of the lineages with most divisions, as SVG, and how many there are.

    Parameters
    ----------
    found
        Of a series of `frames` frames.
    """
    chosen = largest(found)
    if not chosen:
        return '<p class="none">No object divided.</p>', 0
    parts, row = [], 0
    for lineage in chosen:
        tracks = np.flatnonzero(found.lineage == lineage)
        place = rows_of(found, tracks)
        parts += _tree(found, tracks, place, row, frames)
        row += int(max(place.values())) + 2
    height = row * STEP + BOTTOM
    axis = [
        f'<text x="{_x(value, frames):.0f}" y="{height - 12}" text-anchor="middle">{value:g}</text>'
        for value in ticks(0, max(frames - 1, 1))
    ]
    name = f'<text x="{LEFT + WIDE / 2}" y="{height}" text-anchor="middle">frame</text>'
    drawing = (
        f'<svg viewBox="0 0 {LEFT + WIDE + 20} {height + 4}" role="img" '
        f'aria-label="lineage trees">{"".join([*parts, *axis, name])}</svg>'
    )
    return drawing, len(chosen)


def largest(found: Lineages) -> list[int]:
    """Lineages with most tracks that fit into `ROWS` rows; each has a division at least."""
    count = np.bincount(found.lineage, minlength=1)
    leaves = np.bincount(found.lineage, found.daughters == 0, minlength=1)
    chosen: list[int] = []
    room = ROWS
    for lineage in np.argsort(-count, kind="stable").tolist():
        if count[lineage] < 3:
            break
        if leaves[lineage] <= room or not chosen:
            chosen.append(lineage)
            room -= int(leaves[lineage]) + 1
        if room < 2:
            break
    return chosen


def rows_of(found: Lineages, tracks: NDArray[np.int64]) -> dict[int, float]:
    """Row of each track of a lineage: leaves one below the other, a mother amid her daughters."""
    children: dict[int, list[int]] = {}
    roots = []
    for track in tracks.tolist():
        parent = int(found.parent[track]) - 1
        if parent >= 0:
            children.setdefault(parent, []).append(track)
        else:
            roots.append(track)
    place: dict[int, float] = {}
    stack = [(root, False) for root in reversed(roots)]
    row = 0
    while stack:
        track, seen = stack.pop()
        below = children.get(track, [])
        if not below:
            place[track] = row
            row += 1
        elif seen:
            place[track] = sum(place[child] for child in below) / len(below)
        else:
            stack.append((track, True))
            stack += [(child, False) for child in reversed(below)]
    return place


def _x(frame: float, frames: int) -> float:
    return LEFT + WIDE * frame / max(frames - 1, 1)


def _tree(
    found: Lineages, tracks: NDArray[np.int64], place: dict[int, float], top: int, frames: int
) -> list[str]:
    """Lines of one lineage, in the colour that its first track has everywhere."""
    parts = []
    tints = colours(tracks + 1)
    parents: dict[int, list[int]] = {}
    for parent, child in (found.joints[np.isin(found.joints[:, 1] - 1, tracks)] - 1).tolist():
        parents.setdefault(child, []).append(parent)
    for track, tint in zip(tracks.tolist(), tints, strict=True):
        y = (top + place[track]) * STEP + 10
        colour = "rgb({},{},{})".format(*tint.tolist())
        begin, end = _x(found.begin[track], frames), _x(found.end[track], frames)
        title = f"track {track + 1}, frames {found.begin[track]} to {found.end[track]}"
        parts.append(
            f'<line x1="{begin:.1f}" x2="{max(end, begin + 2):.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{colour}" stroke-width="3"><title>{title}</title></line>'
        )
        for parent in parents.get(track, []):
            x, y0 = _x(found.end[parent], frames), (top + place[parent]) * STEP + 10
            parts.append(
                f'<path d="M{x:.1f} {y0:.1f}L{begin:.1f} {y:.1f}" stroke="{colour}" fill="none"/>'
            )
    return parts
