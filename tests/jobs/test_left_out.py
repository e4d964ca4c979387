"""What cannot be read is left out of runs of every kind, and the rest is as ever."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg import files
from bigseg.core.metrics import variation_of_information
from bigseg.core.overlap import contingency
from bigseg.errors import BlocksFailed, SpecError
from bigseg.holes import leave_out_failed
from bigseg.io.tables import read_table
from bigseg.jobs import maps as of_maps
from bigseg.jobs import restore as restoration
from bigseg.jobs import segment as segmenting
from bigseg.jobs import tiles as merging
from bigseg.jobs import track as tracking
from bigseg.jobs.begin import holes_url
from bigseg.run.folder import open_run
from bigseg.run.left_out import Hole, holes
from bigseg.run.share import finish_step, run_share
from bigseg.specs.maps import EmSpec
from bigseg.specs.segment import SegmentSpec
from bigseg.specs.tiles import MergeSpec
from bigseg.specs.track import TrackSpec
from tests.cells import moving_cells
from tests.jobs.test_restore import saved
from tests.maps import boundary, cells
from tests.tiled import cut, save
from tests.worlds import balls, make_image, read_labels, same_partition


@pytest.fixture
def skipping() -> Iterator[None]:
    with leave_out_failed():
        yield


def voi(a: np.ndarray, b: np.ndarray) -> float:
    return sum(variation_of_information(*contingency(a, b)))


def cut_off(piece: Path) -> None:
    """Damage a file, as a transfer does that breaks off."""
    piece.write_bytes(piece.read_bytes()[: piece.stat().st_size // 2])


def file_below(folder: str, *end: str) -> Path:
    """The one file in a folder whose path ends so."""
    every = (path for path in Path(folder).rglob("*") if path.is_file())
    (found,) = (path for path in every if path.parts[-len(end) :] == end)
    return found


def done_until(run: str, last: str) -> str:
    """Do the steps of a run up to one."""
    for step in open_run(run).steps:
        run_share(run, step.name, range(len(step.spec.grid)))
        finish_step(run, step.name)
        if step.name == last:
            break
    return run


def box_of(hole: Hole) -> tuple[slice, ...]:
    return tuple(slice(*hole.voxels[axis]) for axis in "tzyx")


def without(labels: np.ndarray, box: tuple[slice, ...]) -> np.ndarray:
    kept = labels.copy()
    kept[box] = 0
    return kept


TRUTH = balls((120, 150), 40, (5, 10), 1)


def tiles(folder: Path) -> str:
    """Tiles of 64 × 64 with an overlap of 16, compressed, of which the one in the middle is bad."""
    folder.mkdir()
    for (y, x), tile in cut(TRUTH, (64, 64), 16, 60_000, np.uint16).items():
        tifffile.imwrite(folder / f"y{y}_x{x}.tif", tile, compression="zlib")
    spoil(folder / "y48_x48.tif")
    return str(folder / "y{y}_x{x}.tif")


def test_a_tile_that_cannot_be_read_is_left_out(tmp_path: Path, skipping: None) -> None:
    found = merging.merge(tiles(tmp_path / "tiles"), str(tmp_path / "out.zarr"), cluster="serial")
    (hole,) = holes(found.run)
    assert (hole.step, hole.where()) == ("tiles", "t 0:1, z 0:1, y 48:112, x 48:112")
    assert "y48_x48.tif" in hole.error
    labels, truth = read_labels(found.labels), TRUTH[None, None]
    assert not labels[..., 56:104, 56:104].any()
    assert same_partition(without(labels, box_of(hole)), without(truth, box_of(hole)))
    table = read_table(holes_url(found.labels))
    assert [table[name].tolist() for name in ("step", "y0", "x1")] == [["tiles"], [48], [112]]


def test_tiles_that_are_lost_on_the_way_are_left_out(tmp_path: Path, skipping: None) -> None:
    folder = save(tmp_path / "tiles", cut(TRUTH, (64, 64), 16))
    out = str(tmp_path / "out.zarr")
    whole = read_labels(merging.merge(folder, f"{tmp_path}/whole.zarr", cluster="serial").labels)
    run = done_until(merging.prepare(MergeSpec(tiles=(folder,), output=out)).run, "tiles")
    cut_off(file_below(f"{run}/graph/opinions/c/4", "0"))
    found = merging.resume(run, cluster="serial")
    assert {hole.step for hole in holes(run)} == {"merge", "write"}
    box = box_of(next(hole for hole in holes(run) if hole.block == "4-0-0-0"))
    assert same_partition(without(read_labels(found.labels), box), without(whole, box))


def rods(folder: Path) -> str:
    """Discs of five planes that lie above each other; objects of a volume: (z, y, x)."""
    y, x = np.mgrid[:96, :96]
    image = np.random.default_rng(0).integers(0, 12, (5, 96, 96))
    for cy, cx in np.ndindex(3, 3):
        image[:, (y - 15 - 32 * cy) ** 2 + (x - 15 - 32 * cx) ** 2 < 8**2] += 180
    make_image(f"{folder}/image.zarr", image.astype(np.uint8), "zyx", block=(1, 96, 96))
    return f"{folder}/image.zarr"


def sliced(image: str) -> SegmentSpec:
    return SegmentSpec(image=image, model="tests.chaos.model:flows", dims="slices")


def test_a_slice_that_cannot_be_read_is_bridged(tmp_path: Path, skipping: None) -> None:
    image = rods(tmp_path)
    cut_off(file_below(image, "0", "c", "2", "0", "0"))
    found = segmenting.execute(sliced(image), cluster="serial")
    assert {hole.step for hole in holes(found.run)} == {"normalize", "predict"}
    labels = read_labels(found.labels)[0]
    assert found.objects == 9
    assert (read_table(found.table)["filled"] > 100).all()
    assert [len(np.unique(labels[:, 15 + 32 * n, 15])) for n in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("last", ["objects", "volumes"])
def test_a_slice_that_is_lost_on_the_way_is_left_out(
    tmp_path: Path, skipping: None, last: str
) -> None:
    run = done_until(segmenting.prepare(sliced(rods(tmp_path))).run, last)
    cut_off(file_below(f"{run}/graph/opinions/c/2", "0"))
    found = segmenting.resume(run, cluster="serial")
    lost = [hole.step for hole in holes(run)]
    assert lost == (["stack", "write"] if last == "objects" else ["write"])
    labels = read_labels(found.labels)[0]
    assert found.objects == 9
    assert [bool(plane.any()) for plane in labels] == [True, True, False, True, True]
    assert len(np.unique(labels[[0, 1, 3, 4], 15, 15])) == 1


def test_maps_that_cannot_be_read_are_left_out(tmp_path: Path, skipping: None) -> None:
    truth = cells((24, 48, 48), 12, 0).astype(np.uint32)
    image = f"{tmp_path}/maps.zarr"
    make_image(image, boundary(truth)[None], "czyx", block=(24, 24, 24))
    spec = EmSpec(image=image, source="boundaries", halo=8, block=(24, 24, 24))
    whole = of_maps.segment_maps(spec, cluster="serial")
    spec = spec.model_copy(update={"output": f"{tmp_path}/lost.zarr"})
    run = done_until(of_maps.prepare(spec).run, "supervoxels")
    cut_off(file_below(f"{run}/graph/opinions/c/3", "0"))
    found = of_maps.resume(run, cluster="serial")
    assert {hole.step for hole in holes(run)} == {"regions", "write"}
    hole = (slice(0, 1), slice(0, 24), slice(24, 48), slice(24, 48))
    labels = read_labels(found.labels)
    assert not labels[hole].any()
    assert voi(labels, without(read_labels(whole.labels), hole)) < 0.1


def test_a_block_that_cannot_be_restored_is_left_empty(
    tmp_path: Path, skipping: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("TILE", 64),
        ("MARGIN", 8),
        ("restore_block", lambda shape: (1, 2, 64, 64)),
    ):
        monkeypatch.setattr(f"bigseg.plans.restore.{name}", value)
    model = saved(tmp_path / "denoise.pt")
    noise = np.random.default_rng(0).gamma(2.0, 300.0, (2, 90, 300)).astype(np.uint16)
    image, out = f"{tmp_path}/image.zarr", f"{tmp_path}/out.zarr"
    make_image(image, noise, "zyx", block=(2, 64, 64))
    whole = restoration.restore(image, f"{tmp_path}/whole.zarr", model=model, cluster="serial")
    cut_off(file_below(image, "0", "c", "0", "0", "0"))
    found = restoration.restore(image, out, model=model, cluster="serial")
    lost = [hole for hole in holes(found.run) if hole.step == "restore"]
    assert "t 0:1, z 0:2, y 0:64, x 0:64" in [hole.where() for hole in lost]
    assert all(hole.voxels["x"][1] <= 128 for hole in lost)  # those that see beyond their own
    for level, step in ((0, 1), (1, 2)):  # the coarser level is made of what there is
        here, before = (read_labels(url, level)[0] for url in (found.image, whole.image))
        assert not here[:, : 64 // step, : 64 // step].any()
        far = np.s_[:, :, 128 // step :]
        # Percentiles are those of what could be read.
        assert np.abs(here[far].astype(float) - before[far]).mean() < 0.05 * before[far].mean()


def movie(folder: Path) -> tuple[str, np.ndarray]:
    """A folder of compressed frames, and what is true of them."""
    labels, truth = moving_cells()
    folder.mkdir()
    for number, frame in enumerate(labels):
        tifffile.imwrite(folder / f"mask{number:03d}.tif", frame, compression="zlib")
    return str(folder), truth


def spoil(path: Path) -> None:
    """Damage the pixels of a file, not its head."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        first, count = page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(path.read_bytes())
    data[first : first + count] = b"\0" * count
    path.write_bytes(data)


@pytest.mark.parametrize("fill_gaps", [False, True])
def test_a_frame_that_cannot_be_read_is_bridged(
    tmp_path: Path, skipping: None, fill_gaps: bool
) -> None:
    folder, truth = movie(tmp_path / "movie")
    spoil(tmp_path / "movie" / "mask006.tif")
    found = tracking.track(folder, f"{tmp_path}/out.zarr", cluster="serial", fill_gaps=fill_gaps)
    lost = {hole.step: hole for hole in holes(found.run)}
    assert lost["detect"].where() == "t 6:7, z 0:1, y 0:120, x 0:120"
    assert "mask006.tif" in lost["detect"].error
    assert {"detect", "write-tracks"} <= set(lost) <= {"detect", "overlap", "write-tracks"}
    assert (found.tracks, found.divisions, found.lineages) == (11, 1, 9)
    labels = read_labels(found.labels)[:, 0]
    pairs = np.unique(np.stack([truth[:6].ravel(), labels[:6].ravel()]), axis=1)
    assert pairs.shape[1] == 12  # an id for each of 11 cells, and background
    assert bool(labels[6].any()) == fill_gaps
    assert "left out" in files.get(found.report).decode()
    assert read_table(holes_url(found.labels))["t0"].tolist().count(6) >= 2


def test_detections_that_are_lost_on_the_way_are_bridged(tmp_path: Path, skipping: None) -> None:
    folder, _ = movie(tmp_path / "movie")
    spec = TrackSpec(labels=folder, output=f"{tmp_path}/out.zarr")
    run = done_until(tracking.prepare(spec).run, "detect")
    cut_off(Path(run, "detections", "parts", "6-0-0-0.parquet"))
    found = tracking.resume(run, cluster="serial")
    lost = {hole.step: hole.where() for hole in holes(found.run)}
    assert lost["detections"] == "t 6:7, z 0:1, y 0:120, x 0:120"
    assert (found.tracks, found.divisions, found.lineages) == (11, 1, 9)
    assert not read_labels(found.labels)[6].any()


def test_a_challenge_folder_has_all_or_is_refused(tmp_path: Path, skipping: None) -> None:
    folder, _ = movie(tmp_path / "movie")
    spec = TrackSpec(labels=folder, output=f"{tmp_path}/out.zarr", ctc=f"{tmp_path}/ctc")
    run = done_until(tracking.prepare(spec).run, "lineages")
    spoil(tmp_path / "movie" / "mask006.tif")
    with pytest.raises(BlocksFailed, match=r"'ctc' failed.* Frame 6 lacks the label 1"):
        tracking.resume(run, cluster="serial")
    assert [hole.step for hole in holes(run)] == ["write-tracks"]


def test_points_are_one_table_of_which_nothing_is_left_out(tmp_path: Path, skipping: None) -> None:
    table = tmp_path / "points.csv"
    rows = [f"{t},{t},{10 * n}" for t in range(4) for n in range(3)]
    table.write_text("\n".join(["frame,y,x", *rows]))
    with pytest.raises(SpecError, match=r"--skip-failed means nothing here: .*points, learn, link"):
        tracking.track(str(table), str(tmp_path / "out"), cluster="serial")
    assert [path.name for path in tmp_path.iterdir()] == ["points.csv"]


def test_without_being_told_to_nothing_is_left_out(tmp_path: Path) -> None:
    with pytest.raises(BlocksFailed, match=r"stage 'tiles' failed; first is 4-0-0-0: .*y48_x48"):
        merging.merge(tiles(tmp_path / "tiles"), str(tmp_path / "out.zarr"), cluster="serial")
    assert not files.exists(holes_url(str(tmp_path / "out.zarr")))
