"""Which objects of successive frames share voxels, once the drift of the image is taken back.

Centres tell little of cells that are long and thin, or large; what their outlines cover in both
frames does. Voxels are counted once (`core.overlap`), all else works on the rows of this table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Pairs of objects that share voxels; rows of the detections, sorted by source and target."""

    source: Ints
    target: Ints
    """In the frame after that of the source."""
    voxels: Floats
    """(n,) how many they share."""

    def __len__(self) -> int:
        return len(self.source)

    def take(self, rows: Ints) -> Overlaps:
        """Return the pairs whose ends are both among ascending `rows`, as places in them."""
        if not len(rows):
            return Overlaps(self.source[:0], self.target[:0], self.voxels[:0])
        ends = [np.searchsorted(rows, end) for end in (self.source, self.target)]
        there = np.ones(len(self), np.bool_)
        for place, end in zip(ends, (self.source, self.target), strict=True):
            there &= rows[np.minimum(place, len(rows) - 1)] == end
        source, target = (place[there].astype(np.int64) for place in ends)
        return Overlaps(source, target, self.voxels[there])

    def leaving(self, first: int, last: int) -> Overlaps:
        """Pairs whose source is one of the rows from `first` to before `last`."""
        some = slice(*np.searchsorted(self.source, (first, last)))
        return Overlaps(self.source[some], self.target[some], self.voxels[some])

    def shared(self, source: Ints, target: Ints) -> Floats:
        """Voxels that each of some pairs of rows share; 0 where none."""
        if not len(source):
            return np.zeros(0)
        some = self.leaving(int(source.min()), int(source.max()) + 1)
        if not len(some):
            return np.zeros(len(source))
        wide = 1 + max(int(some.target.max()), int(target.max()))
        keys, wanted = some.source * wide + some.target, source * wide + target
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, some.voxels[place], 0.0)

    def most(self, size: Floats, count: int) -> Overlaps:
        """Only the `count` pairs of each source, and of each target, that are most alike."""
        alike = union_share(self.voxels, size[self.source] + size[self.target])
        keep = _rank(self.source, alike) < count
        keep |= _rank(self.target, alike) < count
        return Overlaps(self.source[keep], self.target[keep], self.voxels[keep])


def union_share(shared: Floats, both: Floats) -> Floats:
    """Intersection over union, of what is shared and the sum of both sizes."""
    return np.asarray(shared / np.maximum(both - shared, 1e-9))


def gather_overlaps(source: Ints, target: Ints, voxels: NDArray[np.number]) -> Overlaps:
    """Sort pairs of rows."""
    order = np.lexsort((target, source))
    columns = (source[order].astype(np.int64), target[order].astype(np.int64))
    return Overlaps(*columns, voxels[order].astype(np.float64))


def _rank(group: Ints, value: Floats) -> Ints:
    """Place of each within its group, the largest value first; ties in the order of rows."""
    order = np.lexsort((-value, group))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.searchsorted(group[order], group[order])
    return rank


def mutual(overlaps: Overlaps, size: Floats) -> tuple[Ints, Ints]:
    """Pairs of which each is what the other is most alike."""
    best = overlaps.most(size, 1)
    alike = union_share(best.voxels, size[best.source] + size[best.target])
    both = (_rank(best.source, alike) == 0) & (_rank(best.target, alike) == 0)
    return best.source[both], best.target[both]
