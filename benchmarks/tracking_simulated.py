"""Simulated cells for `tracking.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tracking_sets import Series, without


def simulated(step: float, lost: float, false: float) -> Callable[[Path], Series]:
    """A hundred frames of about 900 discs: persistent random walk, repulsion, divisions, deaths.

    Nearest neighbours are 20 apart at first; `step` is the deviation of a step per axis.
    """

    def load(_: Path) -> Series:
        rng = np.random.default_rng(0)
        whole = walk(rng, cells=900, frames=100, step=step)
        seen = without(whole, rng.random(len(whole.frame)) < lost)
        extent = seen.position.max(0)
        extra = int(false * len(seen.frame))
        frame = np.r_[seen.frame, rng.integers(0, 100, extra)]
        places = rng.random((extra, 3)) * extent
        noisy = seen.position + np.array([0, 0.7, 0.7]) * rng.normal(size=seen.position.shape)
        order = np.argsort(frame, kind="stable")
        place = np.argsort(order)
        return Series(frame[order], np.r_[noisy, places][order], place[seen.links])

    return load


def walk(rng: np.random.Generator, cells: int, frames: int, step: float) -> Series:
    """Simulate cells that keep some of their direction, push each other away and divide.

    Each frame is a window into a larger tissue: for every cell that leaves, another one comes in
    at the other side; as many divide as die, so that every frame has `cells` cells.
    """
    from scipy.spatial import cKDTree

    width = 20 * 1.6 * np.sqrt(cells)
    place = rng.random((cells, 2)) * width
    speed = rng.normal(0, step, place.shape)
    parent = np.full(cells, -1)
    rows, links, n = [], [], 0
    for t in range(frames):
        ids = np.arange(n, n + len(place))
        rows.append(np.c_[np.full(len(place), t), np.zeros(len(place)), place])
        links.append(np.c_[parent, ids][parent >= 0])
        n += len(place)
        speed = 0.7 * speed + 0.7 * rng.normal(0, step, place.shape)
        pairs = cKDTree(place).query_pairs(14, output_type="ndarray")
        gap = place[pairs[:, 0]] - place[pairs[:, 1]]
        length = np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-6)
        push = gap / length * (14 - length) * 0.25
        moved = place + speed
        np.add.at(moved, pairs[:, 0], push)
        np.add.at(moved, pairs[:, 1], -push)
        fate = rng.permutation(cells)
        count = rng.binomial(cells, 0.006)
        births, others = fate[:count], fate[2 * count :]
        angle = rng.uniform(0, 2 * np.pi, count)
        jump = 6 * np.c_[np.sin(angle), np.cos(angle)]
        place = np.r_[moved[others], moved[births] + jump, moved[births] - jump]
        speed = np.r_[speed[others], np.zeros((2 * count, 2))]
        parent = np.r_[ids[others], ids[births], ids[births]]
        parent[((place <= 0) | (place >= width)).any(1)] = -1
        place = place % width
    table = np.concatenate(rows)
    return Series(table[:, 0].astype(int), table[:, 1:], np.concatenate(links))


SIMULATED: dict[str, Callable[[Path], Series]] = {
    "simulated": simulated(2.0, 0.03, 0.01),
    "simulated, hard": simulated(4.0, 0.06, 0.03),
}
