"""Objects of planes that belong together get one id: that of their object of the volume.

What `objects` does for the graph of any objects is done for those of planes; here objects that
span too few planes are dropped, and gaps are found, which `write_slices` fills.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.gaps import BOX, find_gaps
from bigseg.core.objects import Table
from bigseg.errors import NotFound, SpecError
from bigseg.grid import Block, Grid, Index
from bigseg.io.scratch import scratch
from bigseg.io.tables import read_table, write_table
from bigseg.stages import graph, objects
from bigseg.stages.slices import Slices
from bigseg.types import Facts


class Spec(Slices):
    """What makes an object of the volume."""

    judged: objects.Spec
    """Of the graph of objects of planes."""
    min_z_extent: int = 2
    """Planes from the first to the last in which an object is; others are dropped."""

    @property
    def grid(self) -> Grid:
        """One block: ids are given once."""
        return self.judged.grid


def found_url(run: str) -> str:
    """Where the table of objects is, before gaps are filled."""
    return files.join(run, "tables", "found.parquet")


def gaps_url(run: str, block: str) -> str:
    """Where the gaps are that reach into a block, by its id; no file where there are none."""
    return files.join(run, "gaps", f"{block}.parquet")


def read_gaps(run: str, block: str) -> Table | None:
    """Gaps that reach into a block, as of `core.gaps.find_gaps`; None if there are none."""
    try:
        return read_table(gaps_url(run, block))
    except NotFound:
        return None


def check(spec: Spec) -> None:
    """Refuse an extent that no object can have."""
    if not 1 <= spec.min_z_extent <= spec.flat.shape[1]:
        raise SpecError(
            f"Objects cannot span {spec.min_z_extent} planes of an image of "
            f"{spec.flat.shape[1]}; choose --min-z-extent between 1 and that."
        )
    objects.check(spec.judged)


def prepare(spec: Spec) -> None:
    """The array of ids is created once its size is known."""
    objects.prepare(spec.judged)


def read(spec: Spec, block: Block) -> None:
    """Nothing is loaded ahead; `block` streams the tables."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Give ids, drop objects of few planes, and store where gaps are."""
    facts = objects.block(spec.judged, block, None)
    ids = np.asarray(scratch(graph.ids_url(spec.run))[: facts["nodes"]], np.uint64)
    table = read_table(objects.table_url(spec.run))
    keep = table["z1"] - table["z0"] >= spec.min_z_extent
    number = np.r_[0, np.where(keep, np.cumsum(keep), 0)].astype(np.uint64)
    ids = number[ids.astype(np.int64)]
    graph.write_nodes_array(graph.ids_url(spec.run), ids)
    table = {name: column[keep] for name, column in table.items()}
    table["id"] = number[1:][keep]
    table["planes"] = table.pop("parts")
    write_table(found_url(spec.run), table)
    write_table(graph.total_url(spec.run), {"objects": np.array([len(table["id"])])})
    gaps = _store_gaps(spec, ids)
    return {"objects": len(table["id"]), "nodes": len(ids), "gaps": gaps}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block counted."""
    return facts[0]


def _store_gaps(spec: Spec, ids: NDArray[np.uint64]) -> int:
    """Find all gaps, and store them for each block that they reach into; return how many."""
    files.remove(files.join(spec.run, "gaps"))
    names = ("frame", "z0", *BOX)
    parts = list(graph.read_nodes(spec.run, spec.slabs.counts, names))
    nodes = {name: np.concatenate([part[name] for part in parts]) for name in names}
    gaps = find_gaps(ids, nodes, spec.gap)
    for index, rows in _by_block(spec, gaps):
        reaching = {name: column[rows] for name, column in gaps.items()}
        write_table(gaps_url(spec.run, spec.tiles.block_at(index).id), reaching)
    return len(gaps["id"])


def _by_block(spec: Spec, gaps: Table) -> Iterator[tuple[Index, NDArray[np.int64]]]:
    """Blocks that gaps reach into, and the rows of these."""
    spans = ((gaps["before"] + 1, gaps["after"]), *((gaps[f"{a}0"], gaps[f"{a}1"]) for a in "yx"))
    first = [low // n for (low, _), n in zip(spans, spec.block[1:], strict=True)]
    last = [(high - 1) // n for (_, high), n in zip(spans, spec.block[1:], strict=True)]
    most = [int((b - a).max(initial=-1)) + 1 for a, b in zip(first, last, strict=True)]
    found, rows = [np.empty((0, 4), np.int64)], [np.empty(0, np.int64)]
    for step in product(*map(range, most)):
        index = [a + s for a, s in zip(first, step, strict=True)]
        inside = np.all([i <= b for i, b in zip(index, last, strict=True)], axis=0)
        found.append(np.stack([gaps["frame"], *index], axis=1)[inside].astype(np.int64))
        rows.append(np.flatnonzero(inside))
    blocks, order = np.concatenate(found), np.concatenate(rows)
    unique, of = np.unique(blocks, axis=0, return_inverse=True)
    by = np.argsort(of.ravel(), kind="stable")
    groups = np.split(order[by], np.flatnonzero(np.diff(of.ravel()[by])) + 1)
    return ((tuple(index.tolist()), rows) for index, rows in zip(unique, groups, strict=False))
