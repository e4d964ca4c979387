"""Names of records: the numbers of blocks in them, so that a listing alone tells what is done.

A record of the blocks 17 to 20 and 23 is named `0/17-20_23.json`: the folder is that of the first
4096 blocks. Folders keep every listing that a worker needs short, whatever the size of the grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, cast

GROUP = 4096
"""Blocks whose records lie in one folder."""
LONGEST = 120
"""Letters of a name; file systems take 255, of which a part is written under a longer name."""
FINISHED = "finished.json"

Span = tuple[int, int]
"""First and last of blocks whose numbers follow each other."""
Kind = Literal["json", "failed.json", "skipped.json"]
"""Of an object: blocks that are done, one that failed, one that was left out."""


@dataclass(frozen=True, slots=True)
class Name:
    """What the path of an object in a ledger says."""

    path: str
    """Within the ledger."""
    kind: Kind
    spans: tuple[Span, ...]

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.spans)

    def numbers(self) -> Iterator[int]:
        """Numbers of its blocks, rising."""
        return chain.from_iterable(range(first, last + 1) for first, last in self.spans)


def group(number: int) -> str:
    """Folder of a block's records."""
    return str(number // GROUP)


def of_one(number: int, kind: Kind) -> str:
    """Path of an object about one block."""
    return f"{group(number)}/{number}.{kind}"


def of_many(numbers: Sequence[int]) -> Iterator[Name]:
    """Names for the records of some blocks; few, as numbers mostly follow each other.

    Parameters
    ----------
    numbers
        Rising, without any twice.
    """
    for folder, spans in _by_group(numbers):
        texts: list[str] = []
        taken: list[Span] = []
        for first, last in spans:
            text = str(first) if first == last else f"{first}-{last}"
            if texts and sum(map(len, texts)) + len(texts) + len(text) > LONGEST:
                yield Name(f"{folder}/{'_'.join(texts)}.json", "json", tuple(taken))
                texts, taken = [], []
            texts.append(text)
            taken.append((first, last))
        yield Name(f"{folder}/{'_'.join(texts)}.json", "json", tuple(taken))


def _by_group(numbers: Sequence[int]) -> Iterator[tuple[str, list[Span]]]:
    folder, spans = "", list[Span]()
    for first, last in spans_of(numbers):
        if spans and group(first) != folder:
            yield folder, spans
            spans = []
        folder = group(first)
        spans.append((first, last))
    if spans:
        yield folder, spans


def spans_of(numbers: Iterable[int]) -> Iterator[Span]:
    """Runs of numbers that follow each other; none reaches beyond a folder."""
    first = last = -1
    for number in numbers:
        if number != last + 1 or number % GROUP == 0 or first < 0:
            if first >= 0:
                yield first, last
            first = number
        last = number
    if first >= 0:
        yield first, last


def parse(path: str) -> Name:
    """What a path says; ValueError if it is none that `of_one` or `of_many` make."""
    folder, _, name = path.partition("/")
    text, _, kind = name.partition(".")
    if kind not in ("json", "failed.json", "skipped.json"):
        raise ValueError(f"'{name}' is not the name of a record")
    spans = tuple(map(_span, text.split("_")))
    low, high = spans[0][0], spans[-1][1]
    one = kind == "json" or (len(spans) == 1 and low == high)
    if not one or folder != group(low) or folder != group(high):
        raise ValueError(f"'{name}' is not the name of a record in '{folder}'")
    return Name(path, cast(Kind, kind), spans)


def _span(text: str) -> Span:
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if not 0 <= low <= high:
        raise ValueError(f"'{text}' is no range")
    return low, high
