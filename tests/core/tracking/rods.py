"""A world of long thin cells that slide along themselves: centres mislead, outlines do not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LENGTH, WIDTH, FARTHEST = 40, 3, 8


def rods(
    seed: int,
    *,
    frames: int = 6,
    rows: int = 24,
    columns: int = 3,
    slide: int = 12,
    drift: tuple[int, int] = (0, 0),
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Labels (t, y, x), dealt out anew in each frame, and (t, n) the label of each rod.

    A rod lies five to eight pixels below the next one and slides by up to twice `slide` from frame
    to frame, so that its centre is mostly nearer to that of a neighbour; it covers where it was.
    """
    rng = np.random.default_rng(seed)
    count, below = rows * columns, np.cumsum(rng.integers(5, FARTHEST + 1, rows))
    margin = 15 + frames * max(map(abs, drift))
    shape = rows * FARTHEST + 2 * margin, columns * (LENGTH + 30) + 2 * margin
    labels = np.zeros((frames, *shape), np.uint16)
    names = np.stack([rng.permutation(count) + 1 for _ in range(frames)])
    for t in range(frames):
        for n in range(count):
            y = margin + int(below[n // columns]) + t * drift[0]
            x = margin + n % columns * (LENGTH + 30) + t * drift[1]
            x += int(rng.integers(-slide, slide + 1))
            labels[t, y : y + WIDTH, x : x + LENGTH] = names[t, n]
    return labels, names
