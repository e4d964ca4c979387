"""Properties that every grid must have, whatever its shape."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.errors import SpecError
from bigseg.grid import Block, Grid, grow, intersection, size, within


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    axis = st.tuples(st.integers(1, 9), st.integers(1, 6), st.integers(0, 4))
    shape, block, halo = zip(*(draw(axis) for _ in range(4)), strict=True)
    return Grid(shape, block, halo)


@given(grids())
@settings(deadline=None, max_examples=40)
def test_writes_tile_the_array_exactly_once(grid: Grid) -> None:
    hits = np.zeros(grid.shape, int)
    for block in grid:
        hits[block.write] += 1
    assert (hits == 1).all()


@given(grids())
@settings(deadline=None, max_examples=40)
def test_crop_recovers_what_write_addresses(grid: Grid) -> None:
    array = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    for block in grid:
        np.testing.assert_array_equal(array[block.read][block.crop], array[block.write])


@given(grids())
@settings(deadline=None, max_examples=40)
def test_number_index_and_order_agree(grid: Grid) -> None:
    blocks = list(grid)
    assert len(blocks) == len(grid) == len({block.id for block in blocks})
    assert [grid.number(block.index) for block in blocks] == list(range(len(grid)))
    assert [grid[number] for number in range(len(grid))] == blocks


def touch(a: Block, b: Block) -> bool:
    """Same time, and no gap between the boxes in any direction of space."""
    return a.index[0] == b.index[0] and all(
        i.start <= j.stop and j.start <= i.stop
        for i, j in zip(a.write[1:], b.write[1:], strict=True)
    )


@given(grids())
@settings(deadline=None, max_examples=30)
def test_each_pair_of_touching_blocks_meets_once(grid: Grid) -> None:
    blocks = list(grid)[:60]
    seen = {block.index for block in blocks}
    found = [(b.index, n) for b in blocks for n in grid.neighbours(b.index) if n in seen]
    expected = {(a.index, b.index) for a, b in combinations(blocks, 2) if touch(a, b)}
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_neighbours_along_other_axes() -> None:
    grid = Grid((3, 2, 2, 2), (1, 1, 1, 1), (0, 0, 0, 0))
    assert list(grid.neighbours((0, 0, 0, 0), axes=(0, 3))) == [
        (0, 0, 0, 1),
        (1, 0, 0, 0),
        (1, 0, 0, 1),
    ]
    assert list(grid.neighbours((2, 1, 1, 1))) == []


def test_halo_is_clipped_at_the_array() -> None:
    first, second = Grid((10,), (8,), (2,))
    assert (first.read, first.write) == ((slice(0, 10),), (slice(0, 8),))
    assert (second.read, second.write, second.crop) == (
        (slice(6, 10),),
        (slice(8, 10),),
        (slice(2, 4),),
    )


def test_boxes() -> None:
    box = (slice(2, 5), slice(0, 4))
    assert size(box) == (3, 4)
    assert grow(box, (3, 1), (6, 9)) == (slice(0, 6), slice(0, 5))
    assert within(box, (slice(1, 6), slice(0, 9))) == (slice(1, 4), slice(0, 4))
    assert intersection(box, (slice(4, 9), slice(3, 9))) == (slice(4, 5), slice(3, 4))
    assert intersection(box, (slice(5, 9), slice(0, 4))) is None


def test_axes_must_agree() -> None:
    with pytest.raises(SpecError, match=r"block \(4,\) .* must have one entry per axis"):
        Grid((8, 8), (4,), (0, 0))


def test_blocks_have_voxels_and_halos_are_not_negative() -> None:
    with pytest.raises(SpecError, match=r"block \(4, 0\) must be positive"):
        Grid((8, 8), (4, 0), (0, 0))
    with pytest.raises(SpecError, match=r"halo \(0, -1\) must not be negative"):
        Grid((8, 8), (4, 4), (0, -1))


def test_a_number_beyond_the_grid() -> None:
    with pytest.raises(IndexError, match="block 4 is not in a grid of 4 blocks"):
        Grid((8, 8), (4, 4), (0, 0))[4]
