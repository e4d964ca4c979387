"""Make the written arrays an image that every NGFF reader finds."""

from __future__ import annotations

from collections.abc import Sequence

from bigseg.grid import Block, Grid
from bigseg.io.create import publish
from bigseg.stages import restore
from bigseg.stages.normalize import ranges
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """What is published."""

    restore: restore.Spec

    @property
    def grid(self) -> Grid:
        """One block: there is nothing to share out."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def check(spec: Spec) -> None:
    """Nothing can be wrong that `restore` has not found."""


def prepare(spec: Spec) -> None:
    """Nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing has to be loaded."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Write the metadata, with the range of values that viewers should show."""
    plan = restore.restored_image(spec.restore)
    low, high = (0.0, 1.0)
    shown = [(low, high)] * len(plan.channels)
    if spec.restore.as_stored:
        frames = list(zip(*ranges(spec.restore.run), strict=True))[: len(plan.channels)]
        shown = [(min(f[0] for f in frame), max(f[1] for f in frame)) for frame in frames]
    publish(plan, windows=[(low, max(high, low + 1e-6)) for low, high in shown])
    return {"levels": len(plan.levels)}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how many levels there are."""
    return {"levels": facts[0]["levels"]}
