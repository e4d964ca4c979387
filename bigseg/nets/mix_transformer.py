"""The mix transformer, the encoder of the transformer of Cellpose 3.

Xie et al. 2021, SegFormer, arXiv 2105.15203. Names of the layers are those of published weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class EncoderSizes:
    """Sizes of an encoder; the published ones by default (MiT-B5)."""

    channels: int = 3
    widths: tuple[int, ...] = (64, 128, 320, 512)
    """Of tokens, at 1/4, 1/8, 1/16 and 1/32 of the resolution."""
    hidden: tuple[int, ...] = (256, 512, 1280, 2048)
    depths: tuple[int, ...] = (3, 6, 40, 3)
    reductions: tuple[int, ...] = (8, 4, 2, 1)
    """Keys and values are of so many tokens along each edge together."""

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

    def __init__(self, sizes: EncoderSizes) -> None:
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
