"""A series of label images whose tracks are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

FRAMES, SIDE = 8, 120


def draw(frame: np.ndarray, label: int, y: float, x: float, radius: float = 5) -> None:
    """Draw a disc."""
    yy, xx = np.mgrid[: frame.shape[0], : frame.shape[1]]
    frame[(yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = label


def moving_cells(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Nine cells that drift to the right, of which the one in the middle divides in frame 4.

    Labels as a segmentation deals them out, anew in each frame, and true ones, both (t, y, x).
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros((FRAMES, SIDE, SIDE), np.uint16)
    truth = np.zeros_like(labels)
    for t in range(FRAMES):
        cells = [(n + 1, 20 + 40 * (n // 3), 15 + 38 * (n % 3) + 1.5 * t) for n in range(9)]
        if t >= 4:
            _, y, x = cells.pop(4)
            cells += [(10, y - 3 - t + 1, x), (11, y + 3 + t - 1, x)]
        names = rng.permutation(len(cells)) + 1
        for (cell, y, x), name in zip(cells, names, strict=True):
            radius = 4 if cell >= 10 else 5
            draw(labels[t], name, y, x, radius)
            draw(truth[t], cell, y, x, radius)
    return labels, truth


def write_frames(folder: Path, frames: np.ndarray) -> str:
    """Write a file per frame."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        tifffile.imwrite(folder / f"mask{number:03d}.tif", frame)
    return str(folder)
