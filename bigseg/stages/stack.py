"""Count how many voxels objects of different planes have above each other, block by block.

A block counts for its own planes and its own part of them, and looks at the next few planes, too.
Counts of different parts of a plane add up; `links` adds them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigseg import files
from bigseg.core.slices import count_pairs
from bigseg.errors import SpecError
from bigseg.grid import Block, Box, size
from bigseg.io.tables import write_table
from bigseg.stages.slices import Slices, read_planes
from bigseg.types import Facts, Labels


class Spec(Slices):
    """Which planes."""


def pairs_url(run: str, block: Block) -> str:
    """Where the pairs that a block counted are, by `Slices.run`."""
    return files.join(run, "pairs", f"{block.id}.parquet")


def check(spec: Spec) -> None:
    """Refuse blocks so flat that a link skips one, and objects that are not of planes."""
    if spec.depth <= spec.gap:
        raise SpecError(
            f"Blocks of {spec.depth} planes are too flat to close gaps of {spec.gap}; "
            f"use at least {spec.gap + 1} planes."
        )
    if spec.flat.ndim != 2 or spec.flat.block[1] != 1:
        raise SpecError("Only objects of planes can be stacked; segment in 2D first.")


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Labels:
    """Ids of the objects of planes, (z, y, x): own planes and those within reach above."""
    return read_planes(spec.flat, _box(spec, block))


def _box(spec: Spec, block: Block) -> Box:
    t, z, y, x = block.write
    return t, slice(z.start, min(z.stop + spec.reach, spec.flat.shape[1])), y, x


def block(spec: Spec, block: Block, data: Labels) -> Facts:
    """Count and store the pairs whose lower end is in the block."""
    return _store(spec, block, data)


def _store(spec: Spec, block: Block, data: Labels) -> Facts:
    pairs, counts = count_pairs(data, size(block.write)[1], spec.reach)
    columns = {"u": pairs[:, 0], "v": pairs[:, 1], "voxels": counts}
    write_table(pairs_url(spec.run, block), columns)
    return {"pairs": len(counts), "voxels": int(np.sum(counts))}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Count for the planes that can be read; links close the gap of one that cannot."""
    return _store(spec, block, read_planes(spec.flat, _box(spec, block), damaged=True))


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count the pairs; one that lies in several blocks counts in each."""
    return {"pairs": sum(fact["pairs"] for fact in facts)}
