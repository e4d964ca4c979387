"""The vision transformer of Cellpose-SAM (cpsam and what users train from it).

Pachitariu et al. 2025, bioRxiv, doi 10.1101/2025.04.28.651001; the image encoder is that of
Kirillov et al. 2023, arXiv 2304.02643. Names and order of the layers are those of the published
weights, so a published state dict loads strictly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from bigseg.errors import WeightsError

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


class Attention(nn.Module):
    """Attention of every patch to every other, with a bias for where they lie to each other.

    The bias of a query q at (y, x) for a key at (v, u) is q · (H[y − v] + W[x − u]). Tables H and
    W keep the size they have in the file and are interpolated to this tile's 2·tokens − 1 rows.
    That is done once, not in each call: again after loading, moving or casting.
    """

    def __init__(self, sizes: Sizes, rows: int) -> None:
        super().__init__()
        self.tokens, self.head = sizes.tokens, sizes.head
        self.qkv = nn.Linear(sizes.width, 3 * sizes.width)
        self.proj = nn.Linear(sizes.width, sizes.width)
        self.rel_pos_h = nn.Parameter(torch.zeros(rows, sizes.head))
        self.rel_pos_w = nn.Parameter(torch.zeros(rows, sizes.head))
        self._known: tuple[Tensor, Tensor] | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        self._known = None
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> Self:
        self._known = None
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape  # t = tokens²
        qkv = self.qkv(x).view(n, t, 3, width // self.head, self.head)
        # On a CPU a bias that stays in the cache is worth more than a large product, on a GPU a
        # kernel that never stores one.
        attend = tile_by_tile if x.device.type == "cpu" else joined
        result: Tensor = self.proj(attend(qkv, *self.positions()))
        return result

    def positions(self) -> tuple[Tensor, Tensor]:
        """Vectors H[y − v] and W[x − u]: two tensors (tokens, tokens, head), of queries × keys."""
        if torch.is_grad_enabled() or self.training:
            return self._positions()
        if self._known is None:
            self._known = self._positions()
        return self._known

    def _positions(self) -> tuple[Tensor, Tensor]:
        place = torch.arange(self.tokens, device=self.rel_pos_h.device)
        distance = place[:, None] - place + self.tokens - 1
        tables = [resized(t, 2 * self.tokens - 1) for t in (self.rel_pos_h, self.rel_pos_w)]
        return tables[0][distance], tables[1][distance]


def _forget(module: Attention, _: object) -> None:
    module._known = None


def resized(table: Tensor, rows: int) -> Tensor:
    """Interpolate a table (m, head) linearly to (rows, head)."""
    if len(table) == rows:
        return table
    columns = table.float().t()[None]  # (1, head, m); half precision would round twice
    return functional.interpolate(columns, rows, mode="linear")[0].t().to(table.dtype)


def biases(q: Tensor, high: Tensor, wide: Tensor) -> tuple[Tensor, Tensor]:
    """Bias of queries (m, t, head) for each row and for each column: two of (m, t, tokens)."""
    m, t, head = q.shape
    grid = q.reshape(m, len(high), len(wide), head)
    rows = torch.einsum("myxe,yke->myxk", grid, high)
    columns = torch.einsum("myxe,xke->myxk", grid, wide)
    return rows.reshape(m, t, -1), columns.reshape(m, t, -1)


def tile_by_tile(qkv: Tensor, high: Tensor, wide: Tensor) -> Tensor:
    """Attention with the bias as a mask, one tile and head at a time: 4 MB instead of 64 per tile.

    Runs in float32 whatever comes in: on CPUs that costs no time here, and half precision would
    round the sum of the two biases.

    Parameters
    ----------
    qkv
        (n, t, 3, heads, head)
    high, wide
        (tokens, tokens, head), see `Attention.positions`.

    Returns
    -------
    (n, t, heads · head)
    """
    high, wide = high.float(), wide.float()
    tiles = []
    for tile in qkv:
        heads = []
        for one in tile.unbind(2):  # (t, 3, head)
            q, k, v = one.float().permute(1, 0, 2)[:, None]  # (1, t, head) each
            rows, columns = biases(q, high, wide)
            mask = (rows[..., :, None] + columns[..., None, :]).flatten(2)  # (1, t, t)
            found = functional.scaled_dot_product_attention(
                q[None], k[None], v[None], attn_mask=mask[None]
            )
            heads.append(found[0, 0])
        tiles.append(torch.cat(heads, 1).to(qkv.dtype))
    return torch.stack(tiles)


def joined(qkv: Tensor, high: Tensor, wide: Tensor) -> Tensor:
    """Attention with the bias as part of the product: no (t, t) array is ever stored.

    Queries carry their biases for each row and column as further entries, keys have a one at
    their row and their column. So kernels without a mask (flash attention) can be used. Values
    are padded, as those kernels want queries and values of one length. Parameters and result as
    of `tile_by_tile`.
    """
    n, t, _, heads, head = qkv.shape
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (n, heads, t, head) each
    tokens = len(high)
    bias = [b.view(n, heads, t, tokens) for b in biases(q.flatten(0, 1), high, wide)]
    one = torch.eye(tokens, device=q.device, dtype=q.dtype)
    row, column = one.repeat_interleave(tokens, 0), one.repeat(tokens, 1)
    place = torch.cat([row, column], 1).expand(n, heads, t, 2 * tokens)
    scale = head**-0.5
    found = functional.scaled_dot_product_attention(
        torch.cat([q, *(b / scale for b in bias)], -1),
        torch.cat([k, place], -1),
        functional.pad(v, (0, 2 * tokens)),
        scale=scale,
    )
    return found[..., :head].transpose(1, 2).reshape(n, t, heads * head)


class Mlp(nn.Module):
    """Two layers on each token."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.lin2(functional.gelu(self.lin1(x)))
        return result


class Block(nn.Module):
    """Attention, then two layers on each token, with shortcuts: (n, t, width) → the same."""

    def __init__(self, sizes: Sizes, rows: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(sizes.width, eps=1e-6)
        self.attn = Attention(sizes, rows)
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
        x = x.flatten(1, 2)
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
    """

    def __init__(self, sizes: Sizes | None = None, outputs: int = FLOW_MAPS) -> None:
        super().__init__()
        sizes = sizes or Sizes()
        self.outputs = outputs
        self.channels = CHANNELS
        self.patch = sizes.patch
        self.tile = sizes.patch * sizes.tokens
        """Edge of the tiles, in pixels; no other size fits."""
        maps = outputs * sizes.patch**2
        self.diam_labels = nn.Parameter(torch.tensor([30.0]), requires_grad=False)
        self.diam_mean = nn.Parameter(torch.tensor([30.0]), requires_grad=False)
        # The original rearranges pixels by a product with this constant, which files contain.
        self.W2 = nn.Parameter(
            torch.eye(maps).view(maps, outputs, sizes.patch, sizes.patch), requires_grad=False
        )
        self.encoder = Encoder(sizes)
        self.out = nn.Conv2d(sizes.neck, maps, 1)
        check = _check_rearrangement
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


def _check_rearrangement(net: CellposeSam, _: object) -> None:
    eye = torch.eye(len(net.W2), dtype=net.W2.dtype, device=net.W2.device)
    if not torch.equal(net.W2.flatten(1), eye):
        raise WeightsError(
            "'W2' is not the fixed rearrangement of pixels of Cellpose-SAM (an identity matrix): "
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
    with torch.device("meta"):  # initial values of 300 million weights would take seconds
        net = CellposeSam(sizes, shapes["W2"][1])
    return net.to_empty(device="cpu")
