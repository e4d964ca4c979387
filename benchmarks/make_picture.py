"""Make the picture of the README of what `bigseg demo` left in a folder.

    bigseg demo demo && python benchmarks/make_picture.py demo

Objects are outlined in a few colours, and grey lines show the blocks they were found in.
"""

from __future__ import annotations

import colorsys
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from bigseg import open_image, open_labels
from bigseg.demo import SAMPLES

TARGET = Path(__file__).parents[1] / "docs" / "images" / "demo.png"
SIDE = 512
FIRST = 128
"""Pixel of the 2D sample where the picture begins."""
GAP = 8
COLOURS = 12


def drawn(grey: NDArray[Any], ids: NDArray[Any], seams: list[NDArray[Any]]) -> NDArray[np.uint8]:
    """(y, x) grey and ids to (y, x, 3) colours; few of them, so that the file stays small."""
    low, high = np.percentile(grey, (1, 99.8))
    light = np.clip((grey - low) / (high - low), 0, 1) ** 0.7
    whole = np.repeat(np.rint(31 * light)[..., None] * 8, 3, axis=2).astype(np.uint8)
    for axis, at in enumerate(seams):
        np.moveaxis(whole, axis, 0)[at] = 120
    hues = [colorsys.hsv_to_rgb(n / COLOURS, 0.8, 1) for n in range(COLOURS)]
    colours = np.rint(255 * np.array(hues)).astype(np.uint8)[(ids * 5) % COLOURS]
    edges = find_boundaries(ids, mode="inner")
    edges |= find_boundaries(np.where(edges, 0, ids), mode="inner")
    edges &= ids > 0
    whole[edges] = colours[edges]
    return whole


def panel(folder: Path, number: int) -> NDArray[np.uint8]:
    """A part of one sample: 512 rows and columns."""
    sample = SAMPLES[number]
    image = str(folder / f"{sample.name}.zarr")
    grey, ids = np.asarray(open_image(image)), np.asarray(open_labels(image))
    if grey.ndim == 2:
        part = np.s_[FIRST : FIRST + SIDE, FIRST : FIRST + SIDE]
        seams = [np.arange(edge, 10 * edge, edge) - FIRST for edge in sample.block]
        inside = [at[(at > 0) & (at < SIDE)] for at in seams]
        return drawn(grey[part], ids[part], inside)
    plane = int(np.argmax([len(np.unique(each)) for each in ids]))
    grey, ids = grey[plane], ids[plane]
    side = min(grey.shape)
    seams = [np.arange(edge, side, edge) * SIDE // side for edge in sample.block[1:]]
    return drawn(
        enlarged(grey[:side, :side].astype(np.float32), Image.Resampling.BICUBIC),
        enlarged(ids[:side, :side].astype(np.int32), Image.Resampling.NEAREST),
        seams,
    )


def enlarged(plane: NDArray[Any], how: Image.Resampling) -> NDArray[Any]:
    """(y, x) as many pixels as a panel has."""
    return np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), how))


def main(folder: Path) -> None:
    """Write the picture."""
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    whole = np.concatenate([panel(folder, 0), gap, panel(folder, 1)], axis=1)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    few = Image.fromarray(whole).quantize(64, dither=Image.Dither.NONE)
    few.save(TARGET, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
