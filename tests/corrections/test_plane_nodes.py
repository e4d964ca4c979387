"""Volumes that were put together from planes are corrected, and their gaps follow."""

from pathlib import Path

import numpy as np
import pytest

from bigseg.corrections import journal
from bigseg.corrections.correct import correct
from bigseg.errors import SpecError
from bigseg.io.scratch import scratch
from bigseg.io.tables import read_table
from bigseg.plans.slices import Stacking
from bigseg.run.execute import ALONE, run_steps
from bigseg.stages import graph, objects, publish, volumes, write_slices
from tests.stages.test_slices import by_plane, plan_slices
from tests.worlds import balls, read_labels

A, B, C = (2, 6, 6), (2, 6, 17), (2, 6, 30)
"""A voxel (z, y, x) of each of three rods."""


def world() -> np.ndarray:
    """Three rods along z, two of which touch; of A and B the same plane is missing."""
    truth = np.zeros((1, 10, 12, 40), np.uint32)
    truth[0, :, 2:10, 2:12] = 1
    truth[0, :, 2:10, 12:22] = 2
    truth[0, :, 2:10, 26:34] = 3
    truth[0, 5][truth[0, 5] < 3] = 0
    truth[0, 5, :, 12:14] = 0
    return truth


@pytest.fixture
def place(tmp_path: Path) -> Path:
    run_steps(plan_slices(str(tmp_path), by_plane(world()), (4, 7, 15), Stacking()), ALONE)
    return tmp_path


def run_of(place: Path) -> str:
    return f"{place}/run.bigseg"


def labels(place: Path) -> np.ndarray:
    return read_labels(f"{place}/labels.zarr")[0]


def points(*places: tuple[int, ...]) -> list[list[int]]:
    return [[0, *place] for place in places]


def check(place: Path) -> None:
    """The table says what the labels show."""
    image, table = labels(place), read_table(publish.table_url(f"{place}/labels.zarr"))
    ids, voxels = np.unique(image[image > 0], return_counts=True)
    assert table["id"].tolist() == ids.tolist()
    assert table["voxels"].tolist() == voxels.tolist()
    for row, id in enumerate(ids):
        z, _, x = np.nonzero(image == id)
        assert (table["z0"][row], table["z1"][row]) == (z.min(), z.max() + 1)
        assert table["z"][row] == pytest.approx(z.mean())
        assert table["x"][row] == pytest.approx(x.mean())
        assert table["filled"][row] == (z == 5).sum() * (image[C] != id)
    own = read_table(f"{run_of(place)}/slices/tables/objects.parquet")
    assert all(np.array_equal(own[n], table[n], equal_nan=own[n].dtype.kind == "f") for n in own)


def test_the_world_is_as_it_should_be(place: Path) -> None:
    image = labels(place)
    assert len({image[A], image[B], image[C], 0}) == 4
    assert image[5, 6, 6] == image[A], "the gap was filled"
    check(place)


def test_merged_objects_fill_their_gap_as_one(place: Path) -> None:
    before = labels(place)
    result = correct(run_of(place), {"merge": [{"ids": [int(before[A]), int(before[B])]}]})
    after = labels(place)
    assert after[A] == after[B] == after[5, 6, 6] == after[5, 6, 17]
    assert np.array_equal(after == after[C], before == before[C])
    assert result.blocks < result.of_blocks
    check(place)


def test_an_object_is_split_between_planes_and_its_gap_opens(place: Path) -> None:
    before = labels(place)
    correct(run_of(place), {"split": [{"points": points((2, 6, 6), (8, 6, 6))}]})
    after = labels(place)
    assert after[2, 6, 6] != after[8, 6, 6]
    assert np.array_equal(after[:, :, 12:], before[:, :, 12:])
    cut = int((after[:, 6, 6] == after[2, 6, 6]).sum())
    if cut == 5:  # at the gap, where the evidence is weakest
        assert not after[5, 6, 3:11].any()
    check(place)
    correct(run_of(place), {"merge": [{"points": points((2, 6, 6), (8, 6, 6))}]})
    assert np.array_equal(labels(place), before)
    check(place)


def test_gaps_that_are_no_more_are_dropped(place: Path) -> None:
    correct(run_of(place), {"split": [{"points": points((2, 6, 6), (8, 6, 6))}]})
    found = volumes.read_gaps(f"{run_of(place)}/slices", "0-1-0-0")
    assert found is not None
    assert int(labels(place)[A]) not in found["id"].tolist()


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_written_again_is_what_all_blocks_would_write(tmp_path: Path, seed: int) -> None:
    """Random objects with planes missing, whose gaps compete for voxels; random corrections."""
    rng = np.random.default_rng(seed)
    flat = by_plane(balls((10, 24, 25), 12, (4, 7), seed)[None])
    flat[np.isin(flat, rng.choice(flat.max() + 1, flat.max() // 3))] = 0
    run = plan_slices(str(tmp_path), by_plane(flat), (5, 12, 13), Stacking(gap=2, min_z_extent=1))
    run_steps(run, ALONE)
    for _ in range(2):
        image = labels(tmp_path)
        ids = rng.choice(np.unique(image[image > 0]), 2, replace=False).tolist()
        correct(run.url, {"merge": [{"ids": ids}]})
        ends = [np.argwhere((labels(tmp_path) == min(ids)) & (flat[0] > 0))[n] for n in (0, -1)]
        if ends[0][0] < ends[1][0]:
            correct(run.url, {"split": [{"points": [[0, *end.tolist()] for end in ends]}]})
    image, table = labels(tmp_path), read_table(publish.table_url(f"{tmp_path}/labels.zarr"))
    found, written = run.step("volumes").spec, run.step("write").spec
    assert isinstance(found, volumes.Spec)
    assert isinstance(written, write_slices.Spec)
    volumes._store_gaps(found, np.asarray(scratch(graph.ids_url(found.run))))
    facts = [write_slices.block(written, b, write_slices.read(written, b)) for b in written.grid]
    write_slices.finish(written, facts)
    assert np.array_equal(labels(tmp_path), image)
    whole = read_table(objects.table_url(found.run))
    for name, column in table.items():
        np.testing.assert_allclose(whole[name], column, err_msg=name)


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", ["divide", "renumber", "rewrite", "tabulate", "finish"])
def test_after_an_interruption_the_rest_is_done(
    place: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    wanted = {"merge": [{"points": points(A, C)}]}
    original = getattr(journal, step)

    def killed(*arguments: object) -> None:
        original(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(journal, step, killed)
        with pytest.raises(Killed):
            correct(run_of(place), wanted)
    correct(run_of(place), wanted)
    assert labels(place)[A] == labels(place)[C] != labels(place)[B]
    check(place)


def test_what_cannot_be_is_refused(place: Path) -> None:
    with pytest.raises(SpecError, match="lie in one object of a plane, and those of --dims slices"):
        correct(run_of(place), {"split": [{"points": points((2, 4, 6), (2, 8, 6))}]})
    with pytest.raises(SpecError, match=r"\(0, 5, 6, 6\) lies where a gap of object \d was filled"):
        correct(run_of(place), {"merge": [{"points": points((5, 6, 6), B)}]})
    with pytest.raises(SpecError, match=r"\(0, 0, 0, 0\) lies in no object"):
        correct(run_of(place), {"merge": [{"points": points((0, 0, 0), B)}]})
