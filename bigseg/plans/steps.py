"""Steps that every way of segmenting ends with: the graph of all objects, and the label image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod

from bigseg.grid import Index
from bigseg.io.ome import Image
from bigseg.io.plan import plan_labels
from bigseg.io.volume import Volume
from bigseg.stages import (
    components,
    objects,
    publish,
    pyramid,
    solve,
    write,
    write_tiles,
    write_tracks,
)
from bigseg.types import Solver, StageSpec

BLOCKS_PER_PACK = 64
"""Blocks whose components one task solves; of a few thousand objects each."""
MOST_PACKS = 256


@dataclass(frozen=True)
class Step:
    """One step of a run."""

    name: str
    stage: str
    """Module in `bigseg.stages`."""
    spec: StageSpec


def graph_steps(
    joined: components.Spec,
    judged: objects.Spec,
    *,
    solver: Solver = "kernighan-lin",
    exact_edges: int = 200,
) -> list[Step]:
    """Steps from edges to final ids; among how many tasks they are shared out is settled here."""
    packs = min(max(prod(joined.counts) // BLOCKS_PER_PACK, 1), MOST_PACKS)
    judged = judged.model_copy(update={"packs": packs})
    solved = solve.Spec(
        run=joined.run, counts=joined.counts, packs=packs, solver=solver, exact_edges=exact_edges
    )
    return [
        Step("components", "components", joined.model_copy(update={"packs": packs})),
        Step("solve", "solve", solved),
        Step("objects", "objects", judged),
    ]


def output_steps(written: write.Spec, image: Image) -> list[Step]:
    """Steps that write the label image and its levels, and make it one that readers find."""
    steps = [Step("write", "write", written)]
    z, y, x = written.opinions.block[1:]
    plan = plan_labels(image, written.target, "uint32", (z, y, x), level=written.level)
    steps += pyramid_steps(written, plan)
    steps.append(Step("publish", "publish", publish.Spec(write=written)))
    return steps


def pyramid_steps(
    written: write.Spec | write_tiles.Spec | write_tracks.Spec, plan: Image, name: str = "pyramid"
) -> list[Step]:
    """Steps that make the coarser levels of a planned label image."""
    levels = [Volume(plan, number) for number in range(len(plan.levels))]
    steps = []
    for number, (finer, coarse) in enumerate(pairwise(levels), 1):
        level = pyramid.Spec(
            write=written,
            number=number,
            shape=_space(coarse),
            finer=_space(finer),
            block=coarse.unit,
        )
        steps.append(Step(f"{name}-{number}", "pyramid", level))
    return steps


def _space(volume: Volume) -> Index:
    t, _, z, y, x = volume.shape
    return t, z, y, x
