"""A restoring network with its weights: an image of one channel to a better one.

Images that are kept are restored in single precision: in bfloat16 a bright image has no more than
128 grey levels. For one that only another network will see, the first and the last layers, which
see grey levels, stay so, and the many features between them, whose rounding errors even out, do
not, where that is faster. Benchmark `restoring.py` says what it costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import nn

from bigseg import cores
from bigseg.errors import WeightsError
from bigseg.nets import network, weights
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.types import Floats


@dataclass(frozen=True)
class Restorer:
    """A network of one input and one output channel, as the engine calls it."""

    module: nn.Module
    device: str

    @torch.inference_mode()
    def __call__(self, tiles: Floats) -> Floats:
        """(n, 1, y, x) normalised image → (n, 1, y, x) float32; y and x multiples of 8."""
        allowed = cores.allowed()
        if allowed is not None and allowed != torch.get_num_threads():
            torch.set_num_threads(allowed)
        batch = torch.from_numpy(tiles).to(self.device, memory_format=torch.channels_last)
        result: Floats = np.ascontiguousarray(self.module(batch).cpu().numpy())
        return result


@lru_cache(maxsize=2)
def load(model: str, sha256: str, single: bool = False) -> Restorer:
    """Network for a model name, path or URL; each process reads and builds it once.

    Parameters
    ----------
    model, sha256
        What is loaded, and the digest of its file.
    single
        Run all of it in single precision, even where the processor gains from less.

    Raises
    ------
    WeightsError
        If the file is no longer the one whose digest is given, or does not fit a network.
    """
    url = weights.locate(model)
    if weights.digest(model) != sha256:
        raise WeightsError(
            f"{url} has changed since the run was planned; put the former weights back, "
            "or start a new run."
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = network.build(network.read_state(url), url).to(device)
    if not single and isinstance(module, CellposeUNet) and network.prefers_half(device):
        half_between(module)
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Restorer(module, device)


def half_between(net: CellposeUNet) -> None:
    """Cast all but the first and last layers to bfloat16; images go in and out as float32."""
    first = net.downsample.down.get_submodule("res_down_0")
    sees_image = [first.get_submodule("proj"), first.get_submodule("conv.conv_0")]
    net.bfloat16()
    for layer in sees_image:
        layer.float().register_forward_hook(lambda _, __, features: features.bfloat16())
    net.output.float().register_forward_pre_hook(lambda _, given: (given[0].float(),))
