"""The vision transformer of CP-DINO (cpdino and cpdino-vitb of Cellpose 4.2, and fine-tuned ones).

The encoder is that of Siméoni et al. 2025, DINOv3, arXiv 2508.10104, with patches that overlap by
half. Names and order of the layers are those of the published weights, so a published state dict
loads strictly.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigseg.nets.cellpose_sam import CHANNELS, FLOW_MAPS, check_rearrangement
from bigseg.nets.cellpose_unet import DIAMETERS
from bigseg.nets.packed import gelu_of
from bigseg.nets.rotary_attention import Attention, Rotations

LONGEST_PERIOD = 100.0
"""Of rotations, in half edges of a tile; the shortest is 1."""

ROWS = 256
"""Queries whose scores are computed at once, on a processor."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network; those of cpdino by default (ViT-L)."""

    step: int = 8
    """Pixels from one patch to the next."""
    patch: int = 16
    width: int = 1024
    hidden: int = 4096
    head: int = 64
    depth: int = 24
    storage: int = 4
    """Tokens that stand for no patch, apart from that of the class."""


class Mlp(nn.Module):
    """Two layers on each token."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(gelu_of(self.fc1, x))
        return result


class Scale(nn.Module):
    """A factor for each entry of a token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    """Attention, then two layers on each token, with scaled shortcuts: (n, t, width) → the same."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width, eps=1e-5)
        self.attn = Attention(sizes.width, sizes.head)
        self.ls1 = Scale(sizes.width)
        self.norm2 = nn.LayerNorm(sizes.width, eps=1e-5)
        self.mlp = Mlp(sizes.width, sizes.hidden)
        self.ls2 = Scale(sizes.width)

    def forward(self, x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), sine, cosine))
        result: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return result


class PatchEmbed(nn.Module):
    """One token per step, of a patch around it, from as many channels as the image has."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.step = sizes.step
        self.margin = (sizes.patch - sizes.step) // 2
        self.proj = nn.Conv2d(CHANNELS, sizes.width, sizes.patch)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, y, x) → (n, width, rows, columns)."""
        weight = self.proj.weight[:, : x.shape[1]]
        return functional.conv2d(x, weight, self.proj.bias, self.step, self.margin)


class Encoder(nn.Module):
    """Tiles to features of each patch: (n, c, y, x) → (n, rows, columns, width)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.storage_tokens = nn.Parameter(torch.zeros(1, sizes.storage, sizes.width))
        self.mask_token = nn.Parameter(torch.zeros(1, sizes.width))
        """In files only: training hid patches behind it."""
        self.patch_embed = PatchEmbed(sizes)
        self.rope_embed = Rotations(sizes.head)
        self.blocks = nn.ModuleList([Block(sizes) for _ in range(sizes.depth)])
        self.norm = nn.LayerNorm(sizes.width, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        n, _, rows, columns = x.shape
        others = [one.expand(n, -1, -1) for one in (self.cls_token, self.storage_tokens)]
        x = torch.cat([*others, x.flatten(2).transpose(1, 2)], 1)  # (n, t, width)
        count = x.shape[1] - rows * columns
        sine, cosine = self.rope_embed(rows, columns, count)
        for block in self.blocks:
            x = block(x, sine, cosine)
        result: Tensor = self.norm(x[:, count:]).view(n, rows, columns, -1)
        return result


class CellposeDino(nn.Module):
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
        self.step = sizes.step
        maps = outputs * sizes.step**2
        for name in sorted(diameters):  # in the order of the original's files
            self.register_parameter(name, nn.Parameter(torch.tensor([30.0]), requires_grad=False))
        # The original rearranges pixels by a product with this constant, which files contain.
        self.W2 = nn.Parameter(
            torch.eye(maps, device="cpu").view(maps, outputs, sizes.step, sizes.step),
            requires_grad=False,
        )
        self.encoder = Encoder(sizes)
        self.out = nn.Linear(sizes.width, maps)
        self.register_load_state_dict_post_hook(check_rearrangement)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Output maps of a batch of tiles.

        Parameters
        ----------
        x
            (n, c, y, x) with 1 to 3 channels, in any order; y and x are multiples of the step (8).
            Places are told apart as parts of a tile, so tiles of the training's size, 384, do best.

        Returns
        -------
        (n, outputs, y, x)
            Logits of the semantic classes, if there are any (first is background), and then, as
            the last three, flow y, flow x (× 5) and the logit of the cell probability.

        Raises
        ------
        ValueError
            Edges of tiles are no multiples of the step, or they have more channels.
        """
        odd = x.shape[2] % self.step or x.shape[3] % self.step
        if odd or not 1 <= x.shape[1] <= self.channels:
            raise ValueError(
                f"tiles of shape {tuple(x.shape)} do not fit this network: it takes 1 to "
                f"{self.channels} channels of a multiple of {self.step} pixels along each edge."
            )
        maps = self.out(self.encoder(x))  # (n, rows, columns, maps)
        return functional.pixel_shuffle(maps.permute(0, 3, 1, 2), self.step)


def build(shapes: Mapping[str, tuple[int, ...]]) -> CellposeDino:
    """Network of the sizes that a state dict's keys and shapes tell; its values are to be loaded.

    Raises
    ------
    KeyError
        With the first key that is needed and missing.
    """
    width, _, patch, _ = shapes["encoder.patch_embed.proj.weight"]
    key = "encoder.blocks.{}.mlp.fc1.weight"
    hidden, depth = shapes[key.format(0)][0], 1
    while key.format(depth) in shapes:
        depth += 1
    sizes = Sizes(
        step=shapes["W2"][-1],
        patch=patch,
        width=width,
        hidden=hidden,
        head=4 * shapes["encoder.rope_embed.periods"][0],
        depth=depth,
        storage=shapes["encoder.storage_tokens"][1],
    )
    stored = [name for name in DIAMETERS if name in shapes]
    with torch.device("meta"):  # initial values of 300 million weights would take seconds
        net = CellposeDino(sizes, shapes["W2"][1], stored)
    return net.to_empty(device="cpu")
