"""What blocks found becomes what the whole holds, however it is cut."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.metrics import variation_of_information
from bigseg.core.overlap import contingency
from bigseg.run.execute import ALONE, finish_step, run_step, run_steps, threads
from bigseg.run.folder import Run
from bigseg.run.worker import run_block
from tests.worlds import (
    Cut,
    agreement,
    ball,
    balls,
    in_plane,
    plan_world,
    read_labels,
    same_partition,
    segment_world,
    world_table,
)

FLAT = Cut((1, 200, 200), (0, 40, 40), ndim=2)
SOLID = Cut((99, 99, 99), (24, 24, 24))


def in_folder(truth: np.ndarray, cut: Cut) -> np.ndarray:
    with TemporaryDirectory() as folder:
        return segment_world(folder, truth, cut)


@settings(deadline=None, max_examples=8)
@given(
    block=st.tuples(st.just(1), st.integers(24, 90), st.integers(24, 90)),
    seed=st.integers(0, 1000),
)
def test_discs_are_the_same_whatever_the_blocks(block: tuple, seed: int) -> None:
    truth = in_plane(balls((90, 110), 22, (4, 9), seed))
    whole = in_folder(truth, FLAT)
    cut = in_folder(truth, Cut(block, (0, 24, 24), ndim=2))
    assert same_partition(whole, cut)
    assert agreement(truth, cut, 0.5) > 0.9


@settings(deadline=None, max_examples=4)
@given(
    block=st.tuples(st.integers(17, 50), st.integers(17, 50), st.integers(17, 50)),
    seed=st.integers(0, 1000),
)
def test_balls_are_the_same_whatever_the_blocks(block: tuple, seed: int) -> None:
    truth = balls((40, 44, 48), 14, (4, 8), seed)[None]
    whole = in_folder(truth, SOLID)
    cut = in_folder(truth, Cut(block, (20, 20, 20)))
    assert same_partition(whole, cut)
    assert agreement(truth, cut, 0.5) > 0.9


@pytest.mark.parametrize(
    "centre", [(32, 32), (32, 16), (16, 32), (31.5, 32.5), (33, 40), (5, 32), (0, 32)]
)
def test_a_disc_on_a_face_or_a_corner_is_one(tmp_path: Path, centre: tuple) -> None:
    truth = in_plane(ball((64, 64), centre, 9).astype(np.uint32))
    found = segment_world(str(tmp_path), truth, Cut((1, 32, 32), (0, 20, 20), ndim=2))
    assert same_partition(truth, found)


@pytest.mark.parametrize("centre", [(16, 16, 16), (8, 16, 16), (8, 8, 16), (15.5, 16.5, 12)])
def test_a_ball_on_a_face_an_edge_or_a_corner_is_one(tmp_path: Path, centre: tuple) -> None:
    truth = ball((32, 32, 32), centre, 6).astype(np.uint32)[None]
    found = segment_world(str(tmp_path), truth, Cut((16, 16, 16), (14, 14, 14)))
    assert same_partition(truth, found)


def test_touching_discs_on_either_side_of_a_face_stay_two(tmp_path: Path) -> None:
    plane = np.zeros((40, 64), np.uint32)
    plane[ball(plane.shape, (20, 23), 8.9)] = 1
    plane[ball(plane.shape, (20, 40), 8.9) & (plane == 0)] = 2
    found = segment_world(str(tmp_path), in_plane(plane), Cut((1, 32, 32), (0, 20, 20), ndim=2))
    assert same_partition(in_plane(plane), found)


def test_objects_much_larger_than_block_and_halo_hold_together(tmp_path: Path) -> None:
    truth = in_plane(ball((160, 160), (80, 80), 62).astype(np.uint32))
    found = segment_world(str(tmp_path), truth, Cut((1, 32, 32), (0, 24, 24), ndim=2))
    split, merge = variation_of_information(*contingency(found, truth))
    assert merge == pytest.approx(0, abs=0.01)
    assert split < 2.5, "at most about as many pieces as the blocks force"


def test_frames_never_merge(tmp_path: Path) -> None:
    plane = balls((60, 60), 9, (4, 8), seed=5)
    truth = np.stack([plane, plane])[:, None]
    found = segment_world(str(tmp_path), truth, Cut((1, 32, 32), (0, 20, 20), ndim=2), "tyx")
    assert not set(np.unique(found[0])[1:]) & set(np.unique(found[1]))
    for frame in range(2):
        assert same_partition(found[frame], segmented(tmp_path / str(frame), plane))


def segmented(folder: Path, plane: np.ndarray) -> np.ndarray:
    return segment_world(str(folder), in_plane(plane), FLAT)[0]


def test_planes_of_a_stack_never_merge_in_2d(tmp_path: Path) -> None:
    plane = balls((60, 60), 9, (4, 8), seed=6)
    truth = np.stack([plane, plane, plane])[None]
    found = segment_world(str(tmp_path), truth, Cut((1, 32, 32), (0, 20, 20), ndim=2), "zyx")
    planes = [set(np.unique(found[0, z])) - {0} for z in range(3)]
    assert len(set.union(*planes)) == sum(map(len, planes))
    table = world_table(str(tmp_path))
    assert not table["cut"].any()
    np.testing.assert_array_equal(table["z"], table["z0"])


def test_blocks_without_objects_do_no_harm(tmp_path: Path) -> None:
    truth = np.zeros((1, 1, 96, 96), np.uint32)
    truth[0, 0][ball((96, 96), (80, 80), 8)] = 1
    found = segment_world(str(tmp_path / "a"), truth, Cut((1, 32, 32), (0, 20, 20), ndim=2))
    assert same_partition(truth, found)
    none = segment_world(str(tmp_path / "b"), 0 * truth, Cut((1, 32, 32), (0, 20, 20), ndim=2))
    assert not none.any()
    assert len(world_table(str(tmp_path / "b"))["id"]) == 0


@pytest.mark.parametrize("centre", [(32, 32), (32, 16), (29, 34)])
def test_sizes_are_judged_by_the_whole_object(tmp_path: Path, centre: tuple) -> None:
    small, large = ball((64, 64), centre, 4), ball((64, 64), (11, 50), 8)
    truth = in_plane((small + 2 * large).astype(np.uint32))
    area = int(small.sum())
    for least, most, left in ((area, None, 2), (area + 1, None, 1), (1, area, 1), (1, area - 1, 0)):
        cut = Cut((1, 32, 32), (0, 20, 20), 2, min_size=least, max_size=most)
        found = segment_world(str(tmp_path / f"{least}-{most}"), truth, cut)
        assert len(np.unique(found)) - 1 == left


def test_neither_order_nor_threads_nor_a_restart_change_a_voxel(tmp_path: Path) -> None:
    truth = in_plane(balls((90, 90), 20, (4, 9), seed=8))
    cut = Cut((1, 32, 32), (0, 20, 20), ndim=2)
    expected = segment_world(str(tmp_path / "a"), truth, cut)
    parallel = segment_world(str(tmp_path / "b"), truth, cut, execute=threads(2))
    np.testing.assert_array_equal(expected, parallel)
    run = plan_world(str(tmp_path / "c"), truth, cut)
    backwards(run)
    run_steps(run, ALONE)
    np.testing.assert_array_equal(expected, read_labels(f"{tmp_path}/c/labels.zarr"))


def backwards(run: Run) -> None:
    """Do most of a run's blocks, last first and one at a time, and stop in the middle."""
    for name in ("label", "merge", "components", "solve", "objects"):
        step = run.step(name)
        for number in reversed(range(len(step.spec.grid))):
            run_block(run.url, name, str(number))
        run_step(run, step, ALONE, listen=lambda _: None, tries=1)
        finish_step(run, step)
    for number in (8, 3):
        run_block(run.url, "write", str(number))
