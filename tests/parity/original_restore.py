"""What Cellpose 3 makes of an image; runs in Cellpose's own environment.

original_restore.py FOLDER reads given.npz and weights from FOLDER and leaves found.npy there.
"""

import sys
from pathlib import Path

import numpy as np
from cellpose.denoise import DenoiseModel


def main(folder: Path) -> None:
    """Restore the image at the given diameter."""
    given = np.load(folder / "given.npz")
    model = DenoiseModel(gpu=False, pretrained_model=str(folder / "weights"))
    diameter, tile = float(given["diameter"]), int(given["tile"])
    found = model.eval(given["image"], channels=[0, 0], diameter=diameter, bsize=tile)
    np.save(folder / "found.npy", found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
