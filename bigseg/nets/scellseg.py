"""Scellseg's network: an extractor with attention gates and styles of all levels, and a tasker.

Xun et al. 2021, bioRxiv, doi 10.1101/2021.12.19.473392. The blocks are those of Cellpose's residual
U-Net; the package's plain networks (cellpose, hover, unet2, unet3) have the same names of layers
without the extensions. A published state dict loads strictly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigseg.nets.cellpose_unet import Down, ResidualUp

FIRST = "extractor.downsample.down.res_down_{}.conv.conv_0.2.weight"
GATE = "extractor.upsample.attn.attn_0.psi.0.weight"
DENSE = "extractor.upsample.up.res_up_0.up_conv.0.weight"
STYLE = "extractor.upsample.up.res_up_0.conv.conv_1.full.weight"
LAST = "tasker.base_conv.weight"


def narrow(inputs: int, outputs: int) -> nn.Sequential:
    """Build 1×1 convolution → normalise: (n, inputs, y, x) → (n, outputs, y, x)."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.BatchNorm2d(outputs))


class Gate(nn.Module):
    """Weaken what the encoder saw where the decoder finds nothing of interest."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.W_g = narrow(features, features // 2)
        self.W_x = narrow(features, features // 2)
        self.psi = nn.Sequential(*narrow(features // 2, 1), nn.Sigmoid())

    def forward(self, g: Tensor, x: Tensor) -> Tensor:
        weight: Tensor = self.psi(functional.relu(self.W_g(g) + self.W_x(x)))  # (n, 1, y, x)
        result: Tensor = x * weight
        return result


class DenseUp(ResidualUp):
    """A block on the way up that may see its input again at the end."""

    def __init__(self, inputs: int, outputs: int, style: int, dense: bool) -> None:
        super().__init__(inputs, outputs, style)
        if dense:
            self.up_conv = nn.Sequential(*narrow(inputs + outputs, outputs), nn.ReLU())
        self.dense = dense

    def forward(self, x: Tensor, skip: Tensor | None, style: Tensor) -> Tensor:
        out: Tensor = self.proj(x) + self.conv[1](style, self.conv[0](x), skip)
        out = out + self.conv[3](style, self.conv[2](style, out))
        if self.dense:
            out = self.up_conv(torch.cat([x, out], 1))  # (n, inputs + outputs, y, x)
        return out


class GatedUp(nn.Module):
    """Decoder; with gates it appends the encoder's level, without it adds it."""

    def __init__(
        self, widths: Sequence[int], styles: Sequence[int], *, gates: bool, dense: bool
    ) -> None:
        super().__init__()
        coarse = [*widths[2:], widths[-1]]
        self.up = nn.Sequential()
        for n, (i, o, style) in enumerate(zip(coarse, widths[1:], styles, strict=True)):
            last = n == len(styles) - 1
            self.up.add_module(
                f"res_up_{n}", DenseUp(2 * o if gates and not last else i, o, style, dense)
            )
        if gates:
            self.up_conv = nn.Sequential()
            self.attn = nn.Sequential()
            for n, (i, o) in enumerate(zip(widths[2:], widths[1:-1], strict=True)):
                self.up_conv.add_module(f"up_conv_{n}", nn.Sequential(*narrow(i, o), nn.ReLU()))
                self.attn.add_module(f"attn_{n}", Gate(o))
        self.gates = gates

    def forward(self, levels: Sequence[Tensor], styles: Sequence[Tensor]) -> Tensor:
        x: Tensor = self.up[-1](levels[-1], levels[-1], styles[-1])
        for n in reversed(range(len(levels) - 1)):
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            skip: Tensor | None = levels[n]
            if self.gates:
                x = self.up_conv[n](x)  # (n, o, y, x)
                x, skip = torch.cat([self.attn[n](x, skip), x], 1), None  # (n, 2 o, y, x)
            x = self.up[n](x, skip, styles[n])
        return x


class Extractor(nn.Module):
    """Image tiles to the features of each pixel."""

    def __init__(
        self, widths: Sequence[int], *, gates: bool, dense: bool, hierarchical: bool
    ) -> None:
        super().__init__()
        self.downsample = Down(widths)
        styles = [widths[-1]] * (len(widths) - 1)
        if hierarchical:
            styles = list(accumulate(reversed(widths[1:])))[::-1]
        self.upsample = GatedUp(widths, styles, gates=gates, dense=dense)
        self.hierarchical = hierarchical

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        levels = self.downsample(x)  # (n, w1, y, x) … (n, w4, y/8, x/8)
        styles = [_style(level) for level in (levels if self.hierarchical else levels[-1:])]
        if self.hierarchical:
            # Each level gets the styles of those below it, the coarsest first.
            entering = [torch.cat(styles[n:][::-1], 1) for n in range(len(levels))]
        else:
            entering = styles * len(levels)
        features: Tensor = self.upsample(levels, [s.to(levels[0].dtype) for s in entering])
        return features, styles


class Tasker(nn.Module):
    """Features to output maps."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.base_bn = nn.BatchNorm2d(features)
        self.base_conv = nn.Conv2d(features, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.base_conv(functional.relu(self.base_bn(x)))
        return result


class ScellsegNet(nn.Module):
    """Image tiles to flows, HoVer maps or class logits.

    Parameters
    ----------
    widths
        Input channels, then features of each level; (2, 32, 64, 128, 256) is the published width.
    outputs
        Output maps: 3 for flows and HoVer maps, the number of classes for U-Net2 and U-Net3.
    gates, dense, hierarchical
        Attention gates, dense units and styles of all levels: all in scellseg, none in the others.
    """

    def __init__(
        self,
        widths: Sequence[int] = (2, 32, 64, 128, 256),
        outputs: int = 3,
        *,
        gates: bool = True,
        dense: bool = True,
        hierarchical: bool = True,
    ) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.outputs = outputs
        self.extractor = Extractor(widths, gates=gates, dense=dense, hierarchical=hierarchical)
        self.tasker = Tasker(widths[1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, y, x) → (n, k, y, x); y and x multiples of 8.

        Maps are flow y, flow x (× 5) and logit; vertical map, horizontal map (× 5) and logit; or
        logits of background, cell and border.
        """
        return self.forward_with_style(x)[0]

    def forward_with_style(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(n, c, y, x) → maps (n, k, y, x), and the deepest style (n, w4) of unit length."""
        features, styles = self.extractor(x)
        maps: Tensor = self.tasker(features)
        return maps, styles[-1]


def build(shapes: Mapping[str, tuple[int, ...]]) -> ScellsegNet:
    """Network of the keys and shapes of a state dict: any widths, depth, outputs and extensions.

    Raises
    ------
    KeyError
        With the key that is needed and missing.
    """
    widths = [shapes[FIRST.format(0)][1]]
    while len(widths) == 1 or FIRST.format(len(widths) - 1) in shapes:
        widths.append(shapes[FIRST.format(len(widths) - 1)][0])
    return ScellsegNet(
        widths,
        shapes[LAST][0],
        gates=GATE in shapes,
        dense=DENSE in shapes,
        hierarchical=shapes[STYLE][1] != widths[-1],
    )


def _style(level: Tensor) -> Tensor:
    """(n, w, y, x) → mean of each feature, as a vector of unit length: (n, w) float32."""
    mean = level.float().mean((2, 3))
    style: Tensor = mean / mean.norm(dim=1, keepdim=True)
    return style
