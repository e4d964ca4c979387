"""What is surely background, seen from afar.

Background is the commonest intensity of an image that is mostly empty, and its noise is that of the
values below, which nothing else reaches. In a coarse level noise is averaged away, so what stands
out of it there by several deviations may be anything, and what does not is background.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

DEVIATIONS = 4.0
"""By which a voxel must stand out of the background to count."""
SHARE = 0.1
"""Share of the range of intensities above which a voxel counts in any case."""
BINS = 1024


def from_afar(values: NDArray[Any], reach: tuple[int, ...]) -> NDArray[np.float32]:
    """Average out noise over a third of an object's width, `reach`, along each axis.

    What is not finite stays so, and so do its surroundings.
    """
    sizes = [max(n // 3, 1) for n in reach]
    finite = np.isfinite(values)
    known = np.where(finite, values, 0).astype(np.float32)  # a sum would carry NaN along
    seen = ndimage.uniform_filter(known, sizes, mode="nearest")
    unknown = ndimage.maximum_filter(~finite, sizes)
    seen[unknown] = np.nan
    return np.asarray(seen, np.float32)


def background_limit(values: NDArray[Any], percentiles: tuple[float, float]) -> float:
    """Intensity up to which a voxel is surely background.

    Parameters
    ----------
    values
        Intensities of a whole frame at a coarse level; those that are not finite are ignored.
    percentiles
        Between which the range of intensities lies.

    Returns
    -------
    float
        Not above `SHARE` of the range, whatever the noise, so that nothing that a network would see
        as bright is below. -inf where there is no range.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if known.size == 0:
        return -np.inf
    low, high = np.percentile(known, percentiles)
    if not high > low:
        return -np.inf
    counts, edges = np.histogram(known, BINS, (low, high))
    most = int(counts.argmax())
    mode = (edges[most] + edges[most + 1]) / 2
    below = known[known <= mode]
    noise = float(np.sqrt(np.mean((below - mode) ** 2))) if below.size else 0.0
    return float(min(mode + DEVIATIONS * noise, low + SHARE * (high - low)))


def may_hold_objects(
    values: NDArray[Any], limit: float, reach: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Voxels (z, y, x) within `reach` of one that is above the limit, or not finite."""
    bright = (values > limit) | ~np.isfinite(values)
    sizes = [2 * n + 1 for n in reach]
    return np.asarray(ndimage.maximum_filter(bright, sizes, mode="constant"), bool)
