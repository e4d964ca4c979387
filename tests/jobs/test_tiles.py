"""Tiles that know the truth, each with ids of its own, become the truth again."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from bigseg import files
from bigseg.cli.app import app
from bigseg.errors import BigsegError, ImageError, NotFound, OutputExists, SpecError
from bigseg.events import BlockDone, StageEnded
from bigseg.io.info import info
from bigseg.io.tables import read_table
from bigseg.jobs import tiles as merging
from bigseg.run.folder import open_run
from bigseg.run.worker import run_block
from bigseg.stages import tiles as tiles_stage
from tests.shapes import lattice
from tests.tiled import (
    best_possible,
    cut,
    displaced,
    errors,
    own_ids,
    owners,
    rods,
    save,
    voronoi,
)
from tests.worlds import agreement, balls, make_image, read_labels, same_partition


def merged(folder: Path, tiles: str | list[str], **settings: object) -> np.ndarray:
    settings = {"cluster": "serial", **settings}
    result = merging.merge(tiles, str(folder / "out.zarr"), **settings)
    return read_labels(result.labels)


FLAT = {
    "cells that fill all": voronoi((120, 150), 50),
    "cells apart": voronoi((120, 150), 50, 2.0),
    "discs": balls((120, 150), 40, (5, 10), 1),
}
SOLID = {
    "cells that fill all": voronoi((40, 48, 56), 30),
    "balls": balls((40, 48, 56), 20, (4, 8), 1),
}


@pytest.mark.parametrize("world", FLAT)
@pytest.mark.parametrize("overlap", [1, 35])
def test_overlapping_planes_become_the_truth(tmp_path: Path, world: str, overlap: int) -> None:
    truth = FLAT[world]
    found = merged(tmp_path, save(tmp_path / "tiles", cut(truth, (64, 64), overlap)))
    assert same_partition(truth, found.reshape(truth.shape))


@pytest.mark.parametrize("world", SOLID)
def test_overlapping_volumes_become_the_truth(tmp_path: Path, world: str) -> None:
    truth = SOLID[world]
    found = merged(tmp_path, save(tmp_path / "tiles", cut(truth, (24, 32, 40), 7)))
    assert same_partition(truth, found.reshape(truth.shape))


@pytest.mark.parametrize("world", ["cells apart", "discs"])
def test_abutting_planes_become_the_truth(tmp_path: Path, world: str) -> None:
    truth = FLAT[world]
    found = merged(tmp_path, save(tmp_path / "tiles", cut(truth, (40, 50), 0)))
    assert same_partition(truth, found.reshape(truth.shape))


def test_abutting_volumes_become_the_truth(tmp_path: Path) -> None:
    truth = SOLID["balls"]
    found = merged(tmp_path, save(tmp_path / "tiles", cut(truth, (20, 24, 28), 0)))
    assert same_partition(truth, found.reshape(truth.shape))


@pytest.mark.parametrize("overlap", [0, 16])
def test_tiles_that_err_by_a_voxel_still_merge(tmp_path: Path, overlap: int) -> None:
    truth = voronoi((200, 200), 60, 2.0)
    padded, rng, moved = np.pad(truth, 1), np.random.default_rng(0), {}
    for number, (y, x) in enumerate(cut(truth, (100, 100), overlap)):
        dy, dx = rng.integers(0, 3, 2)
        part = padded[y + dy :, x + dx :][: min(100, 200 - y), : min(100, 200 - x)]
        moved[y, x] = own_ids(part, number)
    found = merged(tmp_path, save(tmp_path / "tiles", moved))
    assert agreement(found.reshape(truth.shape), truth, 0.5) >= 0.99


@pytest.mark.parametrize("overlap", [2, 8])
@pytest.mark.parametrize("gap", [0.0, 2.0])
def test_tiles_that_err_by_a_voxel_merge_as_well_as_can_be(
    tmp_path: Path, overlap: int, gap: float
) -> None:
    truth = voronoi((160, 160), 50, gap, seed=2)
    tiles = displaced(truth, (80, 80), overlap)
    found = merged(tmp_path, save(tmp_path / "tiles", tiles)).reshape(truth.shape)
    best = best_possible(truth, tiles, owners(truth.shape, tiles))
    assert agreement(best, truth, 0.5) >= 0.95
    assert agreement(found, truth, 0.5) == agreement(best, truth, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [2, 4, 8, 16])
@pytest.mark.parametrize("radius", [11.0, 16.0])
@pytest.mark.parametrize("shape", [(1, 480, 480), (96, 96, 96)])
def test_tiles_of_the_published_worlds_that_err_by_a_voxel(
    tmp_path: Path, shape: tuple[int, ...], radius: float, overlap: int
) -> None:
    truth = np.squeeze(lattice(shape, 24, radius))
    tile = (128, 128) if truth.ndim == 2 else (40, 40, 40)
    path = save(tmp_path / "tiles", displaced(truth, tile, overlap))
    assert agreement(merged(tmp_path, path).reshape(truth.shape), truth, 0.5) >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("overlap", [4, 8])
@pytest.mark.parametrize("gap", [0.0, 2.0])
def test_solid_tiles_that_err_by_a_voxel_merge_as_well_as_can_be(
    tmp_path: Path, overlap: int, gap: float
) -> None:
    truth = voronoi((64, 80, 96), 60, gap, seed=1)
    tiles = displaced(truth, (32, 40, 48), overlap)
    found = merged(tmp_path, save(tmp_path / "tiles", tiles)).reshape(truth.shape)
    best = best_possible(truth, tiles, owners(truth.shape, tiles))
    assert agreement(found, truth, 0.5) >= agreement(best, truth, 0.5) - 0.02


def test_few_touching_cells_are_wrong_where_tiles_only_abut(tmp_path: Path) -> None:
    truth = voronoi((200, 200), 120, seed=1)
    found = merged(tmp_path, save(tmp_path / "tiles", cut(truth, (67, 100), 0)))
    assert agreement(found.reshape(truth.shape), truth, 0.75) >= 0.93


@pytest.mark.parametrize("overlap", [0, 1, 2])
def test_thin_rods_over_a_face_are_one(tmp_path: Path, overlap: int) -> None:
    truth = rods()
    found = merged(tmp_path, save(tmp_path / "tiles", cut(truth, (128, 34), overlap)))
    assert errors(found, truth) == (0, 0)
    assert same_partition(truth, found.reshape(truth.shape))


def test_frames_never_merge(tmp_path: Path) -> None:
    frame = FLAT["discs"]
    truth = np.stack([frame, frame])
    parts = {low: np.stack([own_ids(tile, i), own_ids(tile, i)]) for i, (low, tile) in enumerate(
        cut(frame, (90, 110), 12).items()
    )}  # fmt: skip
    found = merged(tmp_path, save(tmp_path / "tiles", parts), axes="tyx")[:, 0]
    assert found.shape == truth.shape
    for t in range(2):
        assert same_partition(frame, found[t])
    assert not set(np.unique(found[0])[1:]) & set(np.unique(found[1]))
    assert info(str(tmp_path / "out.zarr")).axes == ("t", "y", "x")


def test_planes_of_flat_tiles_never_merge(tmp_path: Path) -> None:
    (tmp_path / "tiles").mkdir()
    for z in range(2):
        for x in (0, 40):
            np.save(tmp_path / "tiles" / f"z{z}_x{x}.npy", np.ones((30, 50), np.uint8))
    found = merged(tmp_path, str(tmp_path / "tiles" / "z{z}_x{x}.npy"))[0]
    assert [np.unique(plane).tolist() for plane in found] == [[1], [2]]


def test_tiles_off_any_grid_become_the_truth(tmp_path: Path) -> None:
    truth = FLAT["cells that fill all"]
    rng, rows = np.random.default_rng(0), ["file;y;x"]
    for number, (y, x) in enumerate((y, x) for y in (0, 55) for x in (0, 45, 80)):
        low = [max(n + rng.integers(-5, 6), 0) if n else 0 for n in (y, x)]
        tile = truth[low[0] : low[0] + 75, low[1] : low[1] + 75]
        np.save(tmp_path / f"{number}.npy", own_ids(tile, number))
        rows.append(f"{number}.npy;{low[0] + 1000};{low[1] - 7}.0")
    (tmp_path / "positions.csv").write_text("\n".join(rows))
    found = merged(tmp_path, [], positions=str(tmp_path / "positions.csv"))
    assert same_partition(truth, found.reshape(truth.shape))


def test_a_grid_of_tiff_is_taken_in_the_order_of_numbers(tmp_path: Path) -> None:
    truth = FLAT["discs"]
    for number, tile in enumerate(cut(truth, (65, 40), 10, 2**30, np.uint32).values()):
        tifffile.imwrite(tmp_path / f"t{number}.tif", tile)
    found = merged(tmp_path, str(tmp_path / "t*.tif"), grid=(2, 5), overlap=(10,))
    assert same_partition(truth, found.reshape(truth.shape))
    paths = sorted(map(str, tmp_path.glob("t*.tif")))
    again = merged(tmp_path / "b", paths, grid=(2, 5), pitch=(55, 30))
    np.testing.assert_array_equal(found, again)


def test_ome_zarr_tiles_say_where_they_lie(tmp_path: Path) -> None:
    truth, urls = SOLID["balls"], []
    for (_, y, x), tile in cut(truth, (40, 40, 40), 8, 2**40).items():
        urls.append(str(tmp_path / f"{y}-{x}.zarr"))
        make_image(urls[-1], tile, "zyx", (2.0, 0.5, 0.5))
        meta = tmp_path / f"{y}-{x}.zarr" / "zarr.json"
        group = json.loads(meta.read_text())
        for axis in group["attributes"]["ome"]["multiscales"][0]["axes"]:
            axis["unit"] = "micrometer"
        move = {"type": "translation", "translation": [100.0, y / 2 + 5, x / 2 - 3]}
        dataset = group["attributes"]["ome"]["multiscales"][0]["datasets"][0]
        dataset["coordinateTransformations"].append(move)
        meta.write_text(json.dumps(group))
    found = merged(tmp_path, urls, block=(32, 32, 32))
    assert same_partition(truth, found.reshape(truth.shape))
    told = info(str(tmp_path / "out.zarr"))
    assert told.problems == ()
    assert told.voxel_size == {"z": 2.0, "y": 0.5, "x": 0.5}
    assert told.units["x"] == "micrometer"
    assert told.levels[0].translation == (100.0, 5.0, -3.0)


def test_tiles_at_urls_are_read(tmp_path: Path) -> None:
    truth = FLAT["discs"]
    here = save(tmp_path / "tiles", cut(truth, (80, 110), 12))
    for path in (tmp_path / "tiles").iterdir():
        files.put(f"memory://tiles/{path.name}", path.read_bytes())
    found = merged(tmp_path, f"memory://tiles/{Path(here).name}")
    assert same_partition(truth, found.reshape(truth.shape))


def test_tables_say_what_became_of_each_object(tmp_path: Path) -> None:
    truth = FLAT["discs"]
    parts = cut(truth, (80, 110), 12)
    found = merged(tmp_path, save(tmp_path / "tiles", parts), voxel_size=(0.5, 0.5))[0, 0]
    table = read_table(str(tmp_path / "out.zarr" / "objects.parquet"))
    np.testing.assert_array_equal(table["voxels"], np.bincount(found.ravel())[1:])
    np.testing.assert_allclose(table["area"], table["voxels"] / 4)
    ids = read_table(str(tmp_path / "out.zarr" / "tile_ids.parquet"))
    for (y, x), tile in parts.items():
        mine = np.char.endswith(ids["file"].astype(str), f"_y{y}_x{x}.npy")
        for former, now in zip(ids["tile_id"][mine], ids["id"][mine], strict=True):
            place = np.argwhere(tile == former)[0] + (y, x)
            assert truth[tuple(place)] == truth[found == now][0]


def test_small_objects_are_dropped_as_wholes(tmp_path: Path) -> None:
    truth = FLAT["discs"]
    sizes = np.bincount(truth.ravel())
    limit = int(np.median(sizes[1:][sizes[1:] > 0]))
    found = merged(tmp_path, save(tmp_path / "t", cut(truth, (70, 85), 8)), min_size=limit)
    assert same_partition(np.where(sizes[truth] >= limit, truth, 0), found[0, 0])


class Stop(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("step", ["tiles", "merge", "objects", "write"])
def test_what_is_done_is_not_done_again(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = FLAT["discs"]
    path = save(tmp_path / "tiles", cut(truth, (70, 80), 9))
    expected = merged(tmp_path / "whole", path)
    read: list[str] = []
    original = tiles_stage.read_frame

    def counted(url: str, axes: str, frame: int) -> np.ndarray:
        read.append(url)
        return original(url, axes, frame)

    def stop(event: object) -> None:
        if isinstance(event, StageEnded) and event.step == step:
            raise Stop
        if step == "tiles" and isinstance(event, BlockDone) and len(read) >= 4:
            raise Stop

    monkeypatch.setattr(tiles_stage, "read_frame", counted)
    with pytest.raises(KeyboardInterrupt, match="continues"):
        merged(tmp_path, path, listener=stop)
    assert not (tmp_path / "out.zarr" / "zarr.json").exists()
    merging.resume(str(tmp_path / "out.zarr.bigseg"), cluster="serial")
    np.testing.assert_array_equal(read_labels(str(tmp_path / "out.zarr")), expected)
    assert len(read) <= len(set(read)) + 1, "one may have been read ahead"


def test_neither_threads_nor_a_job_array_change_a_voxel(tmp_path: Path) -> None:
    truth = FLAT["cells that fill all"]
    path = save(tmp_path / "tiles", cut(truth, (70, 80), 9))
    expected = merged(tmp_path / "a", path)
    np.testing.assert_array_equal(merged(tmp_path / "b", path, cluster="threads"), expected)

    def stop(event: object) -> None:
        raise Stop

    with pytest.raises(KeyboardInterrupt):
        merged(tmp_path / "c", path, listener=stop)
    run = open_run(str(tmp_path / "c" / "out.zarr.bigseg"))
    for number in reversed(range(len(run.step("tiles").spec.grid))):
        assert run_block(run.url, "tiles", str(number)).status in ("done", "skipped")
    result = merging.resume(run.url, cluster="serial")
    np.testing.assert_array_equal(read_labels(result.labels), expected)


def tile(folder: Path, name: str, array: object = None) -> None:
    folder.mkdir(exist_ok=True)
    np.save(folder / name, np.ones((20, 20), np.uint8) if array is None else array)


MISTAKES = [
    ({"b_y0_x40.npy": None}, SpecError, r"No tile covers the voxels .*x 20–39.*--allow-gaps"),
    ({"b_y0_x0.npy": None}, SpecError, r"a_y0_x0.npy and .*b_y0_x0.npy both lie at"),
    ({"b_y0_x9.npy": np.ones((2, 9, 9), int)}, ImageError, "b_y0_x9.npy has the axes z, y, x"),
    ({"b_y0_x9.npy": np.ones((20, 20))}, ImageError, "b_y0_x9.npy holds float64, but labels"),
    ({"c.npy": None}, SpecError, "c.npy does not match the pattern"),
    ({"b_y0_x9.npy": np.ones((0, 4), int)}, ImageError, "b_y0_x9.npy is empty"),
]


@pytest.mark.parametrize(("others", "kind", "sentence"), MISTAKES)
def test_mistakes_are_named_and_nothing_is_written(
    tmp_path: Path, others: dict, kind: type, sentence: str
) -> None:
    tile(tmp_path / "tiles", "a_y0_x0.npy")
    for name, array in others.items():
        tile(tmp_path / "tiles", name, array)
    with pytest.raises(kind, match=sentence):
        merged(tmp_path, str(tmp_path / "tiles"), pattern="{}_y{y}_x{x}.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]


def test_a_damaged_file_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    tile(tmp_path / "tiles", "a_y0_x0.npy")
    (tmp_path / "tiles" / "b_y0_x9.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    with pytest.raises(ImageError, match=r"b_y0_x9.npy cannot be read"):
        merged(tmp_path, str(tmp_path / "tiles" / "{}_y{y}_x{x}.npy"))
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]


def test_negative_ids_are_named_and_the_output_is_not_begun(tmp_path: Path) -> None:
    tile(tmp_path / "tiles", "a_y0_x0.npy")
    tile(tmp_path / "tiles", "b_y0_x9.npy", np.full((20, 20), -3))
    with pytest.raises(BigsegError, match=r"b_y0_x9.npy: labels go down to -3"):
        merged(tmp_path, str(tmp_path / "tiles" / "{}_y{y}_x{x}.npy"))
    assert not (tmp_path / "out.zarr").exists()
    tile(tmp_path / "tiles", "b_y0_x9.npy", np.full((20, 20), 3))
    assert np.unique(merged(tmp_path, str(tmp_path / "tiles" / "{}_y{y}_x{x}.npy"))).size == 1


def test_holes_are_named_by_their_place_in_the_grid(tmp_path: Path) -> None:
    for y, x in ((1, 1), (1, 2), (2, 1)):
        tile(tmp_path / "tiles", f"r{y}c{x}.npy")
    path = str(tmp_path / "tiles" / "r{y}c{x}.npy")
    with pytest.raises(SpecError, match="has a hole: none has y = 2, x = 2"):
        merged(tmp_path, path, overlap=(4,))
    with pytest.raises(SpecError, match="9 tiles, but 3 are given"):
        merged(tmp_path, str(tmp_path / "tiles"), grid=(3, 3))
    found = merged(tmp_path, path, overlap=(4,), allow_gaps=True)[0, 0]
    assert found.shape == (36, 36)
    assert (found[20:, 20:] == 0).all()
    assert found[:20].all()


def test_a_result_is_replaced_only_when_that_is_said(tmp_path: Path) -> None:
    tile(tmp_path / "tiles", "a_y0_x0.npy")
    path = str(tmp_path / "tiles" / "a_y{y}_x{x}.npy")
    merged(tmp_path, path)
    with pytest.raises(OutputExists, match="is finished already"):
        merged(tmp_path, path)
    with pytest.raises(OutputExists, match="with other settings"):
        merged(tmp_path, path, min_size=5)
    merged(tmp_path, path, min_size=5, overwrite=True)
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExists, match=r"mine.zarr exists already, and no run"):
        merging.merge(path, str(tmp_path / "mine.zarr"), overwrite=True)
    with pytest.raises(SpecError, match="are in one place"):
        merging.merge(path, str(tmp_path / "tiles"), cluster="serial")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "does not say where it lies; say it with --positions TABLE"),
        (["--grid", "1,2", "--overlap", "20"], "cannot overlap by"),
        (["--grid", "2"], "must be rows,columns or z,y,x"),
        (["--grid", "1,2", "--overlap", "1,2,3"], "--overlap 1,2,3 must be one number, or 2: y,x"),
        (["--overlap", "3"], "give --grid or --pattern"),
        (["--grid", "1,2", "--pattern", "a{x}"], "Give only one of pattern, grid"),
        (["--grid", "1,2", "--overlap", "2", "--pitch", "18"], "Give pitch or overlap, not both"),
        (["--pattern", "a_{q}.npy"], "has the field {q}"),
        (["--positions", "none.csv"], "There is no table of positions"),
        (["--grid", "1,two"], "'grid.1' is 'two'"),
    ],
)
def test_options_that_make_no_sense_are_sentences(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    for x in (0, 20):
        tile(tmp_path / "tiles", f"a_y0_x{x}.npy")
    arguments = ["merge", str(tmp_path / "tiles"), str(tmp_path / "out.zarr"), *options]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, BigsegError)
    assert sentence in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]


def test_the_command_tells_what_it_did(tmp_path: Path) -> None:
    for x in (0, 20):
        tile(tmp_path / "tiles", f"a_y0_x{x}.npy")
    out = str(tmp_path / "out.zarr")
    arguments = ["merge", str(tmp_path / "tiles"), out, "--grid", "1,2", "--cluster", "serial"]
    plan = CliRunner().invoke(app, [*arguments, "--dry-run"]).stdout
    assert next(line.split()[1] for line in plan.splitlines() if line.startswith("merge")) == "2"
    assert not Path(out).exists()
    told = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (told["objects"], told["tiles"], told["labels"]) == (1, 2, out)
    again = CliRunner().invoke(app, ["run", f"{out}.bigseg", "--json", "--cluster", "serial"])
    assert json.loads(again.stdout)["objects"] == 1


def test_nothing_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nothing to merge"):
        merged(tmp_path, [])
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="holds no tiles"):
        merged(tmp_path, str(tmp_path / "empty"))
    tile(tmp_path / "tiles", "a.npy", np.zeros((8, 9), np.int16))
    assert not merged(tmp_path, str(tmp_path / "tiles")).any()
