"""Make merged tiles a label image that every NGFF reader finds, with tables of its objects."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigseg import files
from bigseg.core.objects import Table
from bigseg.grid import Block, Grid
from bigseg.io.labels import create_labels
from bigseg.io.tables import read_table, write_table
from bigseg.stages import divisions, graph, objects, tiles, write_tiles
from bigseg.stages.publish import table_url
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """What is published."""

    write: write_tiles.Spec

    @property
    def grid(self) -> Grid:
        """One block: there is nothing to share out."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def origins_url(target: str) -> str:
    """Where it is told which object became which: tile, its id there, its id now (0: dropped)."""
    return files.join(target, "tile_ids.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that `write_tiles` has not found."""


def prepare(spec: Spec) -> None:
    """Nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing has to be loaded."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Write the metadata, which make the arrays visible, and the tables beside them."""
    run, target = spec.write.tiles.run, spec.write.target
    create_labels(write_tiles.label_image(spec.write), None)
    table = read_table(objects.table_url(run))
    write_table(table_url(target), table)
    _write_origins(spec)
    return {"objects": len(table["id"])}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how many objects there are."""
    return {"objects": facts[0]["objects"]}


def _write_origins(spec: Spec) -> None:
    tiled = spec.write.tiles
    known, counts = tiles.placed(tiled), tiled.grid.counts
    offsets, _ = graph.read_offsets(tiled.run, counts)
    number = np.repeat(np.arange(tiled.count), np.diff(offsets))
    former = [table["tile_id"] for table in graph.read_nodes(tiled.run, counts, ["tile_id"])]
    columns = {
        "file": np.array(known.files)[number],
        "frame": known.frames[number],
        "tile_id": np.concatenate(former),
        "id": np.concatenate([graph.read_ids(tiled.run, n) for n in range(tiled.count)]),
    }
    write_table(origins_url(spec.write.target), columns)


def correct_origins(written: write_tiles.Spec, moved: Table) -> None:
    """Say what became of ids of tiles after a correction by hand; doing it twice changes nothing.

    Parameters
    ----------
    moved
        `node` and `id` of the objects of tiles whose id has changed. Rows of pieces of divided
        objects come last, by tile: one id of a tile may then have several rows.
    """
    tiled, url = written.tiles, origins_url(written.target)
    known, counts = tiles.placed(tiled), tiled.grid.counts
    offsets, _ = graph.read_offsets(tiled.run, counts)
    table = {name: column[: offsets[-1]] for name, column in read_table(url).items()}
    table["id"] = table["id"].copy()
    table["id"][moved["node"].astype(np.int64)] = moved["id"]
    parts = [table]
    divided = divisions.divided_blocks(tiled.run)
    for number, block in enumerate(graph.block_ids(counts)):
        if block in divided:
            rows = divisions.read_divided(tiled.run, block) or {}
            new = rows["id"] > offsets[number + 1] - offsets[number]
            parts.append(
                {
                    "file": np.full(new.sum(), known.files[number], object),
                    "frame": np.full(new.sum(), known.frames[number]),
                    "tile_id": rows["tile_id"][new],
                    "id": rows["final"][new].astype(np.uint64),
                }
            )
    write_table(url, {name: np.concatenate([p[name] for p in parts]) for name in table})
