"""Cellpose 3, or 4, on one image; runs in the peer's environment, which `peers.py` makes.

    peer_cellpose3.py network|whole|blocks SETTINGS.json RESULT

`network` checks that our weights are the peer's network and stores its outputs for one tile,
`whole` is `CellposeModel.eval` on the array in memory (of Cellpose 4, too), `blocks` is
`distributed_eval`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def network(settings: dict[str, Any], result: Path) -> None:
    """Outputs of the peer's network, whose parameters have to be exactly ours."""
    import numpy as np
    import torch
    from cellpose.resnet_torch import CPnet

    net = CPnet([2, 32, 64, 128, 256], 3, sz=3).eval()  # the start-up hook sets other widths
    net.load_state_dict(torch.load(settings["weights"], weights_only=True), strict=True)
    with torch.no_grad():
        outputs = net(torch.from_numpy(np.load(settings["tile"])))[0]
    np.save(result, outputs.numpy())


def whole(settings: dict[str, Any], result: Path) -> None:
    """Segment the whole array at once."""
    import numpy as np
    import zarr
    from cellpose.models import CellposeModel

    image = zarr.open_array(settings["image"], mode="r")[:]
    model = CellposeModel(gpu=False, pretrained_model=settings["weights"])
    np.save(result, model.eval(image, **settings["eval"])[0])


def blocks(settings: dict[str, Any], result: Path) -> None:
    """Segment block by block with the peer's own Dask functions."""
    import dask_image.ndmeasure._utils._label as merging
    import numpy as np
    import zarr
    from cellpose.contrib.distributed_segmentation import distributed_eval
    from scipy.ndimage import generate_binary_structure

    # In 2D this version would stop when it merges: it passes a structure of three axes. Cellpose
    # 4.2 has mended that; here it is mended likewise.
    group = merging._across_block_label_grouping
    merging._across_block_label_grouping = lambda face, structure: group(
        face, generate_binary_structure(face.ndim, 1)
    )
    image = zarr.open_array(settings["image"], mode="r")
    labels, _ = distributed_eval(
        input_zarr=image,
        blocksize=tuple(settings["blocksize"]),
        write_path=str(result.with_suffix(".zarr")),
        model_kwargs={"gpu": False, "pretrained_model": settings["weights"]},
        eval_kwargs=settings["eval"],
        cluster_kwargs=settings["cluster"],
    )
    np.save(result, labels[:])


if __name__ == "__main__":
    what, path, stored = sys.argv[1:]
    chosen = {"network": network, "whole": whole, "blocks": blocks}[what]
    chosen(json.loads(Path(path).read_text()), Path(stored))
