"""From a file of weights to a network that runs: built strictly, once per process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bigseg import cores
from bigseg.core.representations import Name, has_vectors
from bigseg.errors import WeightsError
from bigseg.nets import weights
from bigseg.nets.architectures import Architecture, Shapes, published_keys, recognise
from bigseg.nets.functions import is_function, load_function
from bigseg.nets.packed import pack
from bigseg.nets.tensors import read_shapes, read_tensors
from bigseg.types import Floats

FLOW_SCALE = 5.0
"""Networks are trained on flows times this, so that their error weighs as much as the logit's."""

CALL = {"cpu": 3 << 16, "cuda": 1 << 22}
"""Pixels per call of a network: larger ones are no faster on a processor, and take more memory."""


def read_state(url: str) -> dict[str, Tensor]:
    """Tensors of a safetensors or PyTorch file; code in a pickle is never run."""
    found = published_keys(read_tensors(url))
    return {name: torch.from_numpy(value) for name, value in found.items()}


def build(state: Mapping[str, Tensor], url: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Network of a state dict; every key and shape must fit.

    Parameters
    ----------
    state, url
        Tensors, perhaps views of a file, and where they are from. The network keeps none of them.
    dtype
        Of its parameters.

    Raises
    ------
    WeightsError
        Naming the first key that is missing, unknown or of another shape.
    """
    net = _fitting({name: tuple(value.shape) for name, value in state.items()}, url)
    if dtype == torch.float32:
        net.load_state_dict({name: value.float() for name, value in state.items()})
    else:
        # Cast from the file as it is mapped: a copy in single precision would double the memory.
        net.load_state_dict({name: _as_read(value) for name, value in state.items()}, assign=True)
        net = net.to(dtype)
    return net.eval()


def check(url: str) -> None:
    """Refuse a file that fits no network; of its numbers only those are read that never change.

    Raises
    ------
    WeightsError
        Naming the first key that is missing, unknown or of another shape.
    """
    net = _fitting(published_keys(read_shapes(url)), url)
    constants = published_keys(read_tensors(url, [f"{prefix}W2" for prefix in ("", "module.")]))
    found = {name: torch.from_numpy(value) for name, value in constants.items()}
    net.load_state_dict(found, strict=False)


def _fitting(shapes: Shapes, url: str) -> nn.Module:
    """Network with keys and shapes like those of a file, without its numbers."""
    architecture = recognise(shapes, url)
    module = import_module(f"bigseg.nets.{architecture.module}")
    try:
        net: nn.Module = module.build(shapes)
    except KeyError as error:
        raise WeightsError(f"{url} lacks the key {error} of a {architecture.name}.") from error
    _compare(shapes, net, architecture, url)
    return net


def _as_read(value: Tensor) -> Tensor:
    """A tensor that casting will copy; what stays as it is must not depend on a file, either."""
    if value.ndim < 2 or not value.is_floating_point():
        return value.clone()
    return value.float()


def _compare(shapes: Shapes, net: nn.Module, architecture: Architecture, url: str) -> None:
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
    vectors: bool
    """Whether the first two outputs point along y and x."""
    device: str
    half: bool
    """Whether matrix products run in bfloat16."""
    fill: bool = True
    """Whether missing channels are shown as zeros; networks of Cellpose 4 take fewer."""

    @torch.inference_mode()
    def __call__(self, tiles: Floats) -> Floats:
        """(n, c, y, x) normalised image, c up to `channels` → (n, k, y, x) float32.

        Vectors come first, in voxels per step, then logits. If memory runs out, fewer tiles are
        computed at once.
        """
        allowed = cores.allowed()
        if allowed is not None and allowed != torch.get_num_threads():
            torch.set_num_threads(allowed)
        try:
            return self._outputs(tiles)
        except torch.OutOfMemoryError:
            if len(tiles) == 1:
                raise
        # Outside of the handler, which would hold on to what was allocated.
        torch.cuda.empty_cache()
        half = len(tiles) // 2
        return np.concatenate([self(tiles[:half]), self(tiles[half:])])

    def _outputs(self, tiles: Floats) -> Floats:
        """All outputs for tiles in one call of the network."""
        batch = torch.from_numpy(tiles)
        if self.fill and tiles.shape[1] < self.channels:
            batch = functional.pad(batch, (0, 0, 0, 0, 0, self.channels - tiles.shape[1]))
        dtype = torch.bfloat16 if self.half else torch.float32
        batch = batch.to(self.device, dtype, memory_format=torch.channels_last)
        outputs = self.module(batch).float()
        if self.vectors:
            if self.outputs > 3:  # as Cellpose has them: classes first
                outputs = torch.cat([outputs[:, -3:], outputs[:, :-3]], 1)
            outputs[:, :2] /= FLOW_SCALE
        result: Floats = np.ascontiguousarray(outputs.cpu().numpy())
        return result


@dataclass(frozen=True)
class Called:
    """A user's function in place of a network; what it gives is checked."""

    name: str
    function: Callable[..., Any]
    outputs: int

    def __call__(self, tiles: Floats) -> Floats:
        """(n, c, y, x) → (n, k, y, x) float32."""
        found = np.array(self.function(tiles), np.float32)  # averages add to it in place
        expected = (len(tiles), self.outputs, *tiles.shape[2:])
        if found.shape != expected:
            raise WeightsError(
                f"Model '{self.name}' made maps of shape {found.shape} of tiles of shape "
                f"{tiles.shape}; expected {expected}."
            )
        if np.isnan(found).any():
            raise WeightsError(f"Model '{self.name}' made values that are no numbers (NaN).")
        return found


@dataclass(frozen=True)
class Ensemble:
    """Networks whose outputs are averaged."""

    nets: tuple[TorchNet | Called, ...]

    @property
    def pixels(self) -> int:
        """Pixels to ask for at once."""
        return CALL["cuda" if all(getattr(n, "device", "") == "cuda" for n in self.nets) else "cpu"]

    def __call__(self, tiles: Floats) -> Floats:
        """(n, c, y, x) → (n, k, y, x) float32."""
        total = self.nets[0](tiles)
        for net in self.nets[1:]:
            total += net(tiles)
        total /= len(self.nets)
        return total


def load_all(
    models: tuple[str, ...],
    digests: tuple[str, ...],
    representation: Name | None = None,
    single: bool = False,
) -> Ensemble:
    """Networks of names, paths or URLs, whose outputs are averaged; see `load`."""
    pairs = zip(models, digests, strict=True)
    return Ensemble(tuple(load(name, digest, representation, single) for name, digest in pairs))


@lru_cache(maxsize=8)
def load(
    model: str, sha256: str, representation: Name | None = None, single: bool = False
) -> TorchNet | Called:
    """Network of a name, path or URL; each process reads and builds it once.

    Parameters
    ----------
    model, sha256
        What is loaded, and the digest of its file.
    representation
        What its outputs mean; None: as published.
    single
        Run in single precision, even where the processor gains from less.

    Raises
    ------
    WeightsError
        If the file is no longer the one whose digest is given, or does not fit a network.
    """
    known = weights.describe(model, representation)
    if weights.digest(model) != sha256:
        raise WeightsError(
            f"{model} has changed since the run was planned; put the former weights back, "
            "or start a new run."
        )
    if is_function(model):
        return Called(model, load_function(model), known.outputs)
    url = weights.locate(model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = not single and prefers_half(device)
    module = build(read_state(url), url, torch.bfloat16 if half else torch.float32).to(device)
    if half and device == "cpu":
        module = pack(module)
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    vectors = has_vectors(known.representation)
    fill = not known.any_channels
    return TorchNet(module, known.channels, known.outputs, vectors, device, half, fill)


def prefers_half(device: str) -> bool:
    """Whether a device multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return True
    capability: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))
