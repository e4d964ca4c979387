"""Fill the coarser levels of an image from its finer ones, block by block."""

from __future__ import annotations

import numpy as np

from bigseg.core.pyramid import downsample_labels, downsample_mean, factors_between, parent_box
from bigseg.grid import Box, Grid
from bigseg.io.volume import Volume


def level_grid(coarse: Volume) -> Grid:
    """Blocks (t, z, y, x) of one level: one stored object each, so that none is shared."""
    t, _, z, y, x = coarse.shape
    return Grid((t, z, y, x), coarse.unit, (0, 0, 0, 0))


def shrink_block(fine: Volume, coarse: Volume, box: Box, *, labels: bool) -> None:
    """Compute the voxels of `box` in `coarse` from those of `fine`, and write them.

    Parameters
    ----------
    fine, coarse
        Two levels of one image, `coarse` being the next one.
    box : four slices (t, z, y, x)
        In voxels of `coarse`.
    labels
        Keep ids (most frequent one) rather than average.
    """
    above = (fine.shape[0], *fine.shape[2:])
    below = (coarse.shape[0], *coarse.shape[2:])
    factors = factors_between(above, below)
    source = parent_box(box, factors, above)
    for channel in range(coarse.shape[1]):
        block = fine.read(source, (channel,))[:, 0]
        if labels:
            small = np.stack([downsample_labels(frame, factors[1:]) for frame in block])
        else:
            small = downsample_mean(block, factors)
        coarse.write(box, small, channel)
