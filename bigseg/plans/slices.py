"""Steps from the objects of planes to objects of a volume; see `stages.slices`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from bigseg.io.volume import Volume
from bigseg.plans.steps import Step, graph_steps, output_steps
from bigseg.stages import (
    components,
    links,
    objects,
    stack,
    volumes,
    write,
    write_slices,
)
from bigseg.stages.opinions import Opinions
from bigseg.stages.slices import Slices
from bigseg.types import Solver

VOXELS = 1 << 24
"""Of a block, about; its depth follows from this where blocks of planes are wide."""
DEEPEST = 64
"""Planes of a block at most: a slab's objects are in memory together."""


@dataclass(frozen=True)
class Stacking:
    """How objects of planes are put together."""

    depth: int | None = None
    """Planes of a block; None: by its width."""
    gap: int = 1
    """Most planes in a row in which an object may be missing; its shape is filled in there."""
    min_z_extent: int = 2
    """Planes that an object must span; what a single plane shows is mostly a mistake."""
    beta: float = 0.5
    """Prior probability that two objects above each other are different."""
    min_size: int = 0
    """Voxels of the whole object."""
    max_size: int | None = None
    """Voxels of the whole object."""
    classes: int = 0
    """Semantic classes of the objects of planes, background among them; 0: none."""
    solver: Solver = "kernighan-lin"
    exact_edges: int = 200


def slice_steps(
    flat: Opinions, volume: Volume, written: write.Spec, how: Stacking
) -> tuple[list[Step], write.Spec]:
    """Steps that follow `objects` of a run in 2D: from links between planes to the label image.

    Parameters
    ----------
    flat
        Opinions of the objects of planes, such as the specification of `label`.
    volume
        The image.
    written
        What a run in 2D would write: image, level and target are used.
    how
        Settings.

    Returns
    -------
    steps
        To put in place of `steps.output_steps` of the run in 2D.
    written
        The label image that they write; its `opinions` have the blocks of the volume, and its
        `run` holds the tables of the objects.
    """
    base = Slices(flat=flat, depth=how.depth or _depth(flat, how.gap), gap=how.gap)
    shared = base.model_dump(exclude={"flat"}) | {"flat": flat_of(flat)}
    solid = Opinions(
        run=base.run,
        shape=flat.shape,
        block=base.block,
        halo=(0, 0, 0, 0),
        band=(0, 0, 0, 0),
        ndim=3,
        region=flat.region,
    )
    written = written.model_copy(update={"run": base.run, "opinions": solid})
    counts = base.slabs.counts
    judged = objects.Spec(
        run=base.run,
        counts=counts,
        spacing=volume.spacing,
        min_size=how.min_size,
        max_size=how.max_size,
        classes=how.classes,
    )
    joined = components.Spec(run=base.run, counts=counts)
    solving = graph_steps(joined, judged, solver=how.solver, exact_edges=how.exact_edges)
    packed = next(step.spec for step in solving if isinstance(step.spec, objects.Spec))
    filled = write_slices.Spec(**shared, written=written, spacing=volume.spacing)
    found = volumes.Spec(**shared, judged=packed, min_z_extent=how.min_z_extent)
    steps = [
        Step("stack", "stack", stack.Spec(**shared)),
        Step("links", "links", links.Spec(**shared, beta=how.beta)),
        *(Step(f"volume-{s.name}", s.stage, s.spec) for s in solving if s.spec is not packed),
        Step("volumes", "volumes", found),
        Step("write", "write_slices", filled),
        *output_steps(written, volume.image)[1:],
    ]
    return steps, written


def flat_of(flat: Opinions) -> Opinions:
    """Only what says where opinions are, of a specification that says more."""
    return Opinions(**{name: getattr(flat, name) for name in Opinions.model_fields})


def _depth(flat: Opinions, gap: int) -> int:
    """Planes of a block: of about `VOXELS`, but enough for a link."""
    planes = flat.shape[1]
    wide = prod(min(b, n) for b, n in zip(flat.block[2:], flat.shape[2:], strict=True))
    return max(min(VOXELS // wide, DEEPEST, planes), gap + 1)
