"""Attention among the patches of a tile, with decomposed relative positions.

As in the image encoder of Segment Anything (Kirillov et al. 2023, arXiv 2304.02643; the bias is
that of Li et al. 2022, arXiv 2112.01526).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional


class Attention(nn.Module):
    """Attention of every patch to every other, with a bias for where they lie to each other.

    The bias of a query q at (y, x) for a key at (v, u) is q · (H[y − v] + W[x − u]). Tables H and
    W keep the size they have in the file and are interpolated to this tile's 2·tokens − 1 rows.
    That is done once, not in each call: again after loading, moving or casting.

    Parameters
    ----------
    width, head
        Entries of a token, and of each head's share of it.
    tokens
        Patches along each edge of a tile.
    rows
        Rows of the tables in the file.
    """

    def __init__(self, width: int, head: int, tokens: int, rows: int) -> None:
        super().__init__()
        self.tokens, self.head = tokens, head
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(rows, head))
        self.rel_pos_w = nn.Parameter(torch.zeros(rows, head))
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
        attend = joined
        if x.device.type == "cpu":
            whole = x.dtype == torch.float32 or torch.is_grad_enabled()
            attend = tile_by_tile if whole else head_by_head
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

    Runs in float32 whatever comes in.

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
    t, tokens = qkv.shape[1], len(high)
    # One buffer for all masks: fresh memory for each would cost as much as filling it.
    buffer = None if torch.is_grad_enabled() else high.new_empty(1, t, tokens, tokens)
    tiles = []
    for tile in qkv:
        heads = []
        for one in tile.unbind(2):  # (t, 3, head)
            q, k, v = one.float().permute(1, 0, 2)[:, None]  # (1, t, head) each
            rows, columns = biases(q, high, wide)
            mask = torch.add(rows[..., :, None], columns[..., None, :], out=buffer)
            found = functional.scaled_dot_product_attention(
                q[None], k[None], v[None], attn_mask=mask.view(1, 1, t, t)
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
    scale = head**-0.5
    found = functional.scaled_dot_product_attention(
        torch.cat([q, *(b / scale for b in bias)], -1),
        torch.cat([k, places(high).expand(n, heads, t, 2 * tokens)], -1),
        functional.pad(v, (0, 2 * tokens)),
        scale=scale,
    )
    return found[..., :head].transpose(1, 2).reshape(n, t, heads * head)


def head_by_head(qkv: Tensor, high: Tensor, wide: Tensor) -> Tensor:
    """Attention with the bias as part of the product, one tile and head at a time.

    For half precision on CPUs, whose own kernel multiplies in float32: sums, biases included, are
    float32 here, and each score is rounded once. Parameters and result as of `tile_by_tile`;
    there is no gradient.
    """
    n, t, _, heads, head = qkv.shape
    q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2)  # (n · heads, t, head) each
    query = torch.cat([q * head**-0.5, *biases(q, high, wide)], -1)
    key = qkv.new_empty(t, query.shape[-1])
    key[:, head:] = places(high)
    # One buffer for all scores: 4 MB that stay in the cache.
    scores, shares = qkv.new_empty(t, t), qkv.new_empty(t, t)
    result = qkv.new_empty(n, t, heads, head)
    for m in range(n * heads):
        key[:, :head] = k[m]
        torch.mm(query[m], key.t(), out=scores)
        torch.softmax(scores, -1, out=shares)
        result[m // heads, :, m % heads] = shares @ v[m]
    return result.view(n, t, heads * head)


def places(table: Tensor) -> Tensor:
    """What keys add to theirs, (t, 2 · tokens): a one at their row, and at their column."""
    tokens = len(table)
    one = torch.eye(tokens, device=table.device, dtype=table.dtype)
    return torch.cat([one.repeat_interleave(tokens, 0), one.repeat(tokens, 1)], 1)
