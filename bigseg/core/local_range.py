"""Intensity ranges that follow the image: bright and dark regions become alike, without seams.

As Cellpose's `tile_norm` option: percentiles in windows of a regular grid, smoothed and
interpolated between the windows' centres. Windows are cut from the image, not from blocks, and
their percentiles are collected before any block is normalised, so that no block sees a range of
its own. Cellpose smooths one of the axes twice and the other not at all; here all are smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from bigseg.core.intensity import NOTHING
from bigseg.core.planes import resample
from bigseg.grid import Box, Grid, Index
from bigseg.types import Floats

SMOOTH = 1.0
"""Sigma, in windows, over which ranges are averaged."""
Table = NDArray[np.float64]
"""(3, z, y, x) of one channel, one entry for each window: low, high, and voxels that count."""


def window_counts(shape: Index, window: Index) -> Index:
    """Windows along each axis; the last of an axis may be narrower."""
    return tuple(ceil(n / w) for n, w in zip(shape, window, strict=True))


def window_ranges(data: NDArray[Any], window: Index, percentiles: Sequence[float]) -> Table:
    """Find the percentiles of each window of a block.

    Parameters
    ----------
    data : (z, y, x)
        A block that begins where a window begins, and ends where one ends or the image does.
    window : (z, y, x)
        Voxels of a window.
    percentiles
        Which become 0 and 1.

    Returns
    -------
    (3, z, y, x) float64
        Low, high, and voxels that count: none where nothing is finite or all is equal.
    """
    table = np.zeros((3, *window_counts(data.shape, window)))
    for one in Grid(data.shape, window, (0,) * 3):
        values = data[one.write].ravel()
        values = values[np.isfinite(values)]
        if values.size:
            low, high = np.percentile(values, percentiles)
            z, y, x = one.index
            table[:, z, y, x] = low, high, values.size * (high - low > NOTHING)
    return table


def smooth_ranges(table: Table) -> Floats:
    """Average the ranges of neighbouring windows, each by the voxels that count.

    Windows without any take the range of their neighbours, or of the nearest window that has one.

    Parameters
    ----------
    table : (3, z, y, x) float64
        Of all windows of an image, as `window_ranges` makes them.

    Returns
    -------
    (2, z, y, x) float32
        Low and high; 0 and 0 if no window has a range.
    """
    counts = table[2]
    if not counts.any():
        return np.zeros((2, *counts.shape), np.float32)
    weight = counts / counts.max()
    total = gaussian_filter(weight, SMOOTH, mode="constant")
    smooth = np.empty((2, *counts.shape), np.float32)
    known = total > 1e-6  # less is but the far end of a Gaussian
    for bound in (0, 1):
        sums = gaussian_filter(table[bound] * weight, SMOOTH, mode="constant")
        smooth[bound] = np.divide(sums, total, out=np.zeros_like(sums), where=known)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled: Floats = smooth[(slice(None), *nearest)]
    return filled


def range_at(smooth: Floats, shape: Index, window: Index, box: Box) -> tuple[Floats, Floats]:
    """Low and high of each voxel of a box, interpolated between the windows' centres.

    Parameters
    ----------
    smooth : (2, z, y, x) float32
        What `smooth_ranges` gives.
    shape, window : (z, y, x)
        Of the image and of a window.
    box : three slices (z, y, x)

    Returns
    -------
    low, high : (z, y, x) float32 each
    """
    field = smooth
    for axis, (length, wide, part) in enumerate(zip(shape, window, box, strict=True), 1):
        starts = np.arange(0, length, wide)
        centres = (starts + np.minimum(starts + wide, length) - 1) / 2
        at = np.interp(np.arange(part.start, part.stop), centres, np.arange(len(centres)))
        field = resample(field, axis, at)
    return field[0], field[1]


def rescale_locally(values: NDArray[Any], low: Floats, high: Floats) -> Floats:
    """Map `low` to 0 and `high` to 1, voxel by voxel, without clipping.

    NaN and infinities become 0, and so does all of an image without any range.
    """
    width = high - low
    scaled = values.astype(np.float32) - low
    np.divide(scaled, width, out=scaled, where=width > NOTHING)
    scaled[~(width > NOTHING)] = 0
    if values.dtype.kind == "f":
        np.nan_to_num(scaled, copy=False, nan=0, posinf=0, neginf=0)
    return scaled
