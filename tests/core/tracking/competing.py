"""Pairs of touching cells that wander, and two ways to draw them wrongly."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from bigseg.io.ctc import write_mask, write_rows

SPACE, RADIUS, STEP = 30, 8, 1.2
Masks = NDArray[np.uint16]


def touching(seed: int, *, frames: int = 8, side: int = 4) -> Masks:
    """Cells (t, y, x) on a loose lattice, numbered for good; at most sites two that touch."""
    rng = np.random.default_rng(seed)
    places = []
    for site in product(range(side), repeat=2):
        at = (np.array(site) + 0.5) * SPACE + rng.normal(0, 2, 2)
        at[1] -= 0.9 * RADIUS
        places.append(at)
        if rng.random() < 0.6:
            places.append(at + np.array([rng.normal(0, 2), 1.9 * RADIUS]))
    where = np.array(places)
    yy, xx = np.mgrid[: side * SPACE, : side * SPACE]
    masks = np.zeros((frames, *yy.shape), np.uint16)
    for mask in masks:
        squared = (yy - where[:, :1, None]) ** 2 + (xx - where[:, 1:, None]) ** 2
        nearest = squared.argmin(axis=0)
        mask[:] = np.where(squared.min(axis=0) <= RADIUS**2, nearest + 1, 0)
        where = where + rng.normal(0, STEP, where.shape)
    return masks


def merged(masks: Masks, share: float, seed: int) -> Masks:
    """Some pairs that touch are drawn as one, in each frame others."""
    rng, found = np.random.default_rng(seed), masks.copy()
    for frame in found:
        ends = np.stack([frame[:, :-1], frame[:, 1:]], axis=-1).reshape(-1, 2)
        ends = ends[(ends[:, 0] != ends[:, 1]) & (ends > 0).all(axis=1)]
        for one, other in np.unique(np.sort(ends, axis=1), axis=0):
            if rng.random() < share:
                frame[frame == other] = one
    return found


def split(masks: Masks, share: float, seed: int) -> Masks:
    """Some cells are cut in two, in each frame others, anywhere near the middle."""
    rng, found = np.random.default_rng(seed), masks.copy()
    for frame in found:
        free = int(frame.max()) + 1
        for cell in np.unique(frame)[1:]:
            if rng.random() >= share:
                continue
            y, x = np.nonzero(frame == cell)
            angle = rng.uniform(0, np.pi)
            along = (y - y.mean()) * np.sin(angle) + (x - x.mean()) * np.cos(angle)
            half = along > rng.normal(0, 1.5)
            frame[y[half], x[half]] = free
            free += 1
    return found


def written(masks: Masks, folder: Path, seed: int = 0) -> str:
    """A file per frame, labels dealt out anew in each."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number, frame in enumerate(masks):
        names, place = np.unique(frame, return_inverse=True)
        dealt = np.r_[0, rng.permutation(len(names) - 1) + 1].astype(np.uint16)
        tifffile.imwrite(folder / f"mask{number:03d}.tif", dealt[place].reshape(frame.shape))
    return str(folder)


def written_truth(masks: Masks, folder: Path) -> str:
    """As truth of the Cell Tracking Challenge."""
    cells = np.arange(1, int(masks.max()) + 1)
    seen = np.array([[(frame == cell).any() for frame in masks] for cell in cells])
    last = len(masks) - 1 - seen[:, ::-1].argmax(axis=1)
    rows = np.stack([cells, seen.argmax(axis=1), last, np.zeros_like(cells)], axis=1)
    tra = folder / "TRA"
    for number, frame in enumerate(masks):
        write_mask(str(tra), number, frame, rows, len(masks), prefix="man_track")
    write_rows(str(tra), rows, "man_track.txt")
    return str(folder)
