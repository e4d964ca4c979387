"""What people corrected by hand, as a part of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bigseg.view import page

SHOWN = 10


@dataclass(frozen=True)
class Correction:
    """One that was applied."""

    time: str
    """ISO 8601."""
    merged: Sequence[tuple[Sequence[int], int]]
    """Ids, and the one they have now."""
    split: Sequence[tuple[int, Sequence[int]]]
    """An id, and those of its pieces."""


def corrected(corrections: Sequence[Correction]) -> str:
    """Part of the page about corrections; nothing if there are none."""
    if not corrections:
        return ""
    merged = sum(len(c.merged) for c in corrections)
    split = sum(len(c.split) for c in corrections)
    note = (
        f"{len(corrections):,} corrections: {merged:,} merges and {split:,} splits. "
        "Faces were counted anew afterwards; certificates are those of the run before."
    )
    rows = [
        [
            c.time,
            "; ".join(f"{_sum(ids)} into {id}" for ids, id in c.merged[:SHOWN]),
            "; ".join(f"{id} into {_sum(ids)}" for id, ids in c.split[:SHOWN]),
        ]
        for c in corrections[-SHOWN:]
    ]
    return page.heading("Corrected by hand", note) + page.table(
        ("Time", "Merged", "Split"), rows, numbers=False
    )


def _sum(ids: Sequence[int]) -> str:
    return " + ".join(map(str, ids))
