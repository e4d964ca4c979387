"""Weights: where a name leads, how a file is read, and the network it becomes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files as package_files

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from bigseg import files
from bigseg.errors import NotFound, WeightsError
from bigseg.nets.cellpose_unet import CellposeUNet, widths_of
from bigseg.types import Floats

FLOW_SCALE = 5.0
"""Networks are trained on flows times this, so that their error weighs as much as the logit's."""


def bundled() -> dict[str, str]:
    """Names of the models in the package, and their paths."""
    folder = package_files("bigseg") / "models"
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".safetensors")]
    return {entry.name.removesuffix(".safetensors"): str(entry) for entry in found}


def locate(model: str) -> str:
    """URL of the weights that a name, path or URL means.

    Raises
    ------
    NotFound
        If it is none of them; the message lists the names.
    """
    known = bundled()
    if model in known:
        return known[model]
    if files.exists(model):
        return files.absolute(model)
    raise NotFound(
        f"Model '{model}' is neither a file nor a bundled model; "
        f"give a path, a URL, or one of: {', '.join(sorted(known))}."
    )


def digest(model: str) -> str:
    """SHA-256 of the weights, which identifies them whatever their path."""
    return hashlib.sha256(files.get(locate(model))).hexdigest()


def read_state(url: str) -> dict[str, Tensor]:
    """Tensors of a safetensors or PyTorch file; code in a pickle is never run."""
    data = files.get(url)
    try:
        if url.endswith(".safetensors"):
            return load_safetensors(data)
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(
            f"{url} is not a file of weights ({type(error).__name__}: {str(error)[:120]}); "
            "expected safetensors, or a state dict saved by torch.save."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{url} holds no state dict: every value must be a tensor.")
    return dict(state)


def build(state: Mapping[str, Tensor], url: str) -> CellposeUNet:
    """Network of a state dict; every key and shape must fit.

    Raises
    ------
    WeightsError
        Naming the first key that is missing, unknown or of another shape.
    """
    if "downsample.down.res_down_0.conv.conv_0.2.weight" not in state:
        first = next(iter(state), "no key at all")
        raise WeightsError(
            f"{url} is not a Cellpose residual U-Net: it lacks "
            f"'downsample.down.res_down_0.conv.conv_0.2.weight' and begins with '{first}'."
        )
    try:
        net = CellposeUNet(widths_of(state), state["output.2.weight"].shape[0])
    except KeyError as error:
        raise WeightsError(f"{url} lacks the key {error} of a residual U-Net.") from error
    for name, own in net.state_dict().items():
        if name not in state:
            raise WeightsError(f"{url} lacks the key '{name}' of a residual U-Net.")
        if state[name].shape != own.shape:
            raise WeightsError(
                f"{url}: '{name}' has shape {tuple(state[name].shape)}, "
                f"a residual U-Net of widths {net.widths} needs {tuple(own.shape)}."
            )
    unknown = sorted(set(state) - set(net.state_dict()))
    if unknown:
        raise WeightsError(f"{url} holds the key '{unknown[0]}', which a residual U-Net has not.")
    if net.outputs != 3:
        raise WeightsError(f"{url} has {net.outputs} outputs; flows and probability need 3.")
    net.load_state_dict({name: value.float() for name, value in state.items()})
    return net.eval()


@dataclass(frozen=True)
class TorchNet:
    """A network with its weights, as the engine calls it."""

    module: CellposeUNet
    device: str
    half: bool
    """Whether matrix products run in bfloat16."""
    diameter: float
    usual_diameter: float
    tile: int = 512

    @property
    def channels(self) -> int:
        return self.module.widths[0]

    @torch.inference_mode()
    def __call__(self, tiles: Floats) -> Floats:
        """(n, c, y, x) normalised image, c up to `channels` → (n, 3, y, x) float32.

        Flow y and flow x in voxels per step, then the logit of the cell probability. Missing
        channels are zero, as in training.
        """
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
    url = locate(model)
    if digest(model) != sha256:
        raise WeightsError(
            f"{url} has changed since the run was planned; put the former weights back, "
            "or start a new run."
        )
    module = build(read_state(url), url)
    # Read before the cast: half precision would round them.
    diameters = module.diam_mean.item(), module.diam_labels.item()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = device == "cuda" or has_fast_bfloat16()
    module = module.to(device, torch.bfloat16 if half else torch.float32)
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TorchNet(module, device, half, *diameters)


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    capability: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))
