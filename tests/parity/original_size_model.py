"""What Cellpose 3's size model says of an image; runs in Cellpose's own environment.

original_size_model.py FOLDER reads given.npz, weights and size.npy from FOLDER and leaves found.npz
there: the style of the image, and the diameters of that and of further styles.
"""

import sys
from pathlib import Path

import numpy as np
from cellpose.models import CellposeModel, SizeModel


def main(folder: Path) -> None:
    """Take the style of the image, and estimate."""
    given = np.load(folder / "given.npz")
    model = CellposeModel(gpu=False, pretrained_model=str(folder / "weights"))
    sizes = SizeModel(model, pretrained_size=str(folder / "size.npy"))
    style = model.eval(given["image"], channels=[0, 0], compute_masks=False)[-1]
    np.savez(
        folder / "found.npz",
        style=style,
        of_image=sizes._size_estimation(style),
        of_styles=sizes._size_estimation(given["styles"]),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
