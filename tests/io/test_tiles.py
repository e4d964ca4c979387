"""Tiles are found, looked at and placed, whatever they are stored in."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from bigseg import files
from bigseg.errors import ImageError, NotFound, SpecError
from bigseg.io.tile_positions import from_names, from_table, in_voxels, read_positions, shifted
from bigseg.io.tiles import expand, header, read_frame
from tests.worlds import make_image

CUBE = np.arange(30, dtype=np.uint16).reshape(2, 3, 5)


def stored(folder: Path, kind: str) -> str:
    path = str(folder / f"a.{kind}")
    if kind == "npy":
        np.save(path, CUBE)
    elif kind == "tif":
        tifffile.imwrite(path, CUBE)
    elif kind == "zarr":
        zarr.save_array(path, CUBE)
    else:
        make_image(path, CUBE, "zyx", (2.0, 1.0, 1.0))
    return path


@pytest.mark.parametrize("kind", ["npy", "tif", "zarr", "ome.zarr"])
def test_volumes_are_read_from_any_file(tmp_path: Path, kind: str) -> None:
    path = stored(tmp_path, kind)
    found = header(path, None)
    assert (found.axes, found.shape, found.itemsize) == ("zyx", (1, 2, 3, 5), 2)
    np.testing.assert_array_equal(read_frame(path, "zyx", 0), CUBE)
    named = header(path, "tyx")
    assert named.shape == (2, 1, 3, 5)
    np.testing.assert_array_equal(read_frame(path, "tyx", 1), CUBE[1:])


def test_axes_in_any_order_are_put_in_order(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", CUBE)
    np.testing.assert_array_equal(
        read_frame(str(tmp_path / "a.npy"), "xyz", 0), CUBE.transpose(2, 1, 0)
    )


def test_colours_are_no_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ImageError, match=r"a.npy has 3 channels, but labels have none"):
        header(str(tmp_path / "a.npy"), "yxc")
    with pytest.raises(ImageError, match=r"has 3 axes.*'zyxt' names 4"):
        header(str(tmp_path / "a.npy"), "zyxt")


def test_a_remote_file_is_named_as_it_was_given(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    files.put("memory://remote/a.npy", (tmp_path / "a.npy").read_bytes())
    with pytest.raises(ImageError, match=r"^memory://remote/a.npy holds float64"):
        header("memory://remote/a.npy", None)
    with pytest.raises(NotFound, match=r"nothing at memory://remote/none.npy"):
        header("memory://remote/none.npy", None)


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    for n in (10, 9, 1):
        np.save(tmp_path / f"t{n}.npy", CUBE)
    (tmp_path / "notes.txt").write_text("")
    expected = [str(tmp_path / f"t{n}.npy") for n in (1, 9, 10)]
    assert expand([str(tmp_path)]) == expected
    assert expand([str(tmp_path / "t*.npy")]) == expected
    assert expand([str(tmp_path / "t{x}.npy")]) == expected
    with pytest.raises(NotFound, match=r"No file matches .*u\{x\}.npy"):
        expand([str(tmp_path / "u{x}.npy")])


def test_names_say_where_tiles_lie() -> None:
    urls = ["/a/scan7_z0_y-5_x10.tif", "/a/scan8_z3_y0_x2.tif"]
    places = from_names("scan{}_z{z}_y{y}_x{x}.tif", urls)
    assert places == [{"z": 0, "y": -5, "x": 10}, {"z": 3, "y": 0, "x": 2}]
    assert shifted(places) == ((0, 0, 0, 8), (0, 3, 5, 0))
    assert from_names("y{y}/x{x}.npy", ["s3://b/y1/x2.npy"]) == [{"y": 1, "x": 2}]
    assert from_names("x{x}.zarr", ["/a/x2.zarr"]) == [{"x": 2}]
    with pytest.raises(SpecError, match="has a field twice"):
        from_names("y{y}_{y}", urls)


def test_places_in_a_grid_become_voxels() -> None:
    places = [{"y": y, "x": x, "t": 3} for y in (1, 2) for x in (4, 5)]
    assert in_voxels(places, (1, 50, 60), [""] * 4, False)[-1] == {"y": 100, "x": 300, "t": 3}
    with pytest.raises(SpecError, match="none has t = 3, y = 1, x = 5"):
        in_voxels([*places[:1], *places[2:]], (1, 50, 60), [""] * 3, False)


def table(folder: Path, text: str) -> str:
    (folder / "p.csv").write_text(text)
    return str(folder / "p.csv")


@pytest.mark.parametrize("mark", [",", ";", "\t", ", "])
def test_tables_are_read(tmp_path: Path, mark: str) -> None:
    text = "\n".join(
        mark.join(row) for row in (("File", "X", "y", "t"), ("a.npy", "3", "4.0", "1"))
    )
    assert read_positions(table(tmp_path, text)) == {
        str(tmp_path / "a.npy"): {"t": 1, "y": 4, "x": 3}
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,y,x\n", "has the columns name, y, x; it needs file, y and x"),
        ("file,y,x\na.npy,1,\n", "x = '' in line 2"),
        ("file,y,x\na.npy,1.5,2\n", "y = '1.5' in line 2; positions are whole numbers"),
        ("file,y,x\na.npy,1,2\na.npy,3,4\n", "names a.npy twice, again in line 3"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        read_positions(table(tmp_path, text))


def test_each_tile_has_one_row() -> None:
    rows = {"/a/1.npy": {"x": 0}, "/b/2.npy": {"x": 5}}
    assert from_table(rows, "p.csv", ["/c/2.npy", "/a/1.npy"]) == [{"x": 5}, {"x": 0}]
    with pytest.raises(SpecError, match=r"p.csv has no row\(s\) for the tile /a/3.npy"):
        from_table(rows, "p.csv", ["/a/3.npy"])
    with pytest.raises(SpecError, match=r"names /b/2.npy, which is not among the 1 tiles"):
        from_table(rows, "p.csv", ["/a/1.npy"])
    with pytest.raises(SpecError, match=r"has 2 row\(s\) for the tile /c/1.npy"):
        from_table({**rows, "/b/1.npy": {"x": 1}}, "p.csv", ["/c/1.npy"])
