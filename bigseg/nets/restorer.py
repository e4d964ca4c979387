"""A restoring network with its weights: an image of one channel to a better one.

Restoration runs in single precision everywhere: in bfloat16 a bright image has no more than 128
grey levels.
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


@lru_cache(maxsize=1)
def load(model: str, sha256: str) -> Restorer:
    """Network for a model name, path or URL; each process reads and builds it once.

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
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Restorer(module, device)
