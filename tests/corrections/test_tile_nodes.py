"""Merged tiles are corrected as images are: right, wholly, and nothing else changes."""

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bigseg.core.pyramid import downsample_labels
from bigseg.corrections import journal
from bigseg.corrections.correct import correct
from bigseg.errors import SpecError
from bigseg.io.tables import read_table
from bigseg.jobs.tiles import merge
from bigseg.stages import publish, seams, tile_publish
from tests.worlds import ball, read_labels

SHAPE, TILE, OVERLAP = (70, 600), (70, 320), 40
BAR, ONE, TWO, LEFT, RIGHT = (10, 250), (40, 290), (40, 308), (50, 60), (50, 560)
"""A voxel (y, x) of a bar over both tiles, of both lobes of a dumbbell in their overlap, and of
discs of one tile each."""


def world() -> np.ndarray:
    truth = np.zeros(SHAPE, np.uint16)
    truth[6:14, 230:380] = 1
    truth[ball(SHAPE, ONE, 8.0) | ball(SHAPE, TWO, 8.0)] = 2
    truth[39:42, 290:308] = 2
    truth[ball(SHAPE, LEFT, 9.0)] = 3
    truth[ball(SHAPE, RIGHT, 9.0)] = 4
    truth[ball(SHAPE, (50, 100), 9.0)] = 5
    return truth


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, truth = tmp_path_factory.mktemp("made"), world()
    (folder / "tiles").mkdir()
    for x in (0, 280):
        part = truth[:, x : x + TILE[1]]
        np.save(folder / f"tiles/t_y0_x{x}.npy", np.where(part, 100 * (x + 1) + part, 0))
    merge(
        f"{folder}/tiles/t_y{{y}}_x{{x}}.npy",
        f"{folder}/out.zarr",
        block=(64, 64),
        cluster="serial",
    )
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path):
    """A finished run of its own, in the place where it was made."""
    kept = tmp_path / "kept"
    shutil.copytree(made, kept)
    yield made
    shutil.rmtree(made)
    shutil.copytree(kept, made)


def run_of(place: Path) -> str:
    return f"{place}/out.zarr.bigseg"


def labels(place: Path, level: int = 0) -> np.ndarray:
    return read_labels(f"{place}/out.zarr", level)[0, 0]


def check(place: Path) -> None:
    """Tables and coarser levels say what the labels show."""
    image, table = labels(place), read_table(publish.table_url(f"{place}/out.zarr"))
    ids, voxels = np.unique(image[image > 0], return_counts=True)
    assert table["id"].tolist() == ids.tolist()
    assert table["voxels"].tolist() == voxels.tolist()
    for row, id in enumerate(ids):
        y, x = np.nonzero(image == id)
        assert (table["y0"][row], table["x1"][row]) == (y.min(), x.max() + 1)
    for fine, coarse in pairwise(labels(place, level)[None] for level in (0, 1)):
        factors = tuple(round(a / b) for a, b in zip(fine.shape, coarse.shape, strict=True))
        assert np.array_equal(coarse, downsample_labels(fine, factors))
    check_origins(place, image)


def check_origins(place: Path, image: np.ndarray) -> None:
    """For each id of a tile, all ids that its voxels have now, where the tile owns them."""
    origins = read_table(tile_publish.origins_url(f"{place}/out.zarr"))
    said = {(Path(f).name, int(t), int(i)) for f, t, i in rows(origins)}
    middle = 280 + OVERLAP // 2
    for x, own in ((0, slice(0, middle)), (280, slice(middle, None))):
        tile = np.zeros(SHAPE, np.int64)
        tile[:, x : x + TILE[1]] = np.load(place / f"tiles/t_y0_x{x}.npy")
        pairs = np.stack([tile[:, own], image[:, own].astype(np.int64)], -1).reshape(-1, 2)
        seen = {tuple(pair) for pair in np.unique(pairs[pairs[:, 0] > 0], axis=0).tolist()}
        ours = {(t, i) for f, t, i in said if f == f"t_y0_x{x}.npy"}
        assert seen <= ours
        assert {i for _, i in ours} <= set(np.unique(image).tolist())


def rows(origins: dict) -> zip:
    return zip(origins["file"], origins["tile_id"], origins["id"], strict=True)


def test_what_was_merged_is_right_to_begin_with(made: Path) -> None:
    check(made)
    assert labels(made).max() == 5


def test_objects_of_different_tiles_are_merged_by_id(place: Path) -> None:
    before = labels(place)
    a, b = before[LEFT], before[RIGHT]
    result = correct(run_of(place), {"merge": [{"ids": [int(a), int(b)]}]})
    expected = np.where(before == max(a, b), min(a, b), before)
    assert np.array_equal(labels(place), expected)
    assert 0 < result.blocks < result.of_blocks == 20
    check(place)


def test_an_object_over_tiles_is_cut_between_them(place: Path) -> None:
    before, faces = labels(place), read_table(seams.seams_url(run_of(place)))
    correct(run_of(place), {"split": [{"points": [BAR, [10, 370]]}]})
    after = labels(place)
    assert after[BAR] != after[10, 370]
    assert np.array_equal(after > 0, before > 0)
    others = before != before[BAR]
    assert np.array_equal(after[others], before[others])
    check(place)
    counted = read_table(seams.seams_url(run_of(place)))
    assert counted["edges"].tolist() == faces["edges"].tolist() == [2]
    assert (counted["matched"][0], faces["matched"][0]) == (1, 2)
    assert counted["outvoted"][0] == 1, "the evidence was for one object"


def test_an_object_that_both_tiles_saw_as_one_is_divided_at_its_neck(place: Path) -> None:
    before = labels(place)
    result = correct(run_of(place), {"split": [{"points": [ONE, TWO]}]})
    after = labels(place)
    assert after[ONE] != after[TWO]
    assert len(result.split[0][1]) == 2
    assert np.array_equal(after > 0, before > 0)
    check(place)
    correct(run_of(place), {"merge": [{"points": [ONE, RIGHT]}]})
    check(place)
    correct(run_of(place), {"merge": [{"points": [ONE, TWO]}]})
    assert labels(place)[ONE] == labels(place)[TWO] == labels(place)[RIGHT]
    check(place)


class Killed(Exception):
    pass


@pytest.mark.parametrize("step", ["divide", "renumber", "rewrite", "tabulate", "recount", "finish"])
def test_after_an_interruption_the_rest_is_done(
    place: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    wanted = {"split": [{"points": [ONE, TWO]}], "merge": [{"points": [TWO, LEFT]}]}
    original = getattr(journal, step)

    def killed(*arguments: object) -> None:
        original(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(journal, step, killed)
        with pytest.raises(Killed):
            correct(run_of(place), wanted)
    correct(run_of(place), wanted)
    after = labels(place)
    assert after[TWO] == after[LEFT] != after[ONE]
    check(place)


def test_points_in_the_background_are_refused(made: Path) -> None:
    with pytest.raises(SpecError, match=r"point \(0, 0\) lies in no object of .*out.zarr; choose"):
        correct(run_of(made), {"merge": [{"points": [[0, 0], LEFT]}]})
