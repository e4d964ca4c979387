"""Begin a run, do its steps, and end it: what all kinds of runs have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bigseg import files
from bigseg.errors import OutputExists, SpecError
from bigseg.events import Event, Listener
from bigseg.holes import may_leave_out
from bigseg.io.tables import write_table
from bigseg.jobs.claim import (
    Claim,
    Way,
    check_run_folder,
    check_still_free,
    is_finished,
    kept_steps,
)
from bigseg.plans.steps import Step
from bigseg.run.breaker import forget_streaks
from bigseg.run.cluster import Room, open_cluster, room
from bigseg.run.execute import Groups, run_steps
from bigseg.run.folder import Run, is_run, make_steps, open_run
from bigseg.run.folder import Step as RunStep
from bigseg.run.lease import Lease, drive
from bigseg.run.ledger import Ledger
from bigseg.run.left_out import holes_of
from bigseg.version import VERSION


class Interrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C; the message says how to go on. No `Exception`, as its base."""

    exit_code = 130


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to be computed, by whomever."""

    run: str
    result: str
    """URL of what it makes."""
    steps: tuple[tuple[str, int], ...]
    """Name and number of blocks."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"steps": [{"step": n, "blocks": b} for n, b in self.steps]}

    def text(self) -> str:
        """Say it to a person."""
        widest = max(self.steps, key=lambda step: step[1])
        return (
            f"{self.run} is ready: {len(self.steps)} steps, up to {widest[1]} blocks "
            f"({widest[0]}). Nothing is computed yet.\n"
            f"'bigseg jobs {self.run}' writes jobs of a batch system that compute it, "
            f"'bigseg run {self.run}' computes it here."
        )


def prepare(claimed: Claim, *, first: Callable[[], None] = lambda: None) -> Prepared:
    """Write the folder of a run, and compute nothing.

    Parameters
    ----------
    first
        See `carry_out`.
    """
    run = claimed.run
    with drive(run.url):
        check_still_free(claimed)
        claimed.take()
        first()
    return Prepared(run.url, claimed.target, tuple((s.name, len(s.spec.grid)) for s in run.steps))


def plan_run(url: str, settings: BaseModel, planned: Sequence[Step]) -> Run:
    """Make a run of planned steps, once each has agreed to its specification."""
    steps = make_steps([(step.name, step.stage, step.spec) for step in planned])
    for step in steps:
        step.module.check(step.spec)
    return Run(url, VERSION, settings.model_dump(mode="json"), steps)


def check_unfinished(run: Run) -> None:
    """Ask the steps that are left whether what they need is still there."""
    for step in run.steps:
        if not Ledger.of(run, step).is_finished():
            step.module.check(step.spec)


def widest(steps: Sequence[RunStep]) -> int:
    """Most blocks of a step."""
    return max(len(step.spec.grid) for step in steps)


def room_for(run: Run, cluster: str | None, workers: int | None) -> Room:
    """How many blocks would be computed at the same time, and in how much memory."""
    return room(cluster, workers, widest(run.steps))


def claim_result(
    run: Run,
    target: str,
    sources: Sequence[str],
    *,
    overwrite: bool,
    is_kind: Callable[[Run], bool],
    keeps: bool = False,
) -> Claim:
    """Decide how a run begins; nothing is written.

    Parameters
    ----------
    target
        URL of what it makes.
    sources
        URLs of what it reads.
    overwrite
        Replace what a former run has made.
    is_kind
        Whether a run is of the same kind.
    keeps
        Whether steps of a former run serve again, as far as settings have not changed them.

    Raises
    ------
    OutputExists
        There is a result already and `overwrite` is false, or it is not the run's.
    SpecError
        The folder holds another kind of run, or lies where it must not.
    Unreachable
        The run or the result cannot be written.
    """
    former = open_run(run.url) if is_run(run.url) else None
    way = Way.NEW
    if former is not None:
        if not is_kind(former):
            raise SpecError(f"{run.url} holds a run of another kind; choose another with --run.")
        same = former.steps[-1].fingerprint == run.steps[-1].fingerprint
        way = Way.CONTINUE if same and not is_finished(former) else Way.ANEW
        if way is Way.ANEW and not overwrite:
            what = "is finished already" if same else "holds a run with other settings"
            raise OutputExists(
                f"{run.url} {what}; choose another output, or replace it with --overwrite."
            )
        if way is Way.ANEW and keeps and not same and kept_steps(former, run):
            way = Way.REUSE
    if way is not Way.CONTINUE:
        made = former is not None and _made(former, target)
        if files.names(target) and not made:
            raise OutputExists(
                f"{target} exists already, and no run beside it says that it made it; choose "
                "another output."
            )
        for source in sources:
            check_run_folder(run.url, source, target, way)
    for url in (run.url, target):
        files.check_writable(url)
    return Claim(run, target, way)


def _made(former: Run, target: str) -> bool:
    """Whether a former run made what is at `target`, as its steps say."""
    return any(target in _targets(step.values) for step in former.steps)


def _targets(values: Any) -> Iterator[str]:
    """All that a specification calls a target."""
    if isinstance(values, dict):
        for name, value in values.items():
            if name == "target":
                yield value
            yield from _targets(value)


def carry_out(
    claimed: Claim,
    *,
    cluster: str | None,
    workers: int | None,
    listener: Listener,
    keep_scratch: bool = False,
    first: Callable[[], None] = lambda: None,
    groups: Groups | None = None,
) -> float:
    """Do the steps of a run that are left; seconds that it took.

    Parameters
    ----------
    first
        What else is written into the folder, once it has been claimed.
    groups
        Workers that are there already; None: those that `cluster` and `workers` speak of.

    Raises
    ------
    BlocksFailed, BigsegError
        See `run_steps`.
    SpecError
        If blocks may be left out, but no step could do without one.
    Interrupted
        On Ctrl-C; the message says how to go on.
    """
    started, run = time.monotonic(), claimed.run
    _check_leaving_out(run)
    # What has to be started may be refused, too, so nothing is written before.
    where = "serial" if claimed.way is Way.CONTINUE and is_finished(run) else cluster
    there = nullcontext(groups) if groups is not None else None
    try:
        with (
            there or open_cluster(where, workers, widest(run.steps), listen=listener) as opened,
            drive(run.url) as lease,
        ):
            check_still_free(claimed)
            claimed.take()
            forget_streaks(run)
            first()
            run_steps(run, opened, listen=_unless_lost(lease, listener))
    except KeyboardInterrupt:
        remedy = f"'bigseg run {run.url}' continues." if is_run(run.url) else "Nothing is written."
        raise Interrupted(f"Interrupted. {remedy}") from None
    _note_holes(claimed)
    if not keep_scratch:
        files.remove(files.join(run.url, "scratch"))
    for url in (run.url, claimed.target):
        files.sweep(url)
    return round(time.monotonic() - started, 2)


def _check_leaving_out(run: Run) -> None:
    """Refuse to leave out what cannot be, rather than find out in the end."""
    if may_leave_out() and not any(hasattr(step.module, "leave_out") for step in run.steps):
        names = ", ".join(step.name for step in run.steps)
        raise SpecError(
            f"--skip-failed means nothing here: the steps of this run ({names}) each need all that "
            "is before them, so nothing can be left out. Run it without."
        )


def holes_url(target: str) -> str:
    """Where it is told what a result lacks: a row for each block that was left out, if any was."""
    return files.join(target, "holes.parquet")


def _note_holes(claimed: Claim) -> None:
    """Put a table of what was left out into the result, which may outlive the run's folder."""
    found = list(holes_of(claimed.run))
    if not found:
        return
    columns: dict[str, NDArray[Any]] = {
        name: np.array([getattr(hole, name) for hole in found]) for name in ("step", "block")
    }
    for axis in "tzyx":
        for side in (0, 1):
            columns[f"{axis}{side}"] = np.array([hole.voxels[axis][side] for hole in found])
    columns["error"] = np.array([hole.error for hole in found])
    write_table(holes_url(claimed.target), columns)


def _unless_lost(lease: Lease, listener: Listener) -> Listener:
    """Stop at the next event once another driver has taken over."""

    def listen(event: Event) -> None:
        lease.check()
        listener(event)

    return listen


def published(run: Run) -> int:
    """Objects in the label image that a run has published."""
    facts = Ledger.of(run, run.step("publish")).finished() or {}
    return int(facts["objects"])
