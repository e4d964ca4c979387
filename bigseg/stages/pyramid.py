"""One coarser level of the label image from the next finer one; ids stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

from bigseg.core.pyramid import factors_between, parent_box
from bigseg.grid import Block, Box, Grid, Index
from bigseg.io.ome import Image
from bigseg.io.pyramid import shrink_block, shrink_what_is_left
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

    def place(self, block: Block) -> Box:
        """In voxels of the finest level, as readers know them."""
        finest = self.write.grid.shape
        return parent_box(block.write, factors_between(finest, self.shape), finest)


def check(spec: Spec) -> None:
    """Nothing can be wrong that `write` has not found."""


def prepare(spec: Spec) -> None:
    """`write` has created the arrays of all levels."""


def read(spec: Spec, block: Block) -> None:
    """Labels are read in small pieces."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Take the most frequent id of each window and write the block."""
    shrink_block(*_levels(spec), block.write, labels=True)
    return {}


def _levels(spec: Spec) -> tuple[Volume, Volume]:
    plan = _label_image(spec)
    return Volume(plan, spec.number - 1), Volume(plan, spec.number)


def _label_image(spec: Spec) -> Image:
    if isinstance(spec.write, write_tiles.Spec):
        return write_tiles.label_image(spec.write)
    if isinstance(spec.write, write_tracks.Spec):
        return write_tracks.label_image(spec.write)
    return write.label_image(spec.write)


def leave_out(spec: Spec, block: Block) -> Facts:
    """Make a block of what can be read of the finer level."""
    shrink_what_is_left(*_levels(spec), block.write, labels=True)
    return {}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Nothing to reduce."""
    return {}
