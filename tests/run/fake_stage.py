"""A stage whose blocks leave a file each time they run, and misbehave where they are told to."""

from __future__ import annotations

import os
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bigseg import cores
from bigseg.errors import ImageError
from bigseg.grid import Block, Grid, Index
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    folder: str
    """Where calls are noted, `block.uuid` each."""
    shape: Index = (1, 1, 4, 4)
    block: Index = (1, 1, 2, 2)
    note: str = ""
    """Changes the fingerprint and nothing else."""
    flaky: tuple[str, ...] = ()
    """Blocks that fail the first time."""
    broken: tuple[str, ...] = ()
    """Blocks that always fail."""
    deadly: tuple[str, ...] = ()
    """Blocks that end their process."""
    seconds: float = 0.0
    notes: bool = True
    """Whether calls are noted; else nothing is written."""
    network: bool = False
    """Whether it wants a GPU."""
    wait_for_next: bool = False
    """A block ends only when the next one is being read."""

    @property
    def wants_gpu(self) -> bool:
        return self.network

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, (0, 0, 0, 0))


def calls(folder: Path | str, kind: str = "block") -> dict[str, int]:
    """How often each block was computed, or read, or all of them finished."""
    return dict(Counter(p.name.split(".")[0] for p in Path(folder, kind).glob("*")))


def note(spec: Spec, kind: str, name: str) -> None:
    if not spec.notes:
        return
    folder = Path(spec.folder, kind)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.{uuid.uuid4().hex}").touch()


def check(spec: Spec) -> None: ...


def prepare(spec: Spec) -> None:
    note(spec, "prepare", "all")


def read(spec: Spec, block: Block) -> str:
    note(spec, "read", block.id)
    return f"data of {block.id}"


def block(spec: Spec, block: Block, data: str) -> Facts:
    note(spec, "block", block.id)
    assert data == f"data of {block.id}"
    if block.id in spec.deadly:
        os._exit(1)
    if block.id in spec.broken or (block.id in spec.flaky and calls(spec.folder)[block.id] == 1):
        raise ImageError(f"Voxels of {block.id} cannot be read [zstd].")
    if spec.wait_for_next and block.index != spec.grid[len(spec.grid) - 1].index:
        wait_until_read(spec, spec.grid[spec.grid.number(block.index) + 1].id)
    time.sleep(spec.seconds)
    return {"number": spec.grid.number(block.index), "cores": cores.allowed()}


def wait_until_read(spec: Spec, name: str) -> None:
    for _ in range(500):
        if name in calls(spec.folder, "read"):
            return
        time.sleep(0.02)
    raise TimeoutError(f"{name} is not read ahead.")


def leave_out(spec: Spec, block: Block) -> Facts:
    note(spec, "leave_out", block.id)
    return {"number": spec.grid.number(block.index), "cores": None}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    note(spec, "finish", "all")
    return {"numbers": [fact["number"] for fact in facts]}
