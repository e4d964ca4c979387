"""One coarser level of the label image from the next finer one; ids stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigseg.core.pyramid import factors_between
from bigseg.grid import Block, Grid, Index, size
from bigseg.io.ome import Image
from bigseg.io.pyramid import shrink_block
from bigseg.io.volume import Volume
from bigseg.stages import write, write_tiles, write_tracks
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """Which level is made."""

    write: write.Spec | write_tiles.Spec | write_tracks.Spec
    """Who wrote the finest level."""
    number: int
    """Level to make, from 1."""
    shape: Index
    """(t, z, y, x) of that level."""
    finer: Index
    """(t, z, y, x) of the level it is made from."""
    block: Index
    """(t, z, y, x), whole stored objects of that level."""

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, (0, 0, 0, 0))

    @property
    def factors(self) -> Index:
        return factors_between(self.finer, self.shape)


def check(spec: Spec) -> None:
    """Nothing can be wrong that `write` has not found."""


def prepare(spec: Spec) -> None:
    """`write` has created the arrays of all levels."""


def read(spec: Spec, block: Block) -> None:
    """Labels are read in small pieces."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Take the most frequent id of each window and write the block."""
    plan = _label_image(spec)
    fine, coarse = Volume(plan, spec.number - 1), Volume(plan, spec.number)
    shrink_block(fine, coarse, block.write, labels=True)
    return {}


def _label_image(spec: Spec) -> Image:
    if isinstance(spec.write, write_tiles.Spec):
        return write_tiles.label_image(spec.write)
    if isinstance(spec.write, write_tracks.Spec):
        return write_tracks.label_image(spec.write)
    return write.label_image(spec.write)


def leave_out(spec: Spec, block: Block) -> Facts:
    """Leave a block without labels."""
    plan = _label_image(spec)
    Volume(plan, spec.number).write(block.write, np.zeros(size(block.write), plan.dtype))
    return {}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Nothing to reduce."""
    return {}
