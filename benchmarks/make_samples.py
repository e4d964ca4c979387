"""Make the images of `bigseg demo` of development data.

    python benchmarks/make_samples.py DATA

DATA is a folder with `dsb2018_fluo/test` and `bbbc050_mouse_embryo_nuclei/test` in it. What the
images are, their licences and what is changed: bigseg/samples/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

SAMPLES = Path(__file__).parents[1] / "bigseg" / "samples"
TILE = 256
MOSAIC = (
    ("0002", "0008", "0074", "0026"),
    ("0042", "0014", "0030", "0062"),
    ("0031", "0004", "0054", "0032"),
    ("0025", "0068", "0046", "0075"),
)
"""Chosen by eye: several kinds of cells, about one magnification."""
VOLUME = "Emb08_t401"


def tile(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Top left corner of an image, its own percentiles 1 to 99.8 as 0 to 255, and its mask."""
    image = tifffile.imread(folder / f"{name}_img.tif")[:TILE, :TILE].astype(np.float32)
    mask = tifffile.imread(folder / f"{name}_mask.tif")[:TILE, :TILE]
    low, high = np.percentile(image, (1, 99.8))
    scaled = np.clip((image - low) / (high - low), 0, 1)
    return np.rint(255 * scaled).astype(np.uint8), mask


def mosaic(folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Images and masks side by side; no id occurs in two of them."""
    image = np.zeros((len(MOSAIC) * TILE, len(MOSAIC[0]) * TILE), np.uint8)
    mask = np.zeros(image.shape, np.uint16)
    for row, names in enumerate(MOSAIC):
        for column, name in enumerate(names):
            at = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            image[at], own = tile(folder, name)
            mask[at] = np.where(own > 0, own + mask.max(), 0)
    return image, consecutive(mask)


def consecutive(mask: NDArray[Any]) -> NDArray[np.uint16]:
    """Number the objects 1, 2, 3, … in the order of their ids."""
    return np.unique(mask, return_inverse=True)[1].reshape(mask.shape).astype(np.uint16)


def save(name: str, array: NDArray[Any]) -> None:
    """Write a TIFF that needs no package but tifffile to be read."""
    tifffile.imwrite(
        SAMPLES / name, array, compression="zlib", compressionargs={"level": 9}, metadata=None
    )


def main(data: Path) -> None:
    """Write the four files."""
    image, mask = mosaic(data / "dsb2018_fluo" / "test")
    save("nuclei2d.tif", image)
    save("nuclei2d_truth.tif", mask)
    folder = data / "bbbc050_mouse_embryo_nuclei" / "test"
    save("embryo3d.tif", tifffile.imread(folder / f"{VOLUME}_img.tif"))
    save("embryo3d_truth.tif", consecutive(tifffile.imread(folder / f"{VOLUME}_mask.tif")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
