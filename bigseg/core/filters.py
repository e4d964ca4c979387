"""Smooth, sharpen and invert images before a network sees them, block by block like the whole.

The filters are those of Cellpose's normalisation options: Gaussians, and differences of two, in
each plane. Cellpose filters by Fourier transform of a whole plane, so that opposite edges of the
image leak into each other, and what it smooths moves by a pixel; here nothing moves, the image is
mirrored at its edges, and a Gaussian ends at four sigma, which makes it local: a block with `reach`
voxels of context gives what the whole gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from bigseg.types import Floats

END = 4.0
"""Sigmas after which a Gaussian is taken to be 0; the rest is 6 · 10⁻⁵ of it."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What is done to each plane before intensities are normalised."""

    smooth: float = 0.0
    """Sigma, in pixels, of the Gaussian that takes noise away; a tenth to a quarter of a cell's
    diameter. 0: none."""
    sharpen: float = 0.0
    """Sigma, in pixels, of the Gaussian of the surroundings that are subtracted; an eighth to half
    of a cell's diameter, and two or three times `smooth`. 0: none."""

    @property
    def reach(self) -> int:
        """Voxels along y and x beyond which nothing changes a result: the halo that is needed."""
        return max(_radius(sigma) for sigma in (self.smooth, self.sharpen))

    def apply(self, data: NDArray[Any]) -> Floats:
        """Filter the planes of data of any type, (..., y, x); what is not finite counts as 0.

        Without any filter the data come back as float32. Sharpened data have no mean: they are
        negative where it is darker than around.
        """
        planes = data.astype(np.float32)
        if planes.dtype.kind == data.dtype.kind:
            np.nan_to_num(planes, copy=False, nan=0, posinf=0, neginf=0)
        fine = _gaussian(planes, self.smooth) if _radius(self.smooth) else planes
        if not _radius(self.sharpen):
            return fine
        difference: Floats = fine - _gaussian(planes, self.sharpen)
        return difference


def invert(normalised: Floats) -> Floats:
    """Turn dark objects on bright ground into bright ones: 0 and 1 of normalised data swap."""
    return np.float32(1) - normalised


def _radius(sigma: float) -> int:
    """Voxels to either side that a Gaussian reaches; one that reaches none does nothing."""
    return int(END * sigma + 0.5)


def _gaussian(planes: Floats, sigma: float) -> Floats:
    for axis in (-2, -1):
        planes = gaussian_filter1d(planes, sigma, axis=axis, mode="reflect", truncate=END)
    return planes
