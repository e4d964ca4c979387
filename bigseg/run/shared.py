"""Workers that several runs use at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

from bigseg.run.execute import Group, Groups
from bigseg.run.folder import Step


class Shared:
    """Groups of workers for runs that are driven side by side, each by a thread of its own.

    A group that one of them needs no more may be what another waits for, so all stay until all runs
    have ended.
    """

    def __init__(self, groups: Groups) -> None:
        self._groups = groups
        self._lock = Lock()

    def of(self, step: Step) -> Group:
        """The group that computes a step; it is started once, whoever asks first."""
        with self._lock:
            return self._groups.of(step)

    def release(self, left: Sequence[Step]) -> None:
        """End nothing."""
