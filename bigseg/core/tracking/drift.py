"""Drift of whole frames, from the objects alone: phase correlation of where they are.

A frame that is displaced by more than half the distance of neighbours makes everybody look like
somebody else. All go the same way, though: the phase correlation of the densities of two frames
(Kuglin and Hines 1975) has a peak there, whatever the distance. Where that brings clearly more
objects together than staying does, the frame is taken back by it (`steady`), and everything else
of tracking sees what remains.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy import fft, ndimage
from scipy.spatial import cKDTree

from bigseg.core.tracking.detections import Detections, Floats, Ints

FEWEST = 8
"""Fewer objects than this of a frame tell nothing of its drift."""
CLOSE = 1 / 3
"""Objects are together if they are closer than this share of the distance of neighbours."""
ASKED = 1000
"""How many objects of a frame are asked."""
ENOUGH = 0.5
"""Where this share of them is together no peak is sought: by chance it is a tenth."""
CLEAR = 2.0
"""How many more must be together than before, in deviations of a count."""
STILL = 0.1
"""Less drift than this share of the distance of neighbours is none."""
PEAKS = 5
"""How many peaks of the correlation are tried."""
CELLS = 3.0
"""Cells of the raster for the distance of neighbours."""
MOST_CELLS = 2**21
_STEPS = 4


def drift(d: Detections, spacing: float) -> Floats:
    """Find where the image of each frame has drifted to since frame 0.

    Parameters
    ----------
    d
        All detections.
    spacing
        The usual distance to the nearest of the frame, in physical units.

    Returns
    -------
    drift
        (frames, 3) physical units; all 0 where nothing drifts.
    """
    axes = np.flatnonzero(d.axes)
    moved = np.zeros((d.frames, 3))
    if len(axes) and spacing > 0:
        trees = (_tree(d.position[a:b][:, axes]) for a, b in pairwise(d.starts))
        for t, (here, there) in enumerate(pairwise(trees)):
            moved[t + 1, axes] = shift(here, there, spacing)
    return np.cumsum(moved, axis=0)


def _tree(points: Floats) -> cKDTree:
    """Of all of a frame, of which few are asked: to build it should not take long."""
    return cKDTree(points, balanced_tree=False, compact_nodes=False)


def steady(d: Detections, drift: Floats) -> Detections:
    """Take detections back by the drift of their frames, `(frames, 3)`."""
    return replace(d, position=d.position - drift[d.frame])


def shift(here: cKDTree, there: cKDTree, spacing: float) -> Floats:
    """Find by how much all points moved from `here` to `there`: 0 unless that is clear.

    Parameters
    ----------
    here, there
        Of (n, axes), (m, axes) positions of two successive frames.
    spacing
        The usual distance of neighbours.

    Returns
    -------
    shift
        (axes,) displacement.
    """
    stays = np.zeros(here.m)
    if min(here.n, there.n) < FEWEST:
        return stays
    asked = np.arange(0, here.n, -(-here.n // ASKED))
    close = spacing * CLOSE
    i, j, before = _together(here, there, asked, stays, close)
    if before >= ENOUGH * len(asked):
        usual = np.median(there.data[j] - here.data[i], axis=0)
        if np.abs(usual).max() < STILL * spacing:
            return stays
    found = [_refined(here, there, asked, stays, close)]
    if found[0][1] < ENOUGH * len(asked):
        peaks = _peaks(here.data, there.data, spacing)
        found += [_refined(here, there, asked, peak, close) for peak in peaks]
    best, most = max(found, key=lambda one: one[1])
    return best if most > before + CLEAR * math.sqrt(len(asked)) else stays


def _refined(
    here: cKDTree, there: cKDTree, asked: Ints, guess: Floats, close: float
) -> tuple[Floats, float]:
    """Move a guess to the median of those it brings together; how well it does that."""
    for _ in range(_STEPS):
        i, j, _ = _together(here, there, asked, guess, close)
        if not len(i):
            return guess, 0.0
        guess = np.median(there.data[j] - here.data[i], axis=0)
    return guess, _together(here, there, asked, guess, close)[2]


def _together(
    here: cKDTree, there: cKDTree, asked: Ints, guess: Floats, close: float
) -> tuple[Ints, Ints, float]:
    """Pairs, of those asked, that are each other's nearest and close, once `here` is moved.

    Also their number, each counting for less the farther apart they are.
    """
    distance, j = there.query(here.data[asked] + guess, distance_upper_bound=close)
    found = np.isfinite(distance)
    i, j = asked[found], j[found]
    mutual = here.query(there.data[j] - guess)[1] == i
    together = 1 - (distance[found][mutual] / close) ** 2
    return i[mutual], j[mutual], float(together.sum())


def _peaks(here: Floats, there: Floats, spacing: float) -> Floats:
    """Displacements at the highest peaks of the phase correlation of two densities."""
    low = np.minimum(here.min(0), there.min(0))
    extent = np.maximum(here.max(0), there.max(0)) - low
    cell = spacing / CELLS
    # Twice as large, so that what leaves at one side does not come in at the other.
    while np.prod(np.ceil(2 * extent / cell) + 1) > MOST_CELLS:
        cell *= 1.25
    shape = [fft.next_fast_len(int(s), real=True) for s in np.ceil(2 * extent / cell) + 1]
    densities = [fft.rfftn(_raster(p, low, cell, shape)) for p in (here, there)]
    cross = densities[1] * densities[0].conj()
    size = np.abs(cross)
    # What hardly is in either density has no phase worth hearing.
    cross /= np.maximum(size, 1e-3 * size.mean())
    found = fft.irfftn(cross, s=shape)
    found = ndimage.gaussian_filter(found, 0.7, mode="wrap")
    highest = (ndimage.maximum_filter(found, 3, mode="wrap") == found).ravel()
    peaks = np.flatnonzero(highest)
    peaks = peaks[np.argsort(-found.ravel()[peaks], kind="stable")[:PEAKS]]
    place = np.stack(np.unravel_index(peaks, shape), -1).astype(np.float64)
    size = np.asarray(shape)
    return np.where(place > size / 2, place - size, place) * cell


def _raster(points: Floats, low: Floats, cell: float, shape: list[int]) -> Floats:
    """How many points are in each cell, somewhat smoothed."""
    place = np.floor((points - low) / cell).astype(np.int64)
    flat = np.ravel_multi_index(tuple(place.T), shape)
    counts = np.bincount(flat, minlength=math.prod(shape)).reshape(shape).astype(np.float64)
    return np.asarray(ndimage.gaussian_filter(counts, 1.0, mode="constant"))
