"""A small movie with something to segment in it."""

from __future__ import annotations

from importlib import resources

import numpy as np
import tifffile

from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume


def moving_nuclei(url: str) -> str:
    """A piece of the bundled image that moves two pixels right per frame, as OME-Zarr."""
    whole = tifffile.imread(resources.files("bigseg") / "samples" / "nuclei2d.tif")
    frames = np.stack([whole[300:460, 300 - 2 * t : 460 - 2 * t] for t in range(3)])
    scale = (1.0, 1.0, 1.0)
    create_image(plan_image(url, ("t", "y", "x"), frames.shape, frames.dtype, scale, (1, 64, 64)))
    box = tuple(slice(0, n) for n in (3, 1, 160, 160))
    for t, frame in enumerate(frames):
        Volume.open(url).write((slice(t, t + 1), *box[1:]), frame[None, None])
    return url
