"""Give a network to other programs: `python -m bigseg.train.export nuclei nuclei_cellpose3`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import typer
from torch import Tensor

from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.nets.network import read_state
from bigseg.nets.weights import locate

PUBLISHED_WIDTHS = (2, 32, 64, 128, 256)


def widen(
    state: Mapping[str, Tensor], widths: tuple[int, ...] = PUBLISHED_WIDTHS
) -> dict[str, Tensor]:
    """Embed a network in a wider one that computes the same.

    Cellpose 3 builds its network with the published widths only. Features that the narrow network
    lacks are zero everywhere: their weights are, and no layer mixes features but by weights.

    Parameters
    ----------
    state
        State dict of a residual U-Net.
    widths
        Widths of the wider network, at least those of the narrow one.

    Returns
    -------
    dict
        float32 state dict of the wider network.
    """
    wide = CellposeUNet(widths).state_dict()
    for name, value in wide.items():
        # An absent feature keeps variance 1, so that normalising its zeros gives zeros.
        value.fill_(1 if name.endswith("running_var") else 0)
        narrow = state[name]
        value[tuple(slice(0, n) for n in narrow.shape)] = narrow.to(value.dtype)
    return wide


def main(model: str, output: Path) -> None:
    """Write a file that Cellpose 3 loads as a custom model.

    Example: python -m bigseg.train.export nuclei nuclei_cellpose3
    """
    torch.save(widen(read_state(locate(model))), output)


if __name__ == "__main__":
    typer.run(main)
