"""What Cellpose 3 makes of an image; runs in Cellpose's own environment.

original_restore.py FOLDER reads given.npz and weights from FOLDER and leaves found.npz there.
"""

import sys
from pathlib import Path

import numpy as np
from cellpose.denoise import DenoiseModel


def main(folder: Path) -> None:
    """Restore the image at each diameter, each in one piece and as Cellpose does by default."""
    given = np.load(folder / "given.npz")
    model = DenoiseModel(gpu=False, pretrained_model=str(folder / "weights"))
    found = {}
    for diameter in given["diameters"]:
        found[str(diameter)] = model.eval(
            given["image"], channels=[0, 0], diameter=float(diameter), bsize=int(given["tile"])
        )
    np.savez(folder / "found.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
