"""Stop tasks of a job array when block after block fails for one and the same reason.

Nobody drives an array, so its tasks tell each other in one small object of the run, which each
looks at now and then: which error came last, how many blocks in a row it met, and in which tasks.
Two that write at once may lose a count, which only lets a few more blocks be tried.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace

from bigseg import files
from bigseg.errors import BigsegError
from bigseg.run.folder import Run, Step
from bigseg.run.ledger import Ledger
from bigseg.run.machine import worker_name
from bigseg.run.worker import Outcome

GIVE_UP_FIRST = 20
"""Blocks that fail with one and the same error, before any succeeds, until a step is stopped."""
GIVE_UP_LATER = 100
"""Blocks that fail so one after the other later on, until a step is stopped."""
TASKS = 3
"""Tasks that must have met an error until others are stopped: one may have a broken machine."""
LOOK = 2.0
"""Seconds between two looks at what other tasks have met."""


def alike(error: str) -> str:
    """What errors of blocks have in common: positions and sizes differ."""
    return re.sub(r"\d+", "0", error)


def too_many(count: int, *, some_done: bool) -> bool:
    """Whether so many blocks in a row are enough to stop a step.

    Before any block has succeeded a few are. Later it takes many, as a damaged region of the
    image, where neighbours fail alike, must not keep the rest from being done.
    """
    return count >= (GIVE_UP_LATER if some_done else GIVE_UP_FIRST)


class Hopeless(BigsegError, RuntimeError):
    """Block after block fails alike, so no other is tried."""


@dataclass(frozen=True, slots=True)
class Streak:
    """Blocks of a step that failed one after the other with the same error."""

    fingerprint: str
    """Of the step."""
    error: str = ""
    """Of the last of them."""
    count: int = 0
    tasks: tuple[str, ...] = ()
    """Those that met it; no more than `TASKS` are kept."""
    since: float = 0.0
    """When the first of them failed."""
    some_done: bool = False
    """Whether any block of the step had been done before."""

    def grown(self, error: str, task: str) -> Streak:
        """One more block failed."""
        if alike(error) != alike(self.error):
            return Streak(self.fingerprint, error, 1, (task,), time.time(), self.some_done)
        tasks = self.tasks if task in self.tasks else (*self.tasks, task)[:TASKS]
        return replace(self, error=error, count=self.count + 1, tasks=tasks)

    def text(self, step: str, run: str) -> str:
        """Why nothing more is tried, in a sentence; empty as long as something is."""
        if not too_many(self.count, some_done=self.some_done) or len(self.tasks) < TASKS:
            return ""
        return (
            f"Step '{step}' is stopped: {self.count} blocks in a row failed with the same error in "
            f"several tasks: {self.error} Mend the cause; then 'bigseg jobs' submits the rest, or "
            f"'bigseg run {run}' computes it."
        )


def streak_url(run: str, step: str) -> str:
    """Where the tasks of an array tell each other what fails."""
    return files.join(run, "scratch", "failing", f"{step}.json")


def read_streak(run: Run, step: Step) -> Streak | None:
    """What the tasks of an array have met last; None if nothing failed, or none can tell."""
    with suppress(OSError, BigsegError, ValueError, TypeError):
        found = json.loads(files.get(streak_url(run.url, step.name)))
        streak = Streak(**found | {"tasks": tuple(found["tasks"])})
        return streak if streak.fingerprint == step.fingerprint else None
    return None


def forget_streaks(run: Run) -> None:
    """Let tasks try again whatever failed before."""
    files.remove(files.join(run.url, "scratch", "failing"))


class Breaker:
    """What one task knows of failures, its own and those of the others."""

    def __init__(self, run: Run, step: Step, known: Iterable[int]) -> None:
        self._run = run
        self._step = step
        self._known = set(known)
        self._me = worker_name()
        self._own = Streak(step.fingerprint)
        self._some_done = False
        self._done_at = 0.0
        self._looked = float("-inf")

    def heed(self, outcome: Outcome) -> None:
        """Take note of how it went with a block, and tell others if it failed.

        Blocks that are `known` to fail do not count, so that whoever tries the rest of a step again
        gets past a damaged region.
        """
        if outcome.status == "done":
            self._done_at = time.time()
            self._own = Streak(self._step.fingerprint)
            self._some_done = True
        if outcome.status != "failed" or outcome.number in self._known:
            return
        if not self._own.count:
            self._some_done |= Ledger.of(self._run, self._step).has_records()
        self._known.add(outcome.number)
        self._own = self._own.grown(outcome.error, self._me)
        begun = Streak(self._step.fingerprint, some_done=self._some_done)
        shared = self._without_past(read_streak(self._run, self._step) or begun)
        self._tell(shared.grown(outcome.error, self._me))

    def check(self) -> None:
        """Look whether another block should be tried.

        Raises
        ------
        Hopeless
            If too many in a row have failed alike, here or in several tasks.
        """
        if too_many(self._own.count, some_done=self._some_done):
            raise Hopeless(
                f"Step '{self._step.name}' is stopped here: {self._own.count} blocks in a row "
                f"failed with the same error: {self._own.error} Mend the cause, and try again."
            )
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        shared = read_streak(self._run, self._step)
        if shared is None or not shared.count:
            return
        now = self._without_past(shared)
        if now is not shared:
            self._tell(now)
        elif text := shared.text(self._step.name, self._run.url):
            raise Hopeless(text)

    def _without_past(self, shared: Streak) -> Streak:
        """Nothing, if this task has done a block since the streak began."""
        over = shared.count and self._done_at > shared.since
        return Streak(shared.fingerprint, some_done=True) if over else shared

    def _tell(self, streak: Streak) -> None:
        with suppress(OSError):  # where the disk is full, that is what fails
            text = json.dumps(asdict(streak))
            files.put(streak_url(self._run.url, self._step.name), text.encode())
