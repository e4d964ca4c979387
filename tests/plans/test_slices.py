"""From planes that a network knows to objects of a volume."""

from pathlib import Path

import numpy as np
import pytest

from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.plans.slices import Stacking, slice_steps
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps, open_run
from bigseg.stages import publish
from tests.worlds import Cut, agreement, ball, plan_world, read_labels


def stacked(folder: Path, truth: np.ndarray, cut: Cut, how: Stacking) -> Run:
    """Segment a world plane by plane and put the planes together."""
    flat = plan_world(str(folder), truth, cut, "zyx")
    names = [step.name for step in flat.steps]
    planes, written = flat.steps[: names.index("write")], flat.step("write").spec
    volume = Volume.open(written.image)
    steps, _ = slice_steps(flat.step("label").spec, volume, written, how)
    planned = [(s.name, s.stage, s.spec) for s in (*planes, *steps)]
    Run(flat.url, "test", {}, make_steps(planned)).save()
    run = open_run(flat.url)
    run_steps(run, ALONE)
    return run


def test_what_is_segmented_plane_by_plane_is_put_together(tmp_path: Path) -> None:
    truth = np.zeros((1, 10, 48, 40), np.uint32)
    truth[0][ball((10, 48, 40), (4, 24, 12), (4.5, 9, 9))] = 1
    truth[0][ball((10, 48, 40), (5, 23, 29), (4, 8, 8))] = 2
    missing = truth.copy()
    missing[0, 4] = 0
    run = stacked(tmp_path, missing, Cut((1, 24, 64), (0, 20, 20), ndim=2), Stacking(depth=4))
    found = read_labels(f"{tmp_path}/labels.zarr")
    assert agreement(found, truth, 0.85) == 1
    table = read_table(publish.table_url(f"{tmp_path}/labels.zarr"))
    np.testing.assert_array_equal(table["voxels"], np.bincount(found.ravel())[1:])
    assert (table["filled"] > 0).all()
    assert (table["flow_error"] < 0.1).all()
    assert len({step.name for step in run.steps}) == len(run.steps)


def test_blocks_are_deep_where_planes_are_small_and_always_as_deep_as_a_link(
    tmp_path: Path,
) -> None:
    truth = np.zeros((1, 10, 16, 16), np.uint32)
    flat = plan_world(str(tmp_path), truth, Cut((1, 16, 16), (0, 4, 4), ndim=2), "zyx")
    labelled, written = (flat.step(name).spec for name in ("label", "write"))
    volume = Volume.open(written.image)
    steps, solid = slice_steps(labelled, volume, written, Stacking())
    assert solid.opinions.block == (1, 10, 16, 16)
    wide = labelled.model_copy(update={"shape": (1, 9000, 4096, 4096), "block": (1, 1, 4096, 4096)})
    _, solid = slice_steps(wide, volume, written, Stacking(gap=3))
    assert solid.opinions.block == (1, 4, 4096, 4096)
    assert [step.name for step in steps[:5]] == [
        "stack",
        "links",
        "volume-components",
        "volume-solve",
        "volumes",
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_thousand_planes_become_columns_of_balls_in_blocks_that_stay_small(
    tmp_path: Path,
) -> None:
    period, planes = 10, 2000
    one = np.zeros((period, 40, 40), np.uint32)
    one[ball(one.shape, (4.5, 12, 12), (3.4, 8, 8))] = 1
    one[ball(one.shape, (4.5, 28, 27), (3.4, 8, 8))] = 2
    steps = 2 * np.arange(planes // period, dtype=np.uint32)[:, None, None, None]
    truth = np.where(one > 0, one + steps, 0).reshape(1, planes, 40, 40).astype(np.uint32)
    run = stacked(tmp_path, truth, Cut((1, 24, 24), (0, 16, 16), ndim=2), Stacking(gap=1))
    found = read_labels(f"{tmp_path}/labels.zarr")
    assert agreement(found, truth, 0.75) == 1
    assert found.max() == 2 * planes // period
    deepest = max(step.spec.grid.block[1] for step in run.steps)
    assert deepest <= 64
