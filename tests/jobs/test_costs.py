"""What few samples tell of many blocks: arithmetic."""

import numpy as np
import pytest

from bigseg.jobs.costs import Cost, Spent, line, line_of
from bigseg.jobs.samples import cut_samples
from bigseg.plans.forecast import Load
from tests.worlds import make_image


def test_a_line_begins_at_what_an_empty_table_would_take() -> None:
    assert line(np.array([10.0, 20.0, 30.0]), np.array([150.0, 200.0, 250.0])) == (100.0, 5.0)
    assert line(np.array([7.0, 7.0]), np.array([90.0, 110.0])) == (100.0, 0.0)
    assert line(np.array([1.0, 2.0]), np.array([9.0, 5.0])) == (7.0, 0.0)  # never falls


def test_empty_tables_do_not_make_it_steep() -> None:
    assert line_of([(0, 4, 20), (10, 4, 150), (30, 4, 250)]) == (100.0, 5.0)
    assert line_of([(0, 4, 20), (0, 4, 20)]) == (20.0, 0.0)


def test_a_step_costs_its_blocks_its_work_and_its_end() -> None:
    cost = Cost(Spent(1.0, 2.0), Spent(0.5, 0.5), Spent(3.0, 3.0), Spent(0.25, 0.25))
    blocks, end = cost.of(Load("label", "label", 4, (1, 1, 8, 8), 10.0), 8)
    assert (blocks, end) == (Spent(9.0, 13.0), Spent(5.0, 5.0))


def test_samples_hold_as_much_as_the_image_and_are_not_looked_at_near_a_cut(tmp_path) -> None:
    data = np.zeros((256, 256), np.uint8)
    data[:64] = np.where(np.arange(256) % 2, 200, 0)  # half of a quarter of it is bright
    volume = make_image(f"{tmp_path}/image.zarr", data, "yx")
    found = cut_samples(volume, 0, (1, 64, 64), 4, (0, 8, 8))
    rows = [sample.shown[2].start for sample in found]
    assert len(found) == 4
    assert rows.count(0) == 1
    for sample in found:
        for axis in (2, 3):
            shown, kept = sample.shown[axis], sample.kept[axis]
            assert kept.start - shown.start == (8 if shown.start else 0)
            assert shown.stop - kept.stop == (8 if shown.stop < 256 else 0)
    assert found[0].reach(2, (0, 10), 3.0) == 13.0
    assert found[0].reach(2, (5, 10), 3.0) == pytest.approx(11.0)
