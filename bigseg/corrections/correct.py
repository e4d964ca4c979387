"""Correct the objects of a finished run: merge what is one, split what is not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

from bigseg import files
from bigseg.corrections.journal import Entry, apply, pending, touched_blocks, write_entry
from bigseg.corrections.plan import plan_change
from bigseg.corrections.spec import Corrections, read_corrections
from bigseg.corrections.state import State, open_state
from bigseg.errors import SpecError
from bigseg.run.lease import drive


@dataclass(frozen=True)
class Corrected:
    """What was corrected, or would be."""

    labels: str
    """URL of the label image."""
    merged: tuple[tuple[tuple[int, ...], int], ...]
    """Ids, and the id that they have now."""
    split: tuple[tuple[int, tuple[int, ...]], ...]
    """An id, and the ids of its pieces."""
    blocks: int
    """Blocks of the finest level that were written again."""
    of_blocks: int
    coarser_blocks: int
    objects: int | None
    """In the label image now; None in a dry run."""
    record: str | None
    """Folder in the run that says what was done; None if nothing was."""
    seconds: float
    completed: bool = False
    """Whether this was a correction that had been interrupted."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def text(self) -> str:
        """Say it to a person."""
        dry = self.objects is None
        lines = ["completes a correction that was interrupted"] if self.completed else []
        lines += [f"merged  {' + '.join(map(str, ids))} into {id}" for ids, id in self.merged]
        lines += [f"split   {id} into {' + '.join(map(str, ids))}" for id, ids in self.split]
        if not self.merged and not self.split:
            lines.append("nothing to change: all objects are as they should be")
        would = "would be " if dry else ""
        lines.append(
            f"{self.blocks} of {self.of_blocks} blocks {would}written again, and "
            f"{self.coarser_blocks} of coarser levels"
        )
        lines.append(f"labels  {self.labels}")
        if not dry:
            lines.append(f"{self.objects} objects, corrected in {self.seconds:.1f} s")
        return "\n".join(lines)


def correct(
    run: str, corrections: str | Mapping[str, Any] | None = None, *, dry_run: bool = False
) -> Corrected:
    """Merge and split objects of a finished run; only what they touch is solved and written again.

    Parameters
    ----------
    run
        Run folder.
    corrections
        TOML or JSON file, or what it would hold: ``{"merge": [{"ids": [12, 57]}], "split":
        [{"points": [[0, 10, 20], [0, 10, 44]]}]}``. Points are voxels along the axes of the label
        image. None only completes a correction that was interrupted.
    dry_run
        Only say what would be done.

    Returns
    -------
    Corrected
        A merged object has the smallest id of its parts; the largest piece of a split one keeps
        its id, and the others get new ones. All other objects keep theirs.

    Raises
    ------
    SpecError, NotFound
        In a sentence, before anything is written: the run is not finished, points lie in no
        object, ids are unknown, or corrections contradict each other.
    AnotherDriver
        Another correction of the run is under way.
    """
    url = files.absolute(run)
    wanted = None if corrections is None else read_corrections(corrections)
    open_state(url)  # what cannot be corrected is refused before anything is written
    with nullcontext() if dry_run else drive(url):
        return _correct(url, wanted, dry_run)


def _correct(url: str, wanted: Corrections | None, dry_run: bool) -> Corrected:
    started = time.monotonic()
    state = open_state(url)
    begun = pending(state.graph)
    if begun is not None:
        if dry_run:
            raise SpecError(
                f"A correction of {url} was interrupted; 'bigseg correct {url}' completes it first."
            )
        count = apply(state, begun)
        if wanted is None or wanted == begun.corrections:
            return _result(state, begun.plan, count, started, begun)
        state = open_state(url)
    if wanted is None:
        raise SpecError(f"No correction of {url} was interrupted; name a file of corrections.")
    for place in (url, state.target):
        files.check_writable(place)
    change = plan_change(state, wanted)
    if dry_run or not (change.merged or change.split):
        plan = {"merged": change.merged, "split": change.split, **touched_blocks(state, change)}
        return _result(state, plan, None if dry_run else state.objects, started)
    entry = write_entry(state, wanted, change)
    return replace(_result(state, entry.plan, apply(state, entry), started, entry), completed=False)


def _result(
    state: State,
    plan: Mapping[str, Any],
    count: int | None,
    started: float,
    entry: Entry | None = None,
) -> Corrected:
    return Corrected(
        labels=state.target,
        merged=tuple((tuple(ids), id) for ids, id in plan["merged"]),
        split=tuple((id, tuple(ids)) for id, ids in plan["split"]),
        blocks=len(plan["blocks"]),
        of_blocks=len(state.grids[0]),
        coarser_blocks=sum(map(len, plan["levels"])),
        objects=count,
        record=None if entry is None else entry.url,
        seconds=round(time.monotonic() - started, 2),
        completed=entry is not None,
    )
