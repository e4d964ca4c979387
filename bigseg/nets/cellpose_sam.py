"""The vision transformer of Cellpose-SAM (cpsam and what users train from it).

Pachitariu et al. 2025, bioRxiv, doi 10.1101/2025.04.28.651001; the image encoder is that of
Kirillov et al. 2023, arXiv 2304.02643. Names and order of the layers are those of the published
weights, so a published state dict loads strictly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigseg.errors import WeightsError
from bigseg.nets.cellpose_unet import DIAMETERS
from bigseg.nets.packed import gelu_of
from bigseg.nets.relative_attention import Attention

CHANNELS = 3
FLOW_MAPS = 3
"""Flow y, flow x (× 5) and the logit of the cell probability: the last maps of the output."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network; the published ones by default (ViT-L)."""

    patch: int = 8
    tokens: int = 32
    """Patches along each edge of a tile."""
    width: int = 1024
    hidden: int = 4096
    head: int = 64
    neck: int = 256
    tables: tuple[int, ...] = (27, 27, 27, 27, 27, 127) * 4
    """Rows of the tables of relative positions, of each block, as files hold them."""


class Mlp(nn.Module):
    """Two layers on each token."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.lin2(gelu_of(self.lin1, x))
        return result


class Block(nn.Module):
    """Attention, then two layers on each token, with shortcuts: (n, t, width) → the same."""

    def __init__(self, sizes: Sizes, rows: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width, eps=1e-6)
        self.attn = Attention(sizes.width, sizes.head, sizes.tokens, rows)
        self.norm2 = nn.LayerNorm(sizes.width, eps=1e-6)
        self.mlp = Mlp(sizes.width, sizes.hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class PixelNorm(nn.LayerNorm):
    """Normalise the channels of each pixel: (n, c, y, x) → the same."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PatchEmbed(nn.Module):
    """One token per patch, from as many channels as the image has."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.proj = nn.Conv2d(CHANNELS, sizes.width, sizes.patch, stride=sizes.patch)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, y, x) → (n, width, tokens, tokens)."""
        weight = self.proj.weight[:, : x.shape[1]]
        return functional.conv2d(x, weight, self.proj.bias, stride=self.proj.stride)


class Encoder(nn.Module):
    """Tiles to features of each patch: (n, c, y, x) → (n, neck, tokens, tokens)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        width, neck, tokens = sizes.width, sizes.neck, sizes.tokens
        self.patch_embed = PatchEmbed(sizes)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, tokens, width))
        self.blocks = nn.ModuleList([Block(sizes, rows) for rows in sizes.tables])
        self.neck = nn.Sequential(
            nn.Conv2d(width, neck, 1, bias=False),
            PixelNorm(neck, eps=1e-6),
            nn.Conv2d(neck, neck, 3, padding=1, bias=False),
            PixelNorm(neck, eps=1e-6),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).permute(0, 2, 3, 1) + self.pos_embed  # (n, tokens, tokens, width)
        grid = x.shape
        x = x.flatten(1, 2).contiguous()  # else every sum below would mix two layouts
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.neck(x.view(grid).permute(0, 3, 1, 2))
        return result


class CellposeSam(nn.Module):
    """Image tiles to semantic classes, flows and cell probability.

    Parameters
    ----------
    sizes
        Sizes of the layers.
    outputs
        Number of output maps: 3, and one more for each semantic class, background included.
    diameters
        Which diameters are stored with the weights; some published files hold none. Not used.
    """

    def __init__(
        self,
        sizes: Sizes | None = None,
        outputs: int = FLOW_MAPS,
        diameters: Collection[str] = DIAMETERS,
    ) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.outputs = outputs
        self.channels = CHANNELS
        self.patch = sizes.patch
        self.tile = sizes.patch * sizes.tokens
        """Edge of the tiles, in pixels; no other size fits."""
        maps = outputs * sizes.patch**2
        for name in sorted(diameters):  # in the order of the original's files
            self.register_parameter(name, nn.Parameter(torch.tensor([30.0]), requires_grad=False))
        # The original rearranges pixels by a product with this constant, which files contain.
        self.W2 = nn.Parameter(
            torch.eye(maps, device="cpu").view(maps, outputs, sizes.patch, sizes.patch),
            requires_grad=False,
        )
        self.encoder = Encoder(sizes)
        self.out = nn.Conv2d(sizes.neck, maps, 1)
        check = check_rearrangement
        self.register_load_state_dict_post_hook(check)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Output maps of a batch of tiles.

        Parameters
        ----------
        x
            (n, c, tile, tile) with 1 to 3 channels, in any order.

        Returns
        -------
        (n, outputs, tile, tile)
            Logits of the semantic classes, if there are any (first is background), and then, as
            the last three, flow y, flow x (× 5) and the logit of the cell probability.

        Raises
        ------
        ValueError
            Tiles are of another size, or have more channels.
        """
        if x.shape[2:] != (self.tile, self.tile) or not 1 <= x.shape[1] <= self.channels:
            raise ValueError(
                f"tiles of shape {tuple(x.shape)} do not fit this network: it takes 1 to "
                f"{self.channels} channels of {self.tile} × {self.tile} pixels."
            )
        return functional.pixel_shuffle(self.out(self.encoder(x)), self.patch)


def check_rearrangement(net: nn.Module, _: object) -> None:
    """Refuse weights of Cellpose 4 whose constant `W2` was changed, as nothing here uses it."""
    constant = net.get_parameter("W2")
    eye = torch.eye(len(constant), dtype=constant.dtype, device=constant.device)
    if not torch.equal(constant.flatten(1), eye):
        raise WeightsError(
            "'W2' is not the fixed rearrangement of pixels of Cellpose 4 (an identity matrix): "
            "the file is damaged, or of a network that was changed."
        )


def build(shapes: Mapping[str, tuple[int, ...]]) -> CellposeSam:
    """Network of the sizes that a state dict's keys and shapes tell; its values are to be loaded.

    Raises
    ------
    KeyError
        With the first key that is needed and missing.
    """
    width, _, patch, _ = shapes["encoder.patch_embed.proj.weight"]
    tables: list[tuple[int, ...]] = []
    while not tables or f"encoder.blocks.{len(tables)}.attn.rel_pos_h" in shapes:
        tables.append(shapes[f"encoder.blocks.{len(tables)}.attn.rel_pos_h"])
    sizes = Sizes(
        patch=patch,
        tokens=shapes["encoder.pos_embed"][1],
        width=width,
        hidden=shapes["encoder.blocks.0.mlp.lin1.weight"][0],
        head=tables[0][1],
        neck=shapes["encoder.neck.0.weight"][0],
        tables=tuple(rows for rows, _ in tables),
    )
    stored = [name for name in DIAMETERS if name in shapes]
    with torch.device("meta"):  # initial values of 300 million weights would take seconds
        net = CellposeSam(sizes, shapes["W2"][1], stored)
    return net.to_empty(device="cpu")
