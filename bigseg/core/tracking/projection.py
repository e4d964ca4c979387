"""A mask of one frame, projected into the next: the motion model of micro-SAM's tracking.

Where an object is followed by asking a network for it again, the question is where it was, moved on
as it has moved so far. After `track_from_prompts` of micro-SAM (Archit et al. 2025, doi
10.1038/s41592-024-02580-4): no motion is known before two steps have been seen; then the last step,
then its running mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bigseg.core.tracking.detections import Floats
from bigseg.errors import ImageError

SMOOTHING = 0.5
"""How much of the mean motion so far is kept; higher is smoother."""


def mean_motion(centres: Floats, smoothing: float = SMOOTHING) -> Floats:
    """Return the displacement expected next, from the centres of an object so far.

    Parameters
    ----------
    centres
        (frames, axes) in voxels, the last one of the current frame.
    smoothing
        Within 0 and 1.
    """
    if not 0 <= smoothing <= 1:
        raise ImageError(f"The motion is smoothed by {smoothing}; give a number from 0 to 1.")
    centres = np.asarray(centres, np.float64)
    motion = np.zeros(centres.shape[1])
    if len(centres) < 3:
        return motion
    steps = np.diff(centres, axis=0)
    motion = steps[1]
    for step in steps[2:]:
        motion = smoothing * motion + (1 - smoothing) * step
    return np.asarray(motion)


def project_mask(mask: NDArray[Any], motion: Floats) -> NDArray[np.bool_]:
    """Move a mask by a displacement in voxels; what leaves the image is lost."""
    moved = ndimage.shift(
        np.asarray(mask, np.bool_).astype(np.uint8), motion, order=0, prefilter=False
    )
    return np.asarray(moved > 0)
