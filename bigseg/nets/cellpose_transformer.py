"""The transformer of Cellpose 3 (transformer_cp3, neurips_cellpose_transformer, and its like).

The encoder is the mix transformer of Xie et al. 2021, SegFormer, arXiv 2105.15203 (MiT-B5), the
decoder the multi-scale attention net of Fan et al. 2020, MA-Net, doi 10.1109/ACCESS.2020.3025372,
put together as in Lee et al. 2022, MEDIAR, arXiv 2212.03465. Names of the layers are those of the
published weights, so a published state dict loads strictly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import count, zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigseg.nets.cellpose_unet import DIAMETERS

SQUEEZE = 16
"""Channels that are weighed together, in the decoder."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network; the published ones by default (MiT-B5)."""

    channels: int = 3
    widths: tuple[int, ...] = (64, 128, 320, 512)
    """Of tokens, at 1/4, 1/8, 1/16 and 1/32 of the resolution."""
    hidden: tuple[int, ...] = (256, 512, 1280, 2048)
    depths: tuple[int, ...] = (3, 6, 40, 3)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    """Keys and values are of so many tokens along each edge together."""
    attention: int = 64
    """Channels by which the decoder compares places."""
    decoder: tuple[int, ...] = (256, 128, 64, 32, 16)

    @property
    def head(self) -> int:
        """Entries of a token for each head: the first level has one head, all are alike."""
        return self.widths[0]


def grid(tokens: Tensor, rows: int) -> Tensor:
    """(n, t, c) → (n, c, rows, columns), channels last in memory."""
    n, t, width = tokens.shape
    return tokens.transpose(1, 2).view(n, width, rows, t // rows)


class Attention(nn.Module):
    """Attention of every token to groups of tokens: (n, t, width) → the same."""

    def __init__(self, width: int, head: int, reduction: int) -> None:
        super().__init__()
        self.head = head
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        self.sr: nn.Conv2d | None = None
        if reduction > 1:
            self.sr = nn.Conv2d(width, width, reduction, stride=reduction)
            self.norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x: Tensor, rows: int) -> Tensor:
        n, t, width = x.shape
        heads = (width // self.head, self.head)
        q = self.q(x).unflatten(2, heads).transpose(1, 2)  # (n, heads, t, head)
        if self.sr is not None:
            x = self.norm(self.sr(grid(x, rows)).flatten(2).transpose(1, 2))
        k, v = self.kv(x).unflatten(2, (2, *heads)).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q, k, v)
        result: Tensor = self.proj(found.transpose(1, 2).reshape(n, t, width))
        return result


class Depthwise(nn.Module):
    """A 3 × 3 convolution of each channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor, rows: int) -> Tensor:
        result: Tensor = self.dwconv(grid(x, rows)).flatten(2).transpose(1, 2)
        return result


class Mlp(nn.Module):
    """Two layers on each token, which meets its neighbours between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.dwconv = Depthwise(hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor, rows: int) -> Tensor:
        result: Tensor = self.fc2(functional.gelu(self.dwconv(self.fc1(x), rows)))
        return result


class Block(nn.Module):
    """Attention, then two layers on each token, with shortcuts: (n, t, width) → the same."""

    def __init__(self, width: int, hidden: int, head: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, head, reduction)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor, rows: int) -> Tensor:
        x = x + self.attn(self.norm1(x), rows)
        result: Tensor = x + self.mlp(self.norm2(x), rows)
        return result


class PatchEmbed(nn.Module):
    """Tokens of overlapping patches: (n, c, y, x) → (n, t, width), and how many rows they are."""

    def __init__(self, inputs: int, width: int, patch: int, step: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, patch, stride=step, padding=patch // 2)
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x: Tensor) -> tuple[Tensor, int]:
        x = self.proj(x)
        return self.norm(x.flatten(2).transpose(1, 2)), x.shape[2]


class Encoder(nn.Module):
    """Image to features at 1/4, 1/8, 1/16 and 1/32 of its resolution."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        inputs = (sizes.channels, *sizes.widths)
        for level, width in enumerate(sizes.widths):
            patch, step = (3, 2) if level else (7, 4)
            block = (width, sizes.hidden[level], sizes.head, sizes.reductions[level])
            blocks = nn.ModuleList([Block(*block) for _ in range(sizes.depths[level])])
            self.add_module(
                f"patch_embed{level + 1}", PatchEmbed(inputs[level], width, patch, step)
            )
            self.add_module(f"block{level + 1}", blocks)
            self.add_module(f"norm{level + 1}", nn.LayerNorm(width, eps=1e-6))
        self.levels = len(sizes.widths)

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for level in range(1, self.levels + 1):
            tokens, rows = self.get_submodule(f"patch_embed{level}")(x)
            for block in self.get_submodule(f"block{level}").children():
                tokens = block(tokens, rows)
            x = grid(self.get_submodule(f"norm{level}")(tokens), rows)
            found.append(x)
        return found


def convolution(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Build convolve → normalise → ReLU: (n, inputs, y, x) → (n, outputs, y, x)."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class PlaceAttention(nn.Module):
    """Attention among the places of the coarsest level: (n, c, y, x) → the same.

    As in the code that the published weights were trained with, which differs from the paper:
    softmax runs over all pairs of places at once, and the sums, of which there is one vector for
    each place, are taken for one plane of each channel without turning them round. Both
    depend on how many places there are: that is why tiles have one size.
    """

    def __init__(self, width: int, attention: int) -> None:
        super().__init__()
        self.top_conv = nn.Conv2d(width, attention, 1)
        self.center_conv = nn.Conv2d(width, attention, 1)
        self.bottom_conv = nn.Conv2d(width, width, 3, padding=1)
        self.out_conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        keys = self.top_conv(x).flatten(2)  # (n, attention, places)
        queries = self.center_conv(x).flatten(2).transpose(1, 2)  # (n, places, attention)
        values = self.bottom_conv(x).flatten(2).transpose(1, 2)  # (n, places, c)
        pairs = queries @ keys  # (n, places, places)
        weights = pairs.flatten(1).softmax(1).view_as(pairs)
        result: Tensor = self.out_conv(x + (weights @ values).reshape(x.shape))
        return result


def channel_weights(width: int) -> nn.Sequential:
    """Build the weight, 0 to 1, of each channel: (n, width, y, x) → (n, width, 1, 1)."""
    squeezed = max(width // SQUEEZE, 1)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(width, squeezed, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(squeezed, width, 1),
        nn.Sigmoid(),
    )


class FusionBlock(nn.Module):
    """Double the resolution and join the encoder's level: (n, inputs, y, x) → (n, outputs, 2y, 2x).

    Channels count as much as both levels say.
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.hl_conv = nn.Sequential(convolution(inputs, inputs), convolution(inputs, skip, 1))
        self.SE_ll = channel_weights(skip)
        self.SE_hl = channel_weights(skip)
        self.conv1 = convolution(2 * skip, outputs)
        self.conv2 = convolution(outputs, outputs)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.hl_conv(x)
        x = x * (self.SE_hl(x) + self.SE_ll(skip))  # before it has four times the pixels
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        result: Tensor = self.conv2(self.conv1(torch.cat([x, skip], 1)))
        return result


class PlainBlock(nn.Module):
    """Double the resolution: (n, inputs, y, x) → (n, outputs, 2y, 2x)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, outputs)
        self.conv2 = convolution(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.interpolate(x, scale_factor=2, mode="nearest")
        result: Tensor = self.conv2(self.conv1(x))
        return result


class Decoder(nn.Module):
    """Features of all levels to full resolution."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        *skips, coarsest = sizes.widths
        self.center = PlaceAttention(coarsest, sizes.attention)
        self.blocks = nn.ModuleList()
        inputs = coarsest
        for outputs, skip in zip_longest(sizes.decoder, reversed(skips)):
            block = FusionBlock(inputs, skip, outputs) if skip else PlainBlock(inputs, outputs)
            self.blocks.append(block)
            inputs = outputs

    def forward(self, levels: list[Tensor]) -> Tensor:
        *skips, coarsest = levels
        x: Tensor = self.center(coarsest)
        for block, skip in zip_longest(self.blocks, reversed(skips)):
            x = block(x) if skip is None else block(x, skip)
        return x


class Net(nn.Module):
    """Encoder, decoder, and the convolution that makes the maps."""

    def __init__(self, sizes: Sizes, outputs: int) -> None:
        super().__init__()
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes)
        head = nn.Conv2d(sizes.decoder[-1], outputs, 3, padding=1)
        self.segmentation_head = nn.Sequential(head)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.segmentation_head(self.decoder(self.encoder(x)))
        return maps


class CellposeTransformer(nn.Module):
    """Image tiles to flows and cell probability; there is no style.

    Parameters
    ----------
    sizes
        Sizes of the layers.
    outputs
        Number of output maps.
    diameters
        Which diameters are stored with the weights.
    """

    diam_mean: nn.Parameter
    diam_labels: nn.Parameter

    def __init__(
        self,
        sizes: Sizes | None = None,
        outputs: int = 3,
        diameters: Collection[str] = DIAMETERS,
    ) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.channels = sizes.channels
        self.outputs = outputs
        for name in diameters:
            self.register_parameter(name, nn.Parameter(torch.tensor([30.0]), requires_grad=False))
        self.net = Net(sizes, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, y, x) → (n, outputs, y, x); y and x multiples of 32, as published 224.

        Maps are flow y, flow x (× 5) and logit.
        """
        maps: Tensor = self.net(x)
        return maps


def build(shapes: Mapping[str, tuple[int, ...]]) -> CellposeTransformer:
    """Network of the sizes that a state dict's keys and shapes tell; its values are to be loaded.

    Raises
    ------
    KeyError
        With the first key that is needed and missing.
    """
    embeds = [shapes[f"net.encoder.patch_embed{level}.proj.weight"] for level in range(1, 5)]
    levels = [f"net.encoder.block{level}" for level in range(1, 5)]
    reductions = (shapes.get(f"{level}.0.attn.sr.weight", (1,))[-1] for level in levels)
    decoder = _counted(shapes, "net.decoder.blocks.{}.conv1.0.weight")
    sizes = Sizes(
        channels=embeds[0][1],
        widths=tuple(shape[0] for shape in embeds),
        hidden=tuple(shapes[f"{level}.0.mlp.fc1.weight"][0] for level in levels),
        depths=tuple(len(_counted(shapes, level + ".{}.norm1.weight")) for level in levels),
        reductions=tuple(reductions),
        attention=shapes["net.decoder.center.top_conv.weight"][0],
        decoder=tuple(shape[0] for shape in decoder),
    )
    stored = [name for name in DIAMETERS if name in shapes]
    with torch.device("meta"):  # initial values of 170 million weights would take seconds
        net = CellposeTransformer(sizes, shapes["net.segmentation_head.0.weight"][0], stored)
    return net.to_empty(device="cpu")


def _counted(shapes: Mapping[str, tuple[int, ...]], key: str) -> list[tuple[int, ...]]:
    """Shapes of a key that is numbered from 0 on; the first is needed."""
    found = [shapes[key.format(0)]]
    for number in count(1):
        if key.format(number) not in shapes:
            return found
        found.append(shapes[key.format(number)])
    return found
