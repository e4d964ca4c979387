"""Where to look: slices and regions that many objects go through, from the object table alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = dict[str, NDArray[Any]]


def profile(table: Table, axis: str, length: int) -> NDArray[np.int64]:
    """Number of objects that each position along an axis goes through: (length,)."""
    steps = np.zeros(length + 1, np.int64)
    np.add.at(steps, np.clip(table[f"{axis}0"], 0, length), 1)
    np.add.at(steps, np.clip(table[f"{axis}1"], 0, length), -1)
    return np.cumsum(steps[:-1])


def fullest(table: Table, axis: str, length: int) -> int:
    """Position along an axis that most objects lie at; the middle if there are none."""
    count = profile(table, axis, length)
    if count.max(initial=0) == 0:
        return length // 2
    best = np.flatnonzero(count == count.max())
    return int(best[len(best) // 2])


def spread(table: Table, axis: str, length: int, number: int) -> list[int]:
    """At most `number` positions, rising, that objects are spread evenly between."""
    if length <= number:
        return list(range(length))
    if len(table["id"]) == 0:
        return [length // 2]
    parts = (np.arange(number) + 0.5) / number
    return sorted({int(p) for p in np.clip(np.quantile(table[axis], parts), 0, length - 1)})


def frames(table: Table, length: int, number: int) -> list[int]:
    """At most `number` frames: the first, the last and between, of those that have objects."""
    there = np.unique(table["frame"]) if len(table["frame"]) else np.arange(length)
    at = np.linspace(0, len(there) - 1, min(number, len(there)))
    return [int(there[round(i)]) for i in at]


def of_frame(table: Table, frame: int) -> Table:
    """Rows of one frame."""
    rows = table["frame"] == frame
    return {name: column[rows] for name, column in table.items()}


def window(centre: float, length: int, most: int) -> slice:
    """At most `most` positions around `centre`, within an axis."""
    wide = min(most, length)
    start = min(max(round(centre) - wide // 2, 0), length - wide)
    return slice(start, start + wide)


def crowded(
    table: Table, shape: tuple[int, int], edge: int, number: int
) -> list[tuple[slice, slice]]:
    """At most `number` regions (y, x) of `edge` pixels, fullest first, that do not overlap.

    The middle of the image where there are no objects.
    """
    if len(table["id"]) == 0:
        return [(window(shape[0] / 2, shape[0], edge), window(shape[1] / 2, shape[1], edge))]
    step = max(edge // 4, 1)
    cells = np.stack([table[a] // step for a in "yx"], 1).astype(np.int64)
    unique, counts = np.unique(cells, axis=0, return_counts=True)
    counts = _neighbourhoods(unique, counts)
    chosen: list[tuple[slice, slice]] = []
    for row in np.argsort(-counts, kind="stable"):
        y, x = (unique[row] + 0.5) * step
        region = (window(y, shape[0], edge), window(x, shape[1], edge))
        if not any(_overlap(region, other) for other in chosen):
            chosen.append(region)
        if len(chosen) == number:
            break
    return chosen


def _neighbourhoods(cells: NDArray[np.int64], counts: NDArray[Any]) -> NDArray[np.int64]:
    """Objects in the 3 × 3 cells around each cell."""
    width = int(cells[:, 1].max()) + 3
    key = (cells[:, 0] + 1) * width + cells[:, 1] + 1
    total = np.zeros(len(cells), np.int64)
    for offset in (y * width + x for y in (-1, 0, 1) for x in (-1, 0, 1)):
        at = np.minimum(np.searchsorted(key, key + offset), len(key) - 1)
        total += np.where(key[at] == key + offset, counts[at], 0)
    return total


def _overlap(a: tuple[slice, slice], b: tuple[slice, slice]) -> bool:
    return all(i.start < j.stop and j.start < i.stop for i, j in zip(a, b, strict=True))
