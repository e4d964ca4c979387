"""Tiles at any place: which of them meet, which one owns a voxel, and where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from bigseg.grid import Box, intersection, within

Corners = NDArray[np.int64]
"""(n, axes) voxels, the last axes being z, y, x."""

_UNIT = 1 << 40
_CELLS = 1 << 22
"""Cells that are looked at together when gaps are sought."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes (t, z, y, x) of tiles, which may overlap, abut or leave gaps."""

    low: Corners
    """(n, 4) first voxel."""
    high: Corners
    """(n, 4) voxel after the last."""

    def __len__(self) -> int:
        return len(self.low)

    def box(self, number: int) -> Box:
        """Extent of a tile."""
        pairs = zip(self.low[number], self.high[number], strict=True)
        return tuple(slice(int(low), int(high)) for low, high in pairs)

    def meeting(self, box: Box, reach: int = 0) -> NDArray[np.int64]:
        """Numbers of the tiles that share voxels with `box`, or lie within `reach` of it."""
        start, stop = np.array([(s.start, s.stop) for s in box]).T
        near = (self.low < stop + reach) & (self.high > start - reach)
        # Time is no direction: what is in another frame is never near.
        near[:, 0] = (self.low[:, 0] < stop[0]) & (self.high[:, 0] > start[0])
        return np.flatnonzero(near.all(axis=1))

    def owned(self, number: int, box: Box | None = None) -> NDArray[np.bool_]:
        """Which voxels of `box` (all of the tile) a tile owns: each covered one has one owner.

        The owner is the tile in which a voxel lies deepest, so overlaps are parted in the middle.
        """
        whole = self.box(number)
        box = whole if box is None else box
        ours = np.zeros([s.stop - s.start for s in box], np.bool_)
        inner = intersection(box, whole)
        if inner is None:
            return ours
        ours[within(inner, box)] = True
        for other in self.meeting(inner):
            zone = intersection(inner, self.box(int(other)))
            if other != number and zone is not None:
                lead = depth(zone, whole) - depth(zone, self.box(int(other)))
                ours[within(zone, box)] &= lead > 0 if other < number else lead >= 0
        return ours

    def extent(self) -> Box:
        """Smallest box that holds all tiles."""
        pairs = zip(self.low.min(axis=0), self.high.max(axis=0), strict=True)
        return tuple(slice(int(low), int(high)) for low, high in pairs)

    def gap(self) -> Box | None:
        """Voxels inside the extent that no tile covers, one box of them; None if there are none."""
        start, stop = np.array([(s.start, s.stop) for s in self.extent()]).T
        return _gap(self.low, self.high, start, stop)


def depth(box: Box, tile: Box) -> NDArray[np.int64]:
    """How deep the voxels of `box` lie in a tile that holds them: larger is deeper.

    The sum over axes of ``-1 / (2 d + 1)`` in fixed point, d being the voxels between a voxel and
    the nearer face. A sum, because then axes along which two tiles agree make no difference to
    which is deeper; a grid's overlaps are so parted into boxes, through their middle. Integers,
    because ties must be ties on any machine.
    """
    along = []
    for part, whole in zip(box, tile, strict=True):
        at = np.arange(part.start, part.stop, dtype=np.int64)
        along.append(-(_UNIT // (2 * np.minimum(at - whole.start, whole.stop - 1 - at) + 1)))
    total: NDArray[np.int64] = reduce(np.add.outer, along)
    return total


def _gap(low: Corners, high: Corners, start: Corners, stop: Corners) -> Box | None:
    """First uncovered cell of the box from `start` to `stop`.

    The faces of all tiles cut the box into cells, each of which is covered or not; where there
    would be too many, the box is halved first.
    """
    low, high = np.clip(low, start, stop), np.clip(high, start, stop)
    real = (low < high).all(axis=1)
    low, high = low[real], high[real]
    if len(low) == 0:
        return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    if ((low == start) & (high == stop)).all(axis=1).any():
        return None
    cuts = [np.unique(np.r_[a, b, *pair]) for a, b, *pair in zip(start, stop, low.T, high.T)]  # noqa: B905
    lengths = np.array([len(cut) for cut in cuts])
    if np.prod(lengths.astype(float)) > _CELLS:
        axis = int(lengths.argmax())
        middle = cuts[axis][lengths[axis] // 2]
        halves = (start, _with(stop, axis, middle)), (_with(start, axis, middle), stop)
        return _gap(low, high, *halves[0]) or _gap(low, high, *halves[1])
    missing = np.argwhere(_counts(low, high, cuts) == 0)
    if len(missing) == 0:
        return None
    return tuple(
        slice(int(cut[i]), int(cut[i + 1])) for cut, i in zip(cuts, missing[0], strict=True)
    )


def _with(corner: Corners, axis: int, value: int) -> Corners:
    changed = corner.copy()
    changed[axis] = value
    return changed


def _counts(low: Corners, high: Corners, cuts: list[Corners]) -> NDArray[np.int32]:
    """How many tiles cover each cell: +1 and -1 at their corners, summed along each axis."""
    count = np.zeros([len(cut) for cut in cuts], np.int32)
    ends = [
        [np.searchsorted(cut, corners[:, axis]) for corners in (low, high)]
        for axis, cut in enumerate(cuts)
    ]
    for which in np.ndindex(*(2,) * len(cuts)):
        place = tuple(end[side] for end, side in zip(ends, which, strict=True))
        np.add.at(count, place, (-1) ** sum(which))
    for axis in range(len(cuts)):
        np.cumsum(count, axis=axis, out=count)
    return count[tuple(slice(0, -1) for _ in cuts)]
