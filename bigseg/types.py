"""Names for the things that pass between layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from bigseg.grid import Block, Box, Grid

Labels = NDArray[np.unsignedinteger[Any]]
"""Instance ids, 0 = background."""
Floats = NDArray[np.float32]
Facts = dict[str, Any]
"""Small things to remember of a block (counts, timings); must be JSON."""


Solver = Literal[
    "kernighan-lin", "greedy", "greedy-fixation", "mutex-watershed", "fusion-moves", "exact"
]
"""Names of what solves a multicut; see `core.solvers`."""


class StageSpec(BaseModel):
    """Everything that one stage needs, frozen; stored in the run as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def grid(self) -> Grid:
        """The blocks of this stage."""
        raise TypeError(f"{type(self).__name__} must define its grid.")

    @property
    def wants_gpu(self) -> bool:
        """Whether workers with a GPU should compute this stage, where there are any."""
        return False

    def place(self, block: Block) -> Box:
        """Voxels (t, z, y, x) of the image that a block stands for, to say where it is."""
        return block.write


class Stage(Protocol):
    """A step of the data's way; a module `bigseg.stages.NAME` with these six names is one.

    Where later steps can do without a block, it has a seventh, `leave_out(spec, block)`: it stores
    what can be made of a block that keeps failing, mostly that nothing is in it, over what a
    failure may have left, and returns the same facts as `block`. Who drives the run calls it, so
    it should be cheap.
    """

    Spec: type[Any]

    def check(self, spec: Any) -> None:
        """Refuse what cannot work, before anything is run or written."""

    def prepare(self, spec: Any) -> None:
        """Create the arrays that the blocks will write; must be repeatable."""

    def read(self, spec: Any, block: Block) -> Any:
        """Load what a block needs; runs ahead of `block`, in a thread."""

    def block(self, spec: Any, block: Block, data: Any) -> Facts:
        """Compute and write one block."""

    def finish(self, spec: Any, facts: Sequence[Facts]) -> Facts:
        """Reduce over all blocks, given what each remembered, in grid order."""
