"""Find where an image is surely empty, from a coarse level, so that nothing is looked for there.

What is left is a mask of that level (`io.region`), kept with the run. It depends on the image
alone, never on blocks. See `core.background`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.background import background_limit, from_afar, may_hold_objects
from bigseg.grid import Block, Grid, Index
from bigseg.io.region import Region, level_region
from bigseg.io.scratch import create_scratch, scratch
from bigseg.io.volume import Volume
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """What is looked at, and what counts."""

    run: str
    image: str
    level: int
    """Coarse level."""
    channels: tuple[int, ...]
    shape: Index
    """(t, z, y, x) of that level."""
    reach: tuple[int, int, int]
    """Voxels of that level around what is bright that may belong to it, (z, y, x)."""
    percentiles: tuple[float, float]
    invert: bool = False

    @property
    def grid(self) -> Grid:
        """Frames: background is that of a whole frame."""
        return Grid(self.shape, (1, *self.shape[1:]), (0, 0, 0, 0))


def region_url(run: str) -> str:
    """Where the mask is: bool, (t, z, y, x)."""
    return files.join(run, "graph", "region")


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Create the mask."""
    chunks = (1, *(min(n, 256) for n in spec.shape[1:]))
    create_scratch(region_url(spec.run), spec.shape, chunks, np.bool_)


def read(spec: Spec, block: Block) -> NDArray[Any]:
    """A frame at the coarse level: (c, z, y, x)."""
    frame: NDArray[Any] = Volume.open(spec.image, spec.level).read(block.write, spec.channels)[0]
    return frame


def block(spec: Spec, block: Block, data: NDArray[Any]) -> Facts:
    """Find what stands out of the background in any channel."""
    found = np.zeros(data.shape[1:], bool)
    limits = []
    for channel in data:
        values = from_afar(-channel.astype(np.float32) if spec.invert else channel, spec.reach)
        limits.append(background_limit(values, spec.percentiles))
        found |= may_hold_objects(values, limits[-1], spec.reach)
    scratch(region_url(spec.run))[block.write[0].start] = found
    kept = [limit if np.isfinite(limit) else None for limit in limits]
    return {"voxels": int(found.size), "kept": int(found.sum()), "limits": kept}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how much of the image is left."""
    voxels, kept = (sum(fact[name] for fact in facts) for name in ("voxels", "kept"))
    return {"kept_share": round(kept / voxels, 4)}


def region(spec: Spec, image: Volume) -> Region:
    """The mask over the image that is segmented."""
    return level_region(region_url(spec.run), image, spec.level)
