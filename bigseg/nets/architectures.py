"""The published architectures: how a file of weights tells which one it is, and what it takes.

Nothing here needs PyTorch, so that whoever plans a run does not have to load it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from bigseg.errors import WeightsError

Shapes = Mapping[str, tuple[int, ...]]
"""Shape of each tensor of a file."""
Value = TypeVar("Value")
ORPHANS = (".attn.ca.", ".attn.sa.")
"""Of a variant of Scellseg's network that was given up; its published HoVer file holds them."""


@dataclass(frozen=True)
class Architecture:
    """A family of networks that one module of `bigseg.nets` builds."""

    name: str
    module: str
    """Of `bigseg.nets`; its `build(shapes)` makes the network."""
    tell: str
    """Key that files of this family hold and others do not."""
    channels: Callable[[Shapes], int]
    """Most channels of an image."""
    outputs: Callable[[Shapes], int]
    """Output maps."""
    tile: Callable[[Shapes], int] | None = None
    """Edge of the only tiles it is shown, pixels; None: any multiple of 16."""
    any_channels: bool = False
    """Whether channels come in any order, and may be fewer; else what is missing is zeros."""
    any_diameter: bool = False
    """Whether it was trained on objects of all sizes: diameters in its files say nothing."""


ARCHITECTURES = (
    Architecture(
        "CP-DINO",
        "cellpose_dino",
        "encoder.cls_token",
        channels=lambda shapes: shapes["encoder.patch_embed.proj.weight"][1],
        outputs=lambda shapes: shapes["out.weight"][0] // shapes["W2"][-1] ** 2,
        tile=lambda _: 384,  # others would fit, but places are parts of tiles, these in training
        any_channels=True,
        any_diameter=True,
    ),
    Architecture(
        "Cellpose-SAM",
        "cellpose_sam",
        "W2",
        channels=lambda shapes: shapes["encoder.patch_embed.proj.weight"][1],
        outputs=lambda shapes: shapes["out.weight"][0] // shapes["W2"][-1] ** 2,
        tile=lambda s: s["encoder.pos_embed"][1] * s["encoder.patch_embed.proj.weight"][2],
        any_channels=True,
        any_diameter=True,
    ),
    Architecture(
        "Cellpose transformer",
        "cellpose_transformer",
        "net.encoder.patch_embed1.proj.weight",
        channels=lambda shapes: shapes["net.encoder.patch_embed1.proj.weight"][1],
        outputs=lambda shapes: shapes["net.segmentation_head.0.weight"][0],
        tile=lambda _: 224,  # its attention depends on how many places there are
    ),
    Architecture(
        "Scellseg network",
        "scellseg",
        "extractor.downsample.down.res_down_0.conv.conv_0.2.weight",
        channels=lambda s: s["extractor.downsample.down.res_down_0.conv.conv_0.2.weight"][1],
        outputs=lambda shapes: shapes["tasker.base_conv.weight"][0],
    ),
    Architecture(
        "Cellpose residual U-Net",
        "cellpose_unet",
        "downsample.down.res_down_0.conv.conv_0.2.weight",
        channels=lambda s: s["downsample.down.res_down_0.conv.conv_0.2.weight"][1],
        outputs=lambda shapes: shapes["output.2.weight"][0],
    ),
)


def recognise(shapes: Shapes, url: str) -> Architecture:
    """Architecture of a file of weights.

    Raises
    ------
    WeightsError
        If it is none of those known; the message lists them.
    """
    for architecture in ARCHITECTURES:
        if architecture.tell in shapes:
            return architecture
    known = "; ".join(f"a {a.name} holds '{a.tell}'" for a in ARCHITECTURES)
    first = next(iter(shapes), "no key at all")
    raise WeightsError(f"{url} is no network that bigseg knows: it begins with '{first}'. {known}.")


def published_keys(entries: Mapping[str, Value]) -> dict[str, Value]:
    """Entries of a file by the names that networks have, without those that no network uses.

    Training on several processors leaves `module.` before every name.
    """
    return {
        name.removeprefix("module."): value
        for name, value in entries.items()
        if not any(orphan in name for orphan in ORPHANS)
    }
