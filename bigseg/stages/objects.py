"""One id per object: judge objects as wholes, number those that stay, and sum their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.classes import majority
from bigseg.core.objects import combine
from bigseg.core.relabel import final_ids
from bigseg.grid import Block, Grid, Index
from bigseg.io.tables import write_table
from bigseg.stages.checked import checked_nodes, checked_offsets
from bigseg.stages.components import read_roots
from bigseg.stages.graph import ids_url, total_url, write_nodes_array
from bigseg.stages.solve import read_solutions
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """What makes an object."""

    run: str
    counts: Index
    """Blocks along each axis of the grid whose objects are the nodes."""
    spacing: tuple[float, ...]
    """Voxel size (z, y, x) or (y, x)."""
    packs: int = 1
    """In how many packs components were solved."""
    flow_threshold: float = 0.0
    """Largest flow error of an object; 0 switches the test off."""
    min_size: int = 0
    """Voxels."""
    max_size: int | None = None
    """Voxels."""
    classes: int = 0
    """Semantic classes, background among them; 0: none."""

    @property
    def grid(self) -> Grid:
        """One block: ids are given once."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def table_url(run: str) -> str:
    """Where the final object table is."""
    return files.join(run, "tables", "objects.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """The array of ids is created once its size is known."""


def read(spec: Spec, block: Block) -> None:
    """Nothing is loaded ahead; `block` streams the tables."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Give final ids and write the object table."""
    offsets, _ = checked_offsets(spec.run, spec.counts)
    nodes = int(offsets[-1])
    undecided, leader = read_solutions(spec.run, spec.packs)
    roots = read_roots(spec.run, nodes)
    roots[undecided] = leader
    roots = roots[roots]
    component = np.cumsum(roots == np.arange(nodes), dtype=np.int64)[roots] - 1
    del roots
    judged = _judge(spec, component, offsets)
    ids = final_ids(component, judged.own > 0, judged.keep[component])
    write_nodes_array(ids_url(spec.run), ids)
    table = combine(checked_nodes(spec.run, spec.counts, offsets), ids, spacing=spec.spacing)
    rows = ids[ids > 0].astype(np.int64) - 1
    table["flow_error"] = np.full(len(table["id"]), np.nan)
    table["flow_error"][rows] = judged.error[component[ids > 0]]
    if spec.classes:
        table["class"] = np.zeros(len(table["id"]), np.int64)
        table["class"][rows] = judged.kind[component[ids > 0]]
    write_table(table_url(spec.run), table)
    write_table(total_url(spec.run), {"objects": np.array([len(table["id"])])})
    across = int((table["parts"] > 1).sum())
    return {"objects": len(table["id"]), "nodes": nodes, "across_blocks": across}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block counted."""
    return facts[0]


@dataclass(frozen=True)
class Judgement:
    """What is known of objects once their parts are together."""

    own: NDArray[np.int64]
    """(nodes,) voxels that each node's block writes."""
    error: NDArray[np.float64]
    """(components,) flow error, from the blocks that see the object whole; NaN if none does."""
    keep: NDArray[np.bool_]
    """(components,) whether flow error, size and class are as wanted."""
    kind: NDArray[np.int64]
    """(components,) class of most voxels; all 0 where the model knows no classes."""


def _judge(spec: Spec, component: NDArray[np.int64], offsets: NDArray[np.int64]) -> Judgement:
    """Decide what is kept: once for the whole object, so that no block keeps a part of it."""
    count = int(component.max(initial=-1)) + 1
    own = np.zeros(offsets[-1], np.int64)
    voxels, seen = np.zeros(count, np.int64), np.zeros(count, np.int64)
    error = np.zeros(count)
    votes = np.zeros((count, max(spec.classes, 1)), np.int64)
    names = [f"class_{number}" for number in range(spec.classes)]
    first = 0
    wanted = ["voxels", "voxels_total", "flow_error", *names]
    for table in checked_nodes(spec.run, spec.counts, offsets, wanted):
        last = first + len(table["voxels"])
        own[first:last] = table["voxels"]
        whole = ~np.isnan(table["flow_error"])
        weight = np.where(whole, table["voxels_total"], 0)
        np.add.at(voxels, component[first:last], table["voxels"])
        np.add.at(seen, component[first:last], weight)
        np.add.at(error, component[first:last], np.where(whole, table["flow_error"], 0) * weight)
        for number, name in enumerate(names):
            np.add.at(votes[:, number], component[first:last], table[name])
        first = last
    error = np.where(seen > 0, error / np.maximum(seen, 1), np.nan)
    keep = voxels >= spec.min_size
    if spec.max_size is not None:
        keep &= voxels <= spec.max_size
    if spec.flow_threshold > 0:
        keep &= ~(error > spec.flow_threshold)
    kind = majority(votes)
    if spec.classes:
        keep &= kind > 0
    return Judgement(own, error, keep, kind)
