"""Sums over what blocks remembered, in one pass: records of a million blocks are streamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bigseg.types import Facts


def totals(facts: Iterable[Facts], names: Sequence[str]) -> Facts:
    """Sum of each named fact over all blocks; what a block does not know counts nothing.

    >>> totals([{"objects": 2, "cut": 1}, {"objects": 3}], ["objects", "cut"])
    {'objects': 5, 'cut': 1}
    """
    found: Facts = dict.fromkeys(names, 0)
    for fact in facts:
        for name in names:
            found[name] += fact.get(name, 0)
    return found
