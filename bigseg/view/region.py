"""Where objects were looked for, and which blocks were skipped: a small map, and how many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigseg.grid import Grid
from bigseg.view import page
from bigseg.view.outlines import Rgb
from bigseg.view.pictures import Picture, display_shape, encode, resize_labels

WIDE = 420
"""Pixels of the longer side of the map."""
LOOKED, EMPTY, SKIPPED = (63, 158, 116), (120, 126, 138), (52, 56, 64)
"""Colours of the region, of the rest of its blocks, and of blocks that were skipped."""
LINE = (24, 26, 30)


def looked_at(
    seen: NDArray[np.bool_] | None,
    grid: Grid,
    spacing: tuple[float, float],
    skipped: dict[str, tuple[int, int]],
) -> str:
    """Say which blocks were skipped, and show where.

    Parameters
    ----------
    seen : (y, x)
        Where objects were looked for in any plane of the first frame; None: too large to be shown.
    grid
        Blocks of the labels, (t, z, y, x).
    spacing
        Size of a voxel, (y, x).
    skipped
        Of each step how many of how many blocks.
    """
    text = "; ".join(f"{name}: {n:,} of {all:,} blocks" for name, (n, all) in skipped.items())
    head = page.heading("Where objects were looked for", f"Skipped of {text}.")
    if seen is None:
        return head
    shape = display_shape((grid.shape[2], grid.shape[3]), spacing, WIDE)
    caption = (
        "Seen from above: where objects were looked for (green), the rest of their blocks (grey), "
        "and blocks that were skipped in all planes (dark). Lines are faces of blocks."
    )
    picture = Picture(draw(resize_labels(seen, shape), grid), caption)
    return head + page.pictures(encode([picture], 200_000), ["Region"], caption)


def draw(seen: NDArray[np.bool_], grid: Grid) -> Rgb:
    """Map (y, x, 3) of the region at display size."""
    height, width = seen.shape
    rows, columns = (
        np.minimum((np.arange(n) + 0.5) * length / n, length - 1).astype(int) // block
        for n, length, block in zip(seen.shape, grid.shape[2:], grid.block[2:], strict=True)
    )
    used = np.zeros(grid.counts[2:], bool)
    np.logical_or.at(used, (rows[:, None], columns[None]), seen)
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = np.where(used[rows][:, columns][..., None], EMPTY, SKIPPED)
    rgb[seen] = LOOKED
    if max(grid.counts[2:]) * 4 < max(seen.shape):  # finer lines would hide what they part
        rgb[1:][rows[1:] != rows[:-1]] = LINE
        rgb[:, 1:][:, columns[1:] != columns[:-1]] = LINE
    return rgb
