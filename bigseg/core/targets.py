"""Flow targets: for every voxel of an object, the direction of its centre by heat diffusion.

Stringer et al. 2021, Nature Methods 18:100: heat enters at the centre of an object, spreads inside
it, and the normalised gradient of the temperature is the flow.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.ndimage import find_objects

from bigseg.types import Floats, Labels


def flow_targets(labels: Labels) -> Floats:
    """Unit flows towards the centre of each object.

    Parameters
    ----------
    labels : (y, x) int
        Instance ids, 0 = background.

    Returns
    -------
    (2, y, x) float32
        Flow along y and x; zero in the background.
    """
    flows = np.zeros((labels.ndim, *labels.shape), np.float32)
    for index, box in enumerate(find_objects(labels.astype(np.int32, copy=False)), 1):
        if box is not None:
            mask = np.pad(labels[box] == index, 1)
            field = _diffuse(mask)
            inner = mask[1:-1, 1:-1]
            flows[(slice(None), *box)][:, inner] = field[:, 1:-1, 1:-1][:, inner]
    return flows


@njit(cache=True, nogil=True)
def _diffuse(mask: np.ndarray) -> np.ndarray:
    height, width = mask.shape
    cy, cx, n = 0.0, 0.0, 0
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                cy += y
                cx += x
                n += 1
    cy /= n
    cx /= n
    best, sy, sx = np.inf, 0, 0
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                distance = (y - cy) ** 2 + (x - cx) ** 2
                if distance < best:
                    best, sy, sx = distance, y, x
    heat = np.zeros((height, width), np.float32)
    rows = np.zeros((height, width), np.float32)
    weight = mask.astype(np.float32) / np.float32(9)
    for _ in range(2 * (height - 2 + width - 2 + 2)):
        heat[sy, sx] += np.float32(1)
        for y in range(height):
            for x in range(1, width - 1):
                rows[y, x] = heat[y, x - 1] + heat[y, x] + heat[y, x + 1]
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                heat[y, x] = weight[y, x] * (rows[y - 1, x] + rows[y, x] + rows[y + 1, x])
    field = np.zeros((2, height, width), np.float32)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            dy = heat[y + 1, x] - heat[y - 1, x]
            dx = heat[y, x + 1] - heat[y, x - 1]
            norm = np.sqrt(dy * dy + dx * dx)
            if norm > 0:
                field[0, y, x] = dy / norm
                field[1, y, x] = dx / norm
    return field
