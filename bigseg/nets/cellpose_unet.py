"""The residual U-Net with a style vector of Cellpose 1 to 3 (cyto, cyto2, cyto3, nuclei).

Stringer et al. 2021, Nature Methods 18:100, doi 10.1038/s41592-020-01018-x. Names and order of the
layers are those of the published weights, so a published state dict loads strictly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

DIAMETERS = ("diam_mean", "diam_labels")
"""Diameters of objects stored with weights: what they are resized to, what they had in training."""


def batchconv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Build normalise → ReLU → convolve: (n, inputs, y, x) → (n, outputs, y, x)."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.05),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
    )


def projection(inputs: int, outputs: int) -> nn.Sequential:
    """Build normalise → 1×1 convolution, the shortcut of a residual block."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs, eps=1e-5, momentum=0.05), nn.Conv2d(inputs, outputs, 1)
    )


class StyledConv(nn.Module):
    """Add the style (and a skip), then convolve."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = batchconv(inputs, outputs)
        self.full = nn.Linear(style, outputs)

    def forward(self, style: Tensor, x: Tensor, skip: Tensor | None = None) -> Tensor:
        shift = self.full(style)[:, :, None, None]
        x = x + shift if skip is None else (x + skip).add_(shift)
        result: Tensor = self.conv(x)  # (n, outputs, y, x)
        return result


class ResidualDown(nn.Module):
    """Four convolutions with two shortcuts, on the way down."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        for t in range(4):
            self.conv.add_module(f"conv_{t}", batchconv(outputs if t else inputs, outputs))
        self.proj = projection(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        # In place: what a convolution gives is nobody else's, and memory is what sums cost.
        x = self.proj(x).add_(self.conv[1](self.conv[0](x)))
        result: Tensor = self.conv[3](self.conv[2](x)).add_(x)
        return result


class ResidualUp(nn.Module):
    """Four convolutions with two shortcuts, on the way up; the style enters three of them."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        self.conv.add_module("conv_0", batchconv(inputs, outputs))
        for t in range(1, 4):
            self.conv.add_module(f"conv_{t}", StyledConv(outputs, outputs, style))
        self.proj = projection(inputs, outputs)

    def forward(self, x: Tensor, skip: Tensor, style: Tensor) -> Tensor:
        x = self.proj(x).add_(self.conv[1](style, self.conv[0](x), skip))
        result: Tensor = self.conv[3](style, self.conv[2](style, x)).add_(x)
        return result


class Down(nn.Module):
    """Encoder: level n works at 1 / 2ⁿ of the resolution."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.down = nn.Sequential()
        for n, (inputs, outputs) in enumerate(pairwise(widths)):
            self.down.add_module(f"res_down_{n}", ResidualDown(inputs, outputs))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for n, block in enumerate(self.down):
            x = block(functional.max_pool2d(levels[-1], 2) if n else x)
            levels.append(x)
        return levels


class Up(nn.Module):
    """Decoder: from the coarsest level to full resolution, adding the encoder's level each time."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.up = nn.Sequential()
        coarse = [*widths[2:], widths[-1]]
        for n, (inputs, outputs) in enumerate(zip(coarse, widths[1:], strict=True)):
            self.up.add_module(f"res_up_{n}", ResidualUp(inputs, outputs, widths[-1]))

    def forward(self, levels: Sequence[Tensor], style: Tensor) -> Tensor:
        x = levels[-1]
        for n in reversed(range(len(levels))):
            if n < len(levels) - 1:
                x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = self.up[n](x, levels[n], style)
        return x


class CellposeUNet(nn.Module):
    """Image tiles to flows and cell probability, or to a restored image.

    Parameters
    ----------
    widths
        Input channels, then features of each level; (2, 32, 64, 128, 256) is the published width,
        (1, 32, 64, 128, 256) that of the restoring networks.
    outputs
        Number of output maps.
    diameters
        Which diameters are stored with the weights; files of Cellpose before 2 hold none.
    """

    diam_mean: nn.Parameter
    diam_labels: nn.Parameter

    def __init__(
        self,
        widths: Sequence[int] = (2, 32, 64, 128, 256),
        outputs: int = 3,
        diameters: Collection[str] = DIAMETERS,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.outputs = outputs
        self.downsample = Down(widths)
        self.upsample = Up(widths)
        self.output = batchconv(widths[1], outputs, 1)
        for name in diameters:
            self.register_parameter(name, nn.Parameter(torch.tensor([30.0]), requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, y, x) → (n, k, y, x); y and x multiples of 8.

        Maps of a segmenting network are flow y, flow x (× 5) and logit.
        """
        return self.forward_with_style(x)[0]

    def forward_with_style(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, y, x) → maps (n, k, y, x), and style (n, w4) of unit length, in float32."""
        levels = self.downsample(x)  # (n, w1, y, x) … (n, w4, y/8, x/8)
        style = levels[-1].float().mean((2, 3))  # (n, w4)
        style = style / style.norm(dim=1, keepdim=True)
        maps: Tensor = self.output(self.upsample(levels, style.to(levels[-1].dtype)))
        return maps, style


def build(shapes: Mapping[str, tuple[int, ...]]) -> CellposeUNet:
    """Network of the keys and shapes of a state dict: any channels, widths, depth and outputs.

    Raises
    ------
    KeyError
        With the key that is needed and missing.
    """
    stored = [name for name in DIAMETERS if name in shapes]
    return CellposeUNet(_widths(shapes), shapes["output.2.weight"][0], stored)


def widths_of(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Widths of the network that a state dict was saved from."""
    return _widths({name: tuple(value.shape) for name, value in state.items()})


def _widths(shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    key = "downsample.down.res_down_{}.conv.conv_0.2.weight"
    widths = [shapes[key.format(0)][1]]
    while len(widths) == 1 or key.format(len(widths) - 1) in shapes:
        widths.append(shapes[key.format(len(widths) - 1)][0])
    return tuple(widths)
