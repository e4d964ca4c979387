"""Attention among the patches of a tile, whose places enter by rotation.

Su et al. 2021, arXiv 2104.09864; along two axes as in Siméoni et al. 2025, arXiv 2508.10104.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

LONGEST_PERIOD = 100.0
"""Of rotations, in half edges of a tile; the shortest is 1."""
ROWS = 256
"""Queries whose scores are computed at once, on a processor."""


class Rotations(nn.Module):
    """Angles by which queries and keys are turned: of each patch, for its place in the tile."""

    periods: Tensor

    def __init__(self, head: int) -> None:
        super().__init__()
        # Not on the device that tells shapes only: that would import a compiler, for a second.
        exponents = torch.arange(head // 4, device="cpu") / (head // 4)
        self.register_buffer("periods", LONGEST_PERIOD**exponents)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        exact = self.periods
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.periods.dtype != exact.dtype:  # of bfloat16, angles would be off by half a degree
            self.periods = exact.to(self.periods.device)
        return self

    def forward(self, rows: int, columns: int, others: int) -> tuple[Tensor, Tensor]:
        """Sine and cosine for `others` tokens that do not turn, then patches: (t, head) each."""
        places = [
            (torch.arange(n, device=self.periods.device) + 0.5) * (2 / n) - 1
            for n in (rows, columns)
        ]
        grid = torch.stack(torch.meshgrid(*places, indexing="ij"), -1).view(-1, 2, 1)
        angles = (2 * pi * grid / self.periods).flatten(1)  # (rows · columns, head / 2)
        angles = functional.pad(angles.repeat(1, 2), (0, 0, others, 0))
        return angles.sin(), angles.cos()


def turned(x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
    """Turn entries i and i + head/2 of vectors (n, heads, t, head) by their angle."""
    first, second = x.chunk(2, -1)
    return (x * cosine + torch.cat([-second, first], -1) * sine).to(x.dtype)


def by_rows(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of some queries at a time: (n, heads, t, head) each → the same.

    For half precision on CPUs, whose own kernel multiplies in float32. Each score is rounded once;
    there is no gradient.
    """
    n, heads, t, head = q.shape
    q, k, v = (x.reshape(n * heads, t, head) for x in (q * head**-0.5, k, v))
    result = torch.empty_like(q)
    scores = q.new_empty(ROWS, t)  # stays in the cache
    shares = torch.empty_like(scores)
    for m in range(n * heads):
        for first in range(0, t, ROWS):
            rows = q[m, first : first + ROWS]
            some, weights = scores[: len(rows)], shares[: len(rows)]
            torch.mm(rows, k[m].t(), out=some)
            torch.softmax(some, -1, out=weights)
            torch.mm(weights, v[m], out=result[m, first : first + ROWS])
    return result.view(n, heads, t, head)


class QueriesKeysValues(nn.Linear):
    """A layer whose bias is masked: keys have none."""

    bias_mask: Tensor

    def __init__(self, width: int) -> None:
        super().__init__(width, 3 * width)
        self.register_buffer("bias_mask", torch.ones(3 * width))
        self.bias_mask[width : 2 * width] = 0

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias * self.bias_mask)


class Attention(nn.Module):
    """Attention of every token to every other: (n, t, width) → the same."""

    def __init__(self, width: int, head: int) -> None:
        super().__init__()
        self.head = head
        self.qkv = QueriesKeysValues(width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, sine: Tensor, cosine: Tensor) -> Tensor:
        n, t, width = x.shape
        qkv = self.qkv(x).view(n, t, 3, width // self.head, self.head)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (n, heads, t, head) each
        q, k = turned(q, sine, cosine), turned(k, sine, cosine)
        plain = q.device.type != "cpu" or q.dtype == torch.float32 or torch.is_grad_enabled()
        found = functional.scaled_dot_product_attention(q, k, v) if plain else by_rows(q, k, v)
        result: Tensor = self.proj(found.transpose(1, 2).reshape(n, t, width))
        return result
