"""Write the finest level of the label image: every block's own voxels, with final ids.

The arrays are created here, the metadata that make them an image come last (`publish`), so nobody
mistakes a half-written result for a whole one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bigseg import opened
from bigseg.core.relabel import id_dtype, relabel
from bigseg.grid import Block, Grid, size
from bigseg.io.create import create_arrays
from bigseg.io.ome import Image, describe
from bigseg.io.plan import plan_labels
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.stages import divisions, graph
from bigseg.stages.opinions import Opinions, is_outside
from bigseg.types import Facts, StageSpec

Read = tuple[NDArray[np.uint32], NDArray[np.uint64]]


class Spec(StageSpec):
    """Where labels come from and where they go."""

    run: str
    image: str
    level: int
    target: str
    opinions: Opinions

    @property
    def grid(self) -> Grid:
        return self.opinions.grid


def label_image(spec: Spec) -> Image:
    """Plan of the label image: levels, chunks and the type that holds the largest id."""
    total = graph.total_url(spec.run)
    largest = opened.once(total, ("objects",), lambda: int(read_table(total)["objects"][0]))
    z, y, x = spec.opinions.block[1:]
    return plan_labels(
        describe(spec.image), spec.target, id_dtype(largest), (z, y, x), level=spec.level
    )


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan of the run has not found."""


def prepare(spec: Spec) -> None:
    """Create the arrays of all levels."""
    create_arrays(label_image(spec), labels=True)


def read(spec: Spec, block: Block) -> Read | None:
    """Local labels of the block's own voxels, (z, y, x), and the final id of each.

    None where nothing was looked for.
    """
    if is_outside(spec.opinions, block.write):
        return None
    labels = divisions.read_labels(spec.opinions, block)
    return labels, divisions.read_ids(spec.run, block.id, spec.grid.number(block.index))


def block(spec: Spec, block: Block, data: Read | None) -> Facts:
    """Relabel and write one block: whole shards that no other block touches."""
    if data is None:
        return {"voxels": 0}
    labels, ids = data
    plan = label_image(spec)
    final = relabel(labels, ids, np.uint64 if plan.dtype.itemsize == 8 else np.uint32)
    Volume(plan, 0).write(block.write, final[None])
    return {"voxels": int(np.count_nonzero(final))}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Leave a block without labels."""
    plan = label_image(spec)
    Volume(plan, 0).write(block.write, np.zeros(size(block.write), plan.dtype))
    return {"voxels": 0}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count the labelled voxels."""
    return {"voxels": sum(fact["voxels"] for fact in facts)}
