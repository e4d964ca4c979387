"""From a file of weights to a network that runs: built strictly, once per process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

import numpy as np
import torch
from torch import Tensor, nn

from bigseg import cores
from bigseg.errors import WeightsError
from bigseg.nets import weights
from bigseg.nets.architectures import Architecture, recognise
from bigseg.nets.tensors import read_tensors
from bigseg.types import Floats

FLOW_SCALE = 5.0
"""Networks are trained on flows times this, so that their error weighs as much as the logit's."""


def read_state(url: str) -> dict[str, Tensor]:
    """Tensors of a safetensors or PyTorch file; code in a pickle is never run."""
    return {name: torch.from_numpy(value) for name, value in read_tensors(url).items()}


def build(state: Mapping[str, Tensor], url: str) -> nn.Module:
    """Network of a state dict; every key and shape must fit.

    Raises
    ------
    WeightsError
        Naming the first key that is missing, unknown or of another shape.
    """
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    architecture = recognise(shapes, url)
    module = import_module(f"bigseg.nets.{architecture.module}")
    try:
        net: nn.Module = module.build(shapes)
    except KeyError as error:
        raise WeightsError(f"{url} lacks the key {error} of a {architecture.name}.") from error
    _compare(shapes, net, architecture, url)
    net.load_state_dict({name: value.float() for name, value in state.items()})
    return net.eval()


def _compare(
    shapes: Mapping[str, tuple[int, ...]], net: nn.Module, architecture: Architecture, url: str
) -> None:
    """Refuse a file whose keys or shapes are not those of the network."""
    own = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    for name, shape in own.items():
        if name not in shapes:
            raise WeightsError(f"{url} lacks the key '{name}' of a {architecture.name}.")
        if shapes[name] != shape:
            raise WeightsError(
                f"{url}: '{name}' has shape {shapes[name]}, "
                f"a {architecture.name} like the rest of the file needs {shape}."
            )
    unknown = sorted(set(shapes) - set(own))
    if unknown:
        raise WeightsError(
            f"{url} holds the key '{unknown[0]}', which a {architecture.name} has not."
        )


@dataclass(frozen=True)
class TorchNet:
    """A network with its weights, as the engine calls it."""

    module: nn.Module
    channels: int
    outputs: int
    device: str
    half: bool
    """Whether matrix products run in bfloat16."""

    @torch.inference_mode()
    def __call__(self, tiles: Floats) -> Floats:
        """(n, c, y, x) normalised image, c up to `channels` → (n, k, y, x) float32.

        Flow y and flow x in voxels per step, then the logit of the cell probability. Missing
        channels are zero, as in training.
        """
        allowed = cores.allowed()
        if allowed is not None and allowed != torch.get_num_threads():
            torch.set_num_threads(allowed)
        batch = torch.zeros((len(tiles), self.channels, *tiles.shape[2:]))
        batch[:, : tiles.shape[1]] = torch.from_numpy(tiles)
        dtype = torch.bfloat16 if self.half else torch.float32
        batch = batch.to(self.device, dtype, memory_format=torch.channels_last)
        outputs = self.module(batch).float()
        outputs[:, :2] /= FLOW_SCALE
        result: Floats = np.ascontiguousarray(outputs.cpu().numpy())
        return result


@lru_cache(maxsize=1)
def load(model: str, sha256: str) -> TorchNet:
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
    known = weights.describe(model)
    module = build(read_state(url), url)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = device == "cuda" or has_fast_bfloat16()
    module = module.to(device, torch.bfloat16 if half else torch.float32)
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TorchNet(module, known.channels, known.outputs, device, half)


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    capability: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))
