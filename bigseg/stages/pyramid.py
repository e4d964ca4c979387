"""One coarser level of the label image from the next finer one; ids stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigseg.core.pyramid import downsample_labels, factors_between, parent_box
from bigseg.grid import Block, Grid, Index, size
from bigseg.io.volume import Volume
from bigseg.stages import write
from bigseg.types import Facts, Labels, StageSpec


class Spec(StageSpec):
    """Which level is made."""

    write: write.Spec
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


def read(spec: Spec, block: Block) -> Labels:
    """Labels of the finer level: (1, z, y, x)."""
    box = parent_box(block.write, spec.factors, spec.finer)
    finer = Volume(write.label_image(spec.write), spec.number - 1)
    labels: Labels = finer.read(box)[:, 0]
    return labels


def block(spec: Spec, block: Block, data: Labels) -> Facts:
    """Take the most frequent id of each window and write the block."""
    shape = tuple(w.stop - w.start for w in block.write)
    coarse = downsample_labels(data[0], spec.factors[1:])[None]
    # An image may have dropped the incomplete last window of an axis.
    coarse = coarse[tuple(slice(0, n) for n in shape)]
    Volume(write.label_image(spec.write), spec.number).write(block.write, coarse)
    return {}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Leave a block without labels."""
    plan = write.label_image(spec.write)
    Volume(plan, spec.number).write(block.write, np.zeros(size(block.write), plan.dtype))
    return {}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Nothing to reduce."""
    return {}
