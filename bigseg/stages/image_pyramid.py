"""One coarser level of a restored image from the next finer one, by averaging."""

from __future__ import annotations

from collections.abc import Sequence

from bigseg.core.pyramid import factors_between, parent_box
from bigseg.grid import Block, Box, Grid, Index
from bigseg.io.pyramid import shrink_block, shrink_what_is_left
from bigseg.io.volume import Volume
from bigseg.stages import restore
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """Which level is made."""

    restore: restore.Spec
    number: int
    """Level to make, from 1."""
    shape: Index
    """(t, z, y, x) of that level."""
    block: Index
    """(t, z, y, x), whole stored objects of that level."""

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, (0, 0, 0, 0))

    def place(self, block: Block) -> Box:
        """In voxels of the finest level, as readers know them."""
        finest = self.restore.grid.shape
        return parent_box(block.write, factors_between(finest, self.shape), finest)


def check(spec: Spec) -> None:
    """Nothing can be wrong that `restore` has not found."""


def prepare(spec: Spec) -> None:
    """`restore` has created the arrays of all levels."""


def read(spec: Spec, block: Block) -> None:
    """Voxels are read in small pieces, as they are averaged."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Average the windows of a block, in every channel."""
    shrink_block(*_levels(spec), block.write, labels=False)
    return {}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Make a block of what can be read of the finer level."""
    shrink_what_is_left(*_levels(spec), block.write, labels=False)
    return {}


def _levels(spec: Spec) -> tuple[Volume, Volume]:
    plan = restore.restored_image(spec.restore)
    return Volume(plan, spec.number - 1), Volume(plan, spec.number)


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Nothing to reduce."""
    return {}
