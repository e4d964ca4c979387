"""Which blocks a run has left out because they kept failing, and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bigseg import files
from bigseg.run.folder import Run, Step, open_run
from bigseg.run.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Hole:
    """A block that a step did without."""

    step: str
    block: str
    voxels: dict[str, tuple[int, int]]
    """First voxel of the image, and that after the last, along each axis."""
    error: str
    """Why it could not be computed."""

    def text(self) -> str:
        """Say it in a sentence."""
        return f"Left out: block {self.block} of step '{self.step}' ({self.where()}): {self.error}"

    def where(self) -> str:
        """Name the voxels."""
        return ", ".join(f"{axis} {low}:{high}" for axis, (low, high) in self.voxels.items())


def holes(url: str) -> list[Hole]:
    """Blocks that the run at `url` has left out, in the order of its steps."""
    return list(holes_of(open_run(url)))


def holes_of(run: Run) -> Iterator[Hole]:
    """Blocks that a run has left out; one listing, as mostly there are none."""
    top = files.join(run.url, "ledger")
    paths = [path for path in files.tree(top) if path.endswith("skipped.json")]
    for step in run.steps:
        ledger = Ledger.of(run, step)
        here = ledger.url.removeprefix(f"{top}/") + "/"
        inside = tuple(path.removeprefix(here) for path in paths if path.startswith(here))
        for number, record in Ledger(ledger.url, inside).skipped().items():
            yield hole_of(step, number, record["error"])


def hole_of(step: Step, number: int, error: str) -> Hole:
    """Say where a block of a step is."""
    block = step.spec.grid[number]
    sides = zip("tzyx", step.spec.place(block), strict=True)
    return Hole(step.name, block.id, {axis: (s.start, s.stop) for axis, s in sides}, error)
