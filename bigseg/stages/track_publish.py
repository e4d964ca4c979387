"""Make tracked labels a label image that every NGFF reader finds, with the tables of its tracks."""

from __future__ import annotations

from collections.abc import Sequence

from bigseg import files
from bigseg.grid import Block, Grid
from bigseg.io.labels import create_labels
from bigseg.io.tables import read_table, write_table
from bigseg.stages import lineages, write_tracks
from bigseg.types import Facts, StageSpec

TABLES = {
    "tracks": lineages.tracks_url,
    "detections": lineages.detections_url,
    "links": lineages.links_url,
}


class Spec(StageSpec):
    """What is published."""

    run: str
    target: str
    """Label image, or folder of tables where points are tracked."""
    write: write_tracks.Spec | None
    """How labels are written; None where points are tracked."""
    image: str | None
    """Image that the labels are of."""

    @property
    def grid(self) -> Grid:
        """One block: there is nothing to share out."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def table_url(target: str, name: str) -> str:
    """Where a table of a tracked label image is: tracks, detections or links."""
    return files.join(target, f"{name}.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `write_tracks` has not found."""


def prepare(spec: Spec) -> None:
    """Nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing has to be loaded."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Write the metadata, which make the arrays visible, and put the tables beside them."""
    if spec.write is not None:
        source = None if spec.image is None else files.relative(spec.image, spec.target)
        create_labels(write_tracks.label_image(spec.write), source)
    for name, url in TABLES.items():
        write_table(table_url(spec.target, name), read_table(url(spec.run)))
    return {"objects": len(read_table(lineages.tracks_url(spec.run), ["track"])["track"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how many tracks there are."""
    return {"objects": facts[0]["objects"]}
