"""Objects of planes become objects of a volume, however the planes are cut."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.instances import compact
from bigseg.core.objects import measure_objects
from bigseg.errors import SpecError
from bigseg.grid import Index
from bigseg.io.tables import read_table, write_table
from bigseg.plans.slices import Stacking, slice_steps
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps
from bigseg.stages import (
    graph,
    links,
    opinions,
    publish,
    slices,
    stack,
    write,
)
from tests.worlds import ball, balls, make_image, read_labels, same_partition


def by_plane(truth: np.ndarray) -> np.ndarray:
    """Number the objects of each plane of (t, z, y, x) through."""
    flat, first = np.zeros(truth.shape, np.uint32), 0
    for index in np.ndindex(truth.shape[:2]):
        ids, dense = np.unique(truth[index], return_inverse=True)
        dense = dense.reshape(truth[index].shape) + (ids[0] != 0)
        flat[index] = np.where(dense > 0, dense + first, 0)
        first = int(flat.max())
    return flat


def store_planes(run: str, flat: np.ndarray, block: Index) -> opinions.Opinions:
    """What a run in 2D leaves behind whose merging made no mistake."""
    spec = opinions.Opinions(
        run=run, shape=flat.shape, block=(1, 1, *block), halo=(0,) * 4, band=(0,) * 4, ndim=2
    )
    opinions.create_opinions(spec)
    facts, ids = [], []
    for part in spec.grid:
        labels, found = compact(flat[part.write][0])
        opinions.write_opinion(spec, part, labels)
        shape = (flat.shape[0], 1, *flat.shape[2:])
        box = (part.write[0], slice(0, 1), *part.write[2:])
        errors = {"flow_error": np.full(len(found), 0.1)}
        rows = measure_objects(labels, read=box, write=box, shape=shape, means=errors)
        z = part.write[1].start
        rows |= {"z0": rows["z0"] + z, "z1": rows["z1"] + z}
        rows["sum_z"] = rows["sum_z"] + z * rows["voxels"]
        write_table(graph.nodes_url(run, part.id), rows)
        facts.append({"objects": len(found), "edges": 0})
        ids.append(found)
    graph.write_offsets(run, facts)
    graph.write_nodes_array(graph.ids_url(run), np.concatenate(ids).astype(np.uint64))
    write_table(graph.total_url(run), {"objects": np.array([flat.max(initial=0)])})
    return spec


def plan_slices(folder: str, flat: np.ndarray, block: Index, how: Stacking) -> Run:
    """Steps from objects of planes to a label image."""
    url = f"{folder}/run.bigseg"
    volume = make_image(
        f"{folder}/image.zarr", np.zeros(flat.shape, np.uint8), "tzyx", (1.0, 2.0, 1.0, 1.0)
    )
    spec = store_planes(url, flat, block[1:])
    written = write.Spec(
        run=url, image=volume.image.url, level=0, target=f"{folder}/labels.zarr", opinions=spec
    )
    steps, _ = slice_steps(spec, volume, written, replace(how, depth=block[0]))
    run = Run(url, "test", {}, make_steps([(s.name, s.stage, s.spec) for s in steps]))
    run.save()
    return run


def stack_up(folder: str, flat: np.ndarray, block: Index = (64, 64, 64), **how: float) -> dict:
    """Labels of the volume that planes (t, z, y, x) make, and their table."""
    run_steps(plan_slices(folder, flat, block, Stacking(**how)), ALONE)
    target = f"{folder}/labels.zarr"
    return {"labels": read_labels(target), "table": read_table(publish.table_url(target))}


def stacked(flat: np.ndarray, block: Index = (64, 64, 64), **how: float) -> np.ndarray:
    """Labels of the volume that planes (t, z, y, x) make."""
    with TemporaryDirectory() as folder:
        return np.asarray(stack_up(folder, flat, block, **how)["labels"])


def rods(planes: int = 9) -> np.ndarray:
    """Two stacks of squares side by side, touching: (1, z, y, x)."""
    world = np.zeros((1, planes, 12, 24), np.uint32)
    world[..., 2:10, 2:12] = 1
    world[..., 2:10, 12:22] = 2
    return world


@settings(deadline=None, max_examples=3)
@given(
    block=st.tuples(st.integers(3, 6), st.integers(9, 20), st.integers(9, 20)),
    gap=st.integers(0, 2),
    seed=st.integers(0, 1000),
)
def test_objects_are_the_same_whatever_the_blocks(block: Index, gap: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = balls((9, 20, 21), 12, (3, 6), seed)[None]
    flat = by_plane(truth)
    flat[np.isin(flat, rng.choice(flat.max() + 1, flat.max() // 5))] = 0  # some are missed
    flat = by_plane(flat)
    np.testing.assert_array_equal(stacked(flat, gap=gap), stacked(flat, block, gap=gap))


@pytest.mark.parametrize("block", [(64, 64, 64), (5, 15, 32)])
def test_balls_come_back(block: Index) -> None:
    truth = np.zeros((1, 12, 30, 30), np.uint32)
    truth[0][ball((12, 30, 30), (5, 9, 9), 5.4)] = 1
    truth[0][ball((12, 30, 30), (6, 20, 20), 5.4)] = 2
    assert same_partition(stacked(by_plane(truth), block), truth)


def test_a_plane_that_fuses_two_stacks_does_not_fuse_them() -> None:
    world = rods()
    world[0, 4][world[0, 4] == 2] = 1
    found = stacked(by_plane(world))[0]
    assert len(np.unique(found)) == 3
    assert (found[:4] == found[0]).all()
    assert (found[5:] == found[0]).all()


def test_an_object_that_one_plane_splits_is_one() -> None:
    world = np.zeros((1, 9, 12, 12), np.uint32)
    world[..., 2:10, 2:10] = 1
    cut = world.copy()
    cut[0, 4, 6:10][cut[0, 4, 6:10] == 1] = 2
    assert same_partition(stacked(by_plane(cut)), world)


def test_planes_without_background_lose_nothing() -> None:
    world = np.ones((1, 5, 12, 12), np.uint32)
    world[..., 6:] = 2
    assert same_partition(stacked(by_plane(world), (3, 7, 12)), world)


def test_a_missing_plane_is_filled() -> None:
    world = np.zeros((1, 9, 24, 24), np.uint32)
    for z, radius in enumerate((9, 9, 9, 8, 7, 6, 5, 4, 3)):
        world[0, z][ball((24, 24), (11, 12), radius)] = 1
    missing = world.copy()
    missing[0, 4] = 0
    assert same_partition(stacked(by_plane(missing), (4, 13, 24)), world)


def test_gaps_longer_than_asked_for_part_objects(tmp_path: Path) -> None:
    world = rods()
    world[0, 4:6] = 0
    flat = by_plane(world)
    assert stacked(flat, gap=1).max() == 4
    closed = stack_up(str(tmp_path), flat, (4, 7, 30), gap=2)
    assert same_partition(closed["labels"], rods())
    np.testing.assert_array_equal(closed["table"]["voxels"], [720, 720])
    np.testing.assert_array_equal(closed["table"]["filled"], [160, 160])
    np.testing.assert_array_equal(closed["table"]["z"], [4, 4])
    np.testing.assert_array_equal(closed["table"]["centroid_z"], [8, 8])
    np.testing.assert_array_equal(closed["table"]["planes"], [7, 7])


def test_objects_of_few_planes_are_dropped(tmp_path: Path) -> None:
    world = rods()
    world[0, 3:][world[0, 3:] == 1] = 0
    found = stack_up(str(tmp_path), by_plane(world), min_z_extent=4)
    np.testing.assert_array_equal(found["labels"], np.where(world == 2, 1, 0))
    np.testing.assert_array_equal(found["table"]["id"], [1])


def test_objects_are_numbered_by_their_first_plane() -> None:
    world = np.zeros((1, 6, 12, 12), np.uint32)
    world[0, 2:, 1:5, 1:5] = 1
    world[0, 1:, 7:11, 7:11] = 2
    found = stacked(by_plane(world), (2, 6, 6))
    np.testing.assert_array_equal(found, np.array([0, 2, 1])[world])


def test_frames_never_merge() -> None:
    world = np.concatenate([rods(3), rods(3)])
    world[1] += np.where(world[1] > 0, 2, 0).astype(np.uint32)
    assert same_partition(stacked(by_plane(world), (2, 12, 12)), world)


def test_beta_decides_what_is_doubtful() -> None:
    world = np.zeros((1, 4, 12, 24), np.uint32)
    world[0, :2, 2:10, 2:14] = 1
    world[0, 2:, 2:10, 7:19] = 1
    counts = [stacked(by_plane(world), beta=beta, gap=0).max() for beta in (0.02, 0.98)]
    assert counts == [1, 2]


def test_nothing_in_planes_makes_nothing(tmp_path: Path) -> None:
    found = stack_up(str(tmp_path), np.zeros((1, 3, 8, 8), np.uint32))
    assert not found["labels"].any()
    assert len(found["table"]["id"]) == 0


def test_blocks_flatter_than_a_link_and_objects_of_volumes_are_refused(tmp_path: Path) -> None:
    spec = store_planes(str(tmp_path), by_plane(rods()), (12, 24))
    with pytest.raises(SpecError, match="2 planes are too flat to close gaps of 2; use at least 3"):
        stack.check(stack.Spec(flat=spec, depth=2, gap=2))
    solid = spec.model_copy(update={"ndim": 3})
    with pytest.raises(SpecError, match="segment in 2D first"):
        stack.check(stack.Spec(flat=solid, depth=4))
    with pytest.raises(SpecError, match=r"beta is 1\.5"):
        links.check(links.Spec(flat=spec, depth=4, beta=1.5))


def test_ids_of_a_box_come_from_all_blocks_that_it_meets(tmp_path: Path) -> None:
    flat = by_plane(rods())
    spec = store_planes(str(tmp_path), flat, (5, 7))
    box = (slice(0, 1), slice(2, 5), slice(3, 12), slice(6, 20))
    np.testing.assert_array_equal(slices.read_planes(spec, box), flat[box][0])
