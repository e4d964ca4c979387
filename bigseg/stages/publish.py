"""Make the written arrays a label image that every NGFF reader finds."""

from __future__ import annotations

from collections.abc import Sequence

from bigseg import files
from bigseg.grid import Block, Grid
from bigseg.io.labels import create_labels
from bigseg.io.tables import read_table, write_table
from bigseg.stages import objects, write
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """What is published."""

    write: write.Spec

    @property
    def grid(self) -> Grid:
        """One block: there is nothing to share out."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def table_url(target: str) -> str:
    """Where the object table of a label image is."""
    return files.join(target, "objects.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `write` has not found."""


def prepare(spec: Spec) -> None:
    """Nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing has to be loaded."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Write the metadata, which make the arrays visible, and put the object table beside them."""
    source = files.relative(spec.write.image, spec.write.target)
    create_labels(write.label_image(spec.write), source)
    table = read_table(objects.table_url(spec.write.run))
    write_table(table_url(spec.write.target), table)
    return {"objects": len(table["id"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how many objects there are."""
    return {"objects": facts[0]["objects"]}
