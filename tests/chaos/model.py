"""What the runs of these tests segment, and a network that needs no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from bigseg.core.targets import flow_targets
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume

Array = NDArray[Any]
FRAMES, SIDE, PIECE = 3, 96, 32


def flows(tiles: Array) -> Array:
    """Flows and logits (n, 3, y, x) of what is bright."""
    maps = np.empty((len(tiles), 3, *tiles.shape[2:]), np.float32)
    for tile, made in zip(tiles, maps, strict=True):
        bright = tile[0] > 0.5
        found, _ = ndimage.label(bright)
        made[:2] = flow_targets(found)
        made[2] = np.where(bright, 6.0, -6.0)
    return maps


def frame(t: int) -> Array:
    """Nine discs on a dark, slightly noisy ground, which drift as time goes by: (y, x) uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.random.default_rng(t).integers(0, 12, (SIDE, SIDE))
    for cy, cx in np.ndindex(3, 3):
        image[(y - 15 - 32 * cy - 2 * t) ** 2 + (x - 15 - 32 * cx) ** 2 < 8**2] += 180
    return image.astype(np.uint8)


def make_series(url: str) -> str:
    """Store a short series, in pieces that are smaller than blocks."""
    axes, shape = ("t", "y", "x"), (FRAMES, SIDE, SIDE)
    create_image(plan_image(url, axes, shape, "u1", (1.0, 1.0, 1.0), (1, PIECE, PIECE)))
    box = (slice(0, FRAMES), slice(0, 1), slice(0, SIDE), slice(0, SIDE))
    Volume.open(url).write(box, np.stack([frame(t) for t in range(FRAMES)])[:, None])
    return url


def make_masks(folder: Path) -> str:
    """Label images of the series, one TIFF a frame, each with ids of its own."""
    folder.mkdir()
    for t in range(FRAMES):
        found, _ = ndimage.label(frame(t) > 90)
        tifffile.imwrite(folder / f"mask{t:03d}.tif", (found * (t + 1)).astype(np.uint16))
    return str(folder)


def make_tiles(folder: Path) -> str:
    """Four tiles of the first frame that overlap, each with ids of its own."""
    folder.mkdir()
    truth, _ = ndimage.label(frame(0) > 90)
    for row, column in np.ndindex(2, 2):
        tile, _ = ndimage.label(truth[row * 40 : row * 40 + 56, column * 40 : column * 40 + 56])
        tifffile.imwrite(folder / f"tile_y{row * 40}_x{column * 40}.tif", tile.astype(np.uint16))
    return str(folder)
