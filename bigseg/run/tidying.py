"""Put records together while a step goes on: of a million slow blocks, each leaves one of its own.

A folder of records whose blocks are all done is put together as `Ledger.compact` would at the end
of the step. Only who drives a step does so, as one; whoever is killed meanwhile loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from bigseg.run.ledger import Ledger
from bigseg.run.names import GROUP
from bigseg.run.worker import Outcome


class Tidying:
    """Puts folders of records together, in a thread, as their last blocks are done."""

    def __init__(self, ledger: Ledger, done: NDArray[np.bool_]) -> None:
        self._ledger = ledger
        self._left = np.bincount(np.flatnonzero(~done) // GROUP).tolist()
        self._pool = ThreadPoolExecutor(1, "bigseg-tidying")

    def __enter__(self) -> Tidying:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)

    def heeding(self, outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
        """Pass outcomes on, and count them; what cannot be put together now will be at the end."""
        for outcome in outcomes:
            if outcome.status in ("done", "skipped"):
                folder = outcome.number // GROUP
                self._left[folder] -= 1
                # The end of the step sees to an only folder.
                if not self._left[folder] and len(self._left) > 1:
                    self._pool.submit(self._ledger.compact_folder, str(folder))
            yield outcome
