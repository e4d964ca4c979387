"""Tile an array with blocks: what each block reads, what it writes, and who its neighbours are.

Every grid of bigseg has the four axes (t, z, y, x); an axis that an image lacks has length 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from bigseg.errors import SpecError

Index = tuple[int, ...]
Box = tuple[slice, ...]


def intersection(a: Box, b: Box) -> Box | None:
    """Voxels that two boxes share, or None."""
    shared = tuple(
        slice(max(i.start, j.start), min(i.stop, j.stop)) for i, j in zip(a, b, strict=True)
    )
    return shared if all(s.start < s.stop for s in shared) else None


def grow(box: Box, margin: Index, shape: Index) -> Box:
    """`box` grown by `margin` voxels on both sides of each axis, clipped to the array."""
    return tuple(
        slice(max(b.start - m, 0), min(b.stop + m, n))
        for b, m, n in zip(box, margin, shape, strict=True)
    )


def within(inner: Box, outer: Box) -> Box:
    """`inner` in the coordinates of an array that holds only `outer`."""
    return tuple(
        slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True)
    )


def size(box: Box) -> Index:
    """Length of a box along each axis."""
    return tuple(b.stop - b.start for b in box)


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of work.

    Along one axis, with halo 2 and the array starting at the left::

        |wwwwwwww|rr|             block 0: no halo outside the array
              |rr|wwwwwwww|rr|    block 1
    """

    index: Index
    """Position in the grid, one integer per axis."""
    read: Box
    """Voxels to load, in array coordinates: `write` grown by the halo and clipped to the array."""
    write: Box
    """Voxels this block alone may write, in array coordinates. Writes tile the array."""

    @property
    def id(self) -> str:
        return "-".join(map(str, self.index))

    @property
    def crop(self) -> Box:
        """`write` in the coordinates of an array loaded from `read`."""
        return within(self.write, self.read)


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular tiling of an array of `shape` voxels by blocks of `block` voxels."""

    shape: Index
    block: Index
    halo: Index

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.block) == len(self.halo):
            raise SpecError(
                f"shape {self.shape}, block {self.block} and halo {self.halo} "
                "must have one entry per axis."
            )
        if min(self.block) < 1 or min(self.halo) < 0:
            raise SpecError(
                f"block {self.block} must be positive and halo {self.halo} must not be negative."
            )

    @property
    def counts(self) -> Index:
        """Number of blocks along each axis."""
        return tuple(ceil(n / b) for n, b in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        return prod(self.counts)

    def __iter__(self) -> Iterator[Block]:
        return (self.block_at(index) for index in product(*map(range, self.counts)))

    def __getitem__(self, number: int) -> Block:
        """Return the block of a flat, C-ordered number."""
        if not 0 <= number < len(self):
            raise IndexError(f"block {number} is not in a grid of {len(self)} blocks.")
        index = []
        for count in reversed(self.counts):
            number, rest = divmod(number, count)
            index.append(rest)
        return self.block_at(tuple(reversed(index)))

    def number(self, index: Index) -> int:
        """Flat, C-ordered number of the block at `index`."""
        number = 0
        for i, count in zip(index, self.counts, strict=True):
            number = number * count + i
        return number

    def meeting(self, box: Box) -> Iterator[Block]:
        """Blocks whose own voxels a box meets, in order."""
        spans = (
            range(s.start // b, (s.stop - 1) // b + 1) for s, b in zip(box, self.block, strict=True)
        )
        return (self.block_at(index) for index in product(*spans))

    def block_at(self, index: Index) -> Block:
        write = tuple(
            slice(i * b, min((i + 1) * b, n))
            for i, b, n in zip(index, self.block, self.shape, strict=True)
        )
        return Block(index, grow(write, self.halo, self.shape), write)

    def neighbours(self, index: Index, axes: tuple[int, ...] = (1, 2, 3)) -> Iterator[Index]:
        """Indices of the touching blocks that come later, over faces, edges and corners.

        Each pair of touching blocks is met once. Blocks never touch along time, so `axes` are
        those of space.
        """
        steps = [(-1, 0, 1) if axis in axes else (0,) for axis in range(len(self.shape))]
        for step in product(*steps):
            if step <= (0,) * len(step):
                continue
            there = tuple(i + s for i, s in zip(index, step, strict=True))
            if all(0 <= i < count for i, count in zip(there, self.counts, strict=True)):
                yield there
