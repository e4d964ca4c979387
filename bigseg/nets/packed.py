"""Linear layers whose weights lie in memory as the processor's matrix product wants them.

oneDNN would otherwise rearrange them in each call. PyTorch's own compiler packs them alike; it has
no public name for that, so networks run as well, and slower, where it is missing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST = 1 << 16
"""Weights of a layer for which packing is worth a call of its own."""


class PackedLinear(nn.Module):
    """A linear layer for prediction on a processor: it can be neither trained, moved nor saved.

    Parameters
    ----------
    layer
        What it stands for, of half precision.
    """

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        nothing = layer.weight.new_zeros(1, layer.in_features)
        # Neither parameters nor buffers, as no cast or change of layout can reach these.
        self.bias = layer(nothing)[0].detach()  # also where a part of it is masked
        self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())

    def forward(self, x: Tensor, then: str = "none") -> Tensor:
        """(…, inputs) → (…, outputs); `then` is done to them in the cache: "none" or "gelu"."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.weight, self.bias, then, [], "none"
        )
        return result


def gelu_of(layer: nn.Module, x: Tensor) -> Tensor:
    """GELU of what a linear layer gives."""
    return layer(x, "gelu") if isinstance(layer, PackedLinear) else functional.gelu(layer(x))


def pack(net: nn.Module) -> nn.Module:
    """Replace the large linear layers of a network in half precision on a processor, in place."""
    if not can_pack():
        return net
    for name in [name for name, _ in net.named_children()]:
        child = net.get_submodule(name)
        if isinstance(child, nn.Linear) and child.weight.numel() >= LEAST:
            # What this one held is free for the next: memory grows by one layer, not by all.
            setattr(net, name, PackedLinear(child))
        else:
            pack(child)
    return net


def can_pack() -> bool:
    """Whether this PyTorch knows how."""
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )
