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
from bigseg.nets.mix_transformer import Encoder, EncoderSizes

SQUEEZE = 16
"""Channels that are weighed together, in the decoder."""


@dataclass(frozen=True)
class Sizes(EncoderSizes):
    """Sizes of a network; the published ones by default."""

    attention: int = 64
    """Channels by which the decoder compares places."""
    decoder: tuple[int, ...] = (256, 128, 64, 32, 16)


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
