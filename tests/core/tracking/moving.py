"""Worlds of moving, dividing and vanishing points whose lineage is known."""

from __future__ import annotations

import numpy as np

from bigseg.core.tracking.detections import Detections, gather

SPACING = 20.0


def world(
    seed: int, *, frames: int = 8, side: int = 5, step: float = 1.0, divide: float = 0.03
) -> tuple[Detections, set[tuple[int, int]]]:
    """Points on a loose lattice that jitter and divide; detections and their true links.

    Lattice sites are far apart and daughters go to opposite sides, so that the truth is the
    only sensible lineage.
    """
    rng = np.random.default_rng(seed)
    site = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    points = [p * 3 * SPACING + rng.normal(0, 2, 2) for p in site.astype(float)]
    before: list[int] = [-1] * len(points)
    fresh = [False] * len(points)
    rows, links, n = [], set(), 0
    for t in range(frames):
        after, parents, young = [], [], []
        for p, parent, new in zip(points, before, fresh, strict=True):
            rows.append((t, n - sum(r[0] < t for r in rows) + 1, p[0], p[1]))
            if parent >= 0:
                links.add((parent, n))
            if rng.random() < divide and not new and t > 1:
                angle = rng.uniform(0, np.pi)
                jump = SPACING / 2 * np.array([np.cos(angle), np.sin(angle)])
                after += [p + jump, p - jump]
                parents += [n, n]
                young += [True, True]
            else:
                after.append(p + rng.normal(0, step, 2))
                parents.append(n)
                young.append(new)
            n += 1
        points, before, fresh = after, parents, young
    table = np.asarray(rows)
    return gather(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:]), links


def without(
    d: Detections, links: set[tuple[int, int]], lost: set[int]
) -> tuple[Detections, set[tuple[int, int]]]:
    """The same, but some detections were missed: links lead over the gap."""
    source = {b: a for a, b in links}
    kept = np.array([r for r in range(len(d)) if r not in lost])
    place = {int(r): i for i, r in enumerate(kept)}
    found = set()
    for r in kept.tolist():
        p = source.get(r, -1)
        while p in lost:
            p = source.get(p, -1)
        if p >= 0:
            found.add((place[p], place[r]))
    return d.take(kept), found
