"""Blocks that know the truth, or follow its flows, give back the truth: however an array is cut.

Worlds of balls, rods, sheets, branches and touching cells, in planes and volumes; labelled block by
block in memory with `benchmarks.per_block`, which does what the stages do.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.disturb import Errors, disturbed
from benchmarks.per_block import Opinion, all_edges, cut, label_blocks, merge
from bigseg.core.instances import Criteria, find_objects
from bigseg.core.metrics import Scores, score, variation_of_information
from bigseg.core.overlap import contingency
from bigseg.grid import Block, Grid, Index
from tests.shapes import (
    a_ball,
    a_box,
    a_branch,
    a_rod,
    a_sheet,
    gaps,
    lattice,
    pieces,
    scatter,
    touching,
)
from tests.worlds import perfect_predictions, same_partition

LENGTH = 14
PAINTS = {
    "balls": partial(a_ball, radius=(1.5, 6)),
    "rods": partial(a_rod, width=(1.5, 4), length=LENGTH),
    "sheets": partial(a_sheet, thick=2, width=LENGTH),
    "branches": partial(a_branch, width=2.5, length=LENGTH),
    **{f"boxes-{width}": partial(a_box, width=width, length=LENGTH) for width in (1, 2, 3, 4)},
}
KINDS = (*PAINTS, "touching", "gaps")
PLANE, SOLID = (1, 50, 60), (22, 24, 26)
ANYWHERE = settings(deadline=None, max_examples=15)


def world(kind: str, shape: Index, seed: int) -> np.ndarray:
    if kind in PAINTS:
        return scatter(shape, 20 if shape[0] == 1 else 12, PAINTS[kind], seed)
    cells = touching(shape, 9, seed)
    return gaps(cells) if kind == "gaps" else cells


def flat(shape: Index, sizes: Index) -> Index:
    """Sizes along axes that have a length, and 0 along others."""
    return tuple(size if n > 1 else 0 for n, size in zip(shape, sizes, strict=True))


def opinions(
    truth: np.ndarray, block: Index, halo: int, band: int, label: Callable[[Block], np.ndarray]
) -> tuple[Grid, list[Opinion]]:
    block = tuple(max(b, 1) for b in flat(truth.shape, block))
    grid = cut(truth.shape, block, flat(truth.shape, (halo,) * 3))
    return grid, label_blocks(grid, flat(truth.shape, (min(band, halo),) * 3), label)


def crops(truth: np.ndarray, split: bool) -> Callable[[Block], np.ndarray]:
    """A block that knows the truth; of an object that its box cuts it may see several."""

    def label(block: Block) -> np.ndarray:
        part = truth[block.read[1:]]
        return pieces(part) if split else part

    return label


def follow(truth: np.ndarray) -> Callable[[Block], np.ndarray]:
    """A block that follows the true flows as far as it sees them."""
    ndim = 2 if truth.shape[0] == 1 else 3
    packed = perfect_predictions(truth[None], ndim)[0]
    criteria = Criteria(judge=False, min_size=1)

    def label(block: Block) -> np.ndarray:
        part = packed[(slice(None), *block.read[1:])]
        faces = tuple(
            (b.start > 0, b.stop < n) for b, n in zip(block.read[1:], truth.shape, strict=True)
        )
        if ndim == 2:
            return find_objects("flows", part[:, 0], criteria, faces[1:])[0][None]
        return find_objects("flows", part, criteria, faces)[0]

    return label


blocks = st.tuples(*[st.integers(5, 40)] * 3)
seeds = st.integers(0, 10_000)


def check_truth_comes_back(
    kind: str, shape: Index, block: Index, band: int, split: bool, seed: int
) -> None:
    truth = world(kind, shape, seed)
    grid, found = opinions(truth, block, 2 * LENGTH, band, crops(truth, split))
    edges = all_edges(grid, found)
    assert same_partition(merge(grid, found, edges=edges), truth)
    order = np.random.default_rng(seed).permutation(len(edges["u"]))
    shuffled = {name: column[order] for name, column in edges.items()}
    np.testing.assert_array_equal(
        merge(grid, found, edges=shuffled), merge(grid, found, edges=edges)
    )


@pytest.mark.parametrize("shape", [PLANE, SOLID])
@given(st.sampled_from(KINDS), blocks, st.integers(1, 8), st.booleans(), seeds)
@ANYWHERE
def test_truth_comes_back_from_any_blocks(shape, kind, block, band, split, seed) -> None:
    check_truth_comes_back(kind, shape, block, band, split, seed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [PLANE, SOLID])
@given(blocks, st.integers(1, 8), st.booleans(), seeds)
@settings(deadline=None, max_examples=60)
def test_truth_comes_back_from_many_blocks(kind, shape, block, band, split, seed) -> None:
    check_truth_comes_back(kind, shape, block, band, split, seed)


def check_same_as_whole(kind: str, shape: Index, block: Index, seed: int) -> None:
    truth = world(kind, shape, seed)
    label = follow(truth)
    whole = label(cut(shape, shape, (0, 0, 0))[0])
    grid, found = opinions(truth, block, 2 * LENGTH, 8, label)
    assert same_partition(merge(grid, found), whole)


@given(st.sampled_from(KINDS), blocks, seeds)
@settings(deadline=None, max_examples=15)
def test_flows_in_blocks_give_what_they_give_in_the_whole(kind, block, seed) -> None:
    check_same_as_whole(kind, PLANE, block, seed)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [PLANE, SOLID])
@pytest.mark.parametrize("kind", KINDS)
@given(blocks, seeds)
@settings(deadline=None, max_examples=25)
def test_flows_in_many_blocks_give_what_they_give_in_the_whole(kind, shape, block, seed) -> None:
    check_same_as_whole(kind, shape, block, seed)


WIDE = {
    "balls": partial(a_ball, radius=(15, 25)),
    "rods": partial(a_rod, width=(3, 8), length=80),
    "branches": partial(a_branch, width=5, length=80),
    "sheets": partial(a_sheet, thick=6, width=80),
}


@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize(("size", "halo"), [(32, 12), (24, 6)])
def test_wider_objects_than_the_halo_hold_together(kind: str, size: int, halo: int) -> None:
    truth = scatter((1, 130, 130), 12, WIDE[kind], seed=1)
    label = follow(truth)
    whole = label(cut(truth.shape, truth.shape, (0, 0, 0))[0])
    grid, found = opinions(truth, (1, size, size), halo, 8, label)
    voi = variation_of_information(*contingency(merge(grid, found), whole))
    assert sum(voi) <= 0.02


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("at", [-1, 0, 1])
def test_thin_rods_along_and_across_faces_are_one(width: int, at: int) -> None:
    for axis in range(3):
        truth = np.zeros((32, 32, 32), np.uint32)
        place = [slice(16 + at, 16 + at + width)] * 3
        place[axis] = slice(4, 28)
        truth[tuple(place)] = 1
        grid, found = opinions(truth, (16, 16, 16), 26, 8, crops(truth, split=True))
        assert same_partition(merge(grid, found), truth)


@pytest.mark.parametrize("corner", [(8, 8, 16), (8, 16, 16), (16, 16, 16), (15, 17, 16)])
def test_a_voxel_and_a_ball_in_a_corner_are_one(corner: Index) -> None:
    grid = np.indices((32, 32, 32)).T - np.array(corner)
    for radius in (0.5, 3, 7):
        truth = ((grid**2).sum(axis=-1) <= radius**2).T.astype(np.uint32)
        cutting, found = opinions(truth, (16, 16, 16), 16, 8, crops(truth, split=True))
        assert same_partition(merge(cutting, found), truth)


def test_empty_blocks_have_nothing_to_merge() -> None:
    truth = np.zeros((1, 60, 60), np.uint32)
    truth[0, 50:58, 50:58] = 7
    grid, found = opinions(truth, (1, 20, 20), 16, 8, crops(truth, split=True))
    assert same_partition(merge(grid, found), truth)
    none = [Opinion(o.block, o.box, np.zeros_like(o.labels)) for o in found]
    assert not merge(grid, none).any()


def oracle(truth: np.ndarray, block: Index, halo: int, errors: Errors) -> Scores:
    grid, found = opinions(truth, block, halo, 8, lambda b: disturbed(truth, b, errors))
    return score(*contingency(merge(grid, found), truth))


ORACLES = {
    "3d-gaps": ((72, 72, 72), (36, 36, 36), 24, 11.0),
    "3d-touching": ((72, 72, 72), (36, 36, 36), 24, 16.0),
    "2d-gaps": ((1, 240, 240), (1, 60, 60), 24, 11.0),
    "2d-touching": ((1, 240, 240), (1, 60, 60), 24, 17.0),
}


@pytest.mark.parametrize("name", ORACLES)
def test_blocks_that_know_the_truth_of_their_crop_merge_without_a_mistake(name: str) -> None:
    shape, block, pitch, radius = ORACLES[name]
    truth = lattice(shape, pitch, radius)
    scores = oracle(truth, block, 24, Errors())
    assert scores.average_precision == (1, 1, 1)
    assert (scores.predicted, scores.voi_split, scores.voi_merge) == (scores.true, 0, 0)


@pytest.mark.parametrize("name", ORACLES)
def test_blocks_that_are_a_voxel_off_agree_nearly_everywhere(name: str) -> None:
    shape, block, pitch, radius = ORACLES[name]
    scores = oracle(lattice(shape, pitch, radius), block, 24, Errors(shift=1))
    assert scores.average_precision[0] >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("errors", [Errors(), Errors(shift=1)])
@pytest.mark.parametrize(
    ("shape", "block", "radius"),
    [
        ((192, 192, 192), (80, 80, 80), 11.0),
        ((192, 192, 192), (80, 80, 80), 16.0),
        ((1, 1024, 1024), (1, 256, 256), 11.0),
        ((1, 1024, 1024), (1, 256, 256), 17.0),
    ],
)
def test_the_published_comparison(
    shape: Index, block: Index, radius: float, errors: Errors
) -> None:
    scores = oracle(lattice(shape, 24, radius), block, 48, errors)
    if errors.shift:
        assert scores.average_precision[0] >= 0.99
    else:
        assert scores.average_precision == (1, 1, 1)
        assert scores.predicted == scores.true
