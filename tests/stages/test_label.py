"""Blocks find the objects of the whole, each with ids of its own."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.errors import SpecError
from bigseg.grid import Grid
from bigseg.io.tables import read_table
from bigseg.run.execute import ALONE, run_step
from bigseg.run.folder import Run
from bigseg.stages import label
from bigseg.stages.graph import nodes_url
from bigseg.stages.opinions import keep_box, read_opinion
from tests.worlds import Cut, ball, balls, in_plane, plan_world


def labelled(folder: Path, truth: np.ndarray, cut: Cut) -> tuple[Run, label.Spec]:
    run = plan_world(str(folder), truth, cut)
    step = run.step("label")
    run_step(run, step, ALONE, listen=lambda _: None, tries=1)
    return run, step.spec


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_keep_boxes_hold_the_own_voxels_and_stay_in_the_read_box(data: st.DataObject) -> None:
    axis = st.integers(1, 50)
    shape = data.draw(st.tuples(axis, axis, axis, axis))
    block = data.draw(st.tuples(st.just(1), axis, axis, axis))
    halo = (0, *data.draw(st.tuples(axis, axis, axis)))
    band = tuple(data.draw(st.integers(0, h)) for h in halo)
    spec = spec_of(shape, block, halo, band)
    grid = Grid(shape, block, halo)
    one = grid[data.draw(st.integers(0, len(grid) - 1))]
    kept = keep_box(spec, one)
    for w, k, r in zip(one.write, kept, one.read, strict=True):
        assert r.start <= k.start <= w.start < w.stop <= k.stop <= r.stop


def spec_of(shape: tuple, block: tuple, halo: tuple, band: tuple, **more: object) -> label.Spec:
    values = {
        "cellprob_threshold": 0.0,
        "judge": True,
        "min_size": 1,
        "steps": 200,
    }
    return label.Spec(
        run="run", shape=shape, block=block, halo=halo, band=band, ndim=3, **{**values, **more}
    )


def test_neighbours_agree_about_the_band_between_them(tmp_path: Path) -> None:
    truth = in_plane(balls((40, 80), 14, (4, 8), seed=3))
    _, spec = labelled(tmp_path, truth, Cut((1, 40, 40), (0, 20, 20), ndim=2))
    left, right = spec.grid
    band = (slice(0, 1), slice(0, 1), slice(0, 40), slice(32, 48))
    ours, theirs = (read_opinion(spec, one, band) for one in (left, right))
    np.testing.assert_array_equal(ours > 0, theirs > 0)
    assert ours.any()


def test_ids_are_dense_and_each_has_a_row(tmp_path: Path) -> None:
    truth = in_plane(balls((70, 90), 20, (4, 8), seed=1))
    run, spec = labelled(tmp_path, truth, Cut((1, 32, 32), (0, 20, 20), ndim=2))
    for one in spec.grid:
        opinion = read_opinion(spec, one)
        rows = read_table(nodes_url(run.url, one.id))
        np.testing.assert_array_equal(np.unique(opinion[opinion > 0]), rows["id"])
        own = read_opinion(spec, one, one.write)
        np.testing.assert_array_equal(
            np.bincount(own.ravel(), minlength=len(rows["id"]) + 1)[1:], rows["voxels"]
        )


def test_planes_are_cut_by_no_z_face(tmp_path: Path) -> None:
    plane = ball((40, 40), (20, 20), 8).astype(np.uint32)
    truth = np.stack([plane, plane, plane])[None]
    run, spec = labelled(tmp_path, truth, Cut((1, 40, 40), (0, 20, 20), ndim=2))
    rows = [read_table(nodes_url(run.url, one.id)) for one in spec.grid]
    assert [table["z0"].tolist() for table in rows] == [[0], [1], [2]]
    assert [table["z1"].tolist() for table in rows] == [[1], [2], [3]]
    assert not any(table["cut"].any() or table["touches_border"].any() for table in rows)


@pytest.mark.parametrize(("threshold", "word"), [(-5.0, "below -4.0"), (9.0, "above 7.9")])
def test_thresholds_that_predictions_do_not_keep_are_refused(threshold: float, word: str) -> None:
    axes = (1, 8, 8, 8)
    with pytest.raises(SpecError, match=word):
        label.check(spec_of(axes, axes, axes, axes, cellprob_threshold=threshold))


def test_maps_that_are_kept_as_they_are_serve_any_threshold() -> None:
    axes = (1, 8, 8, 8)
    label.check(spec_of(axes, axes, axes, axes, cellprob_threshold=-5.0, parity=True))
