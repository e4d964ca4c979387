"""Conversion: axes, voxel sizes and voxels arrive, sources are unharmed, failures leave nothing."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr

from bigseg.errors import ImageError, NotFound, OutputExists
from bigseg.io.arrays import open_image
from bigseg.io.convert import convert
from bigseg.io.ome import describe
from bigseg.io.validate import validate

HYPERSTACK = np.arange(2 * 4 * 3 * 5 * 6, dtype="u2").reshape(2, 4, 3, 5, 6)
"""(t, z, c, y, x), as ImageJ orders it."""


def pixels(url: Path | str, level: int = 0) -> np.ndarray:
    return open_image(str(url), level).values


def test_imagej_hyperstacks(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", HYPERSTACK, imagej=True, resolution=(4, 2),
        metadata={"axes": "TZCYX", "spacing": 2.0, "unit": "\\u00B5m", "finterval": 3.5},
    )  # fmt: skip
    image = convert([str(tmp_path / "a.tif")], str(tmp_path / "a.zarr"))
    assert image.axes == ("t", "c", "z", "y", "x")
    assert image.levels[0].scale == (3.5, 1.0, 2.0, 0.5, 0.25)
    assert image.units == {"t": "second", **dict.fromkeys("zyx", "micrometer")}
    np.testing.assert_array_equal(pixels(image.url), HYPERSTACK.transpose(0, 2, 1, 3, 4))
    assert validate(image.url) == []


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_tiffs(tmp_path: Path, version: str) -> None:
    data = HYPERSTACK.transpose(0, 2, 1, 3, 4)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", data, ome=True, tile=(16, 16),
        metadata={
            "axes": "TCZYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "nm",
            "PhysicalSizeZ": 2, "TimeIncrement": 2.5, "TimeIncrementUnit": "min",
            "Channel": {"Name": ["DAPI", "GFP", "RFP"]},
        },
    )  # fmt: skip
    image = convert([str(tmp_path / "a.ome.tif")], str(tmp_path / "a.zarr"), version=version)
    assert image.version == version
    assert image.levels[0].scale == (2.5, 1.0, 2.0, 0.5, 0.25)
    assert (image.units["t"], image.units["y"], image.units["x"]) == (
        "minute",
        "nanometer",
        "micrometer",
    )
    assert image.channels == ("DAPI", "GFP", "RFP")
    np.testing.assert_array_equal(pixels(image.url), data)
    assert describe(image.url) == image
    assert validate(image.url) == []


def test_plain_stacks_need_names_for_their_axes(tmp_path: Path) -> None:
    source, out = str(tmp_path / "a.tif"), str(tmp_path / "a.zarr")
    tifffile.imwrite(source, HYPERSTACK[0, 0], photometric="minisblack")
    with pytest.raises(ImageError, match=r"axes of .*a\.tif, shape \(3, 5, 6\), are 'qyx'"):
        convert([source], out)
    with pytest.raises(ImageError, match=r"has 3 axes, shape \(3, 5, 6\); 'yx' names 2"):
        convert([source], out, axes="yx")
    with pytest.raises(ImageError, match=r"are 'kyx', which is not understood"):
        convert([source], out, axes="kyx")
    assert not os.path.exists(out)
    image = convert([source], out, axes="ZYX", voxel_size=(2, 0.5, 0.25))
    assert (image.axes, image.levels[0].scale) == (("z", "y", "x"), (2, 0.5, 0.25))
    assert image.units == dict.fromkeys("zyx", "micrometer")
    np.testing.assert_array_equal(pixels(out), HYPERSTACK[0, 0])


def test_colours_are_channels(tmp_path: Path) -> None:
    data = np.arange(5 * 6 * 3, dtype="u1").reshape(5, 6, 3)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb")
    PIL.Image.fromarray(data).save(tmp_path / "a.png")
    for name in ("a.tif", "a.png"):
        image = convert([str(tmp_path / name)], str(tmp_path / f"{name}.zarr"))
        assert image.channels == ("red", "green", "blue")
        np.testing.assert_array_equal(pixels(image.url), data.transpose(2, 0, 1))


def test_images_of_a_file_are_chosen(tmp_path: Path) -> None:
    source = str(tmp_path / "a.tif")
    with tifffile.TiffWriter(source) as file:
        file.write(np.zeros((4, 4), "u1"))
        file.write(np.ones((7, 5), "u2"))
    with pytest.raises(ImageError, match=r"holds 2 images .*#1 YX \(7, 5\).* '.*a\.tif#0'"):
        convert([source], str(tmp_path / "a.zarr"))
    convert([f"{source}#1"], str(tmp_path / "a.zarr"))
    assert pixels(tmp_path / "a.zarr").shape == (7, 5)


@pytest.mark.parametrize("pattern", ["slices", "slices/*.png", "slices/s?*.png"])
def test_folders_of_slices_go_by_number(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "slices").mkdir()
    for i in (1, 2, 9, 10):
        data = np.full((5, 6), i, "u1")
        PIL.Image.fromarray(data).save(tmp_path / "slices" / f"s{i}.png")
    (tmp_path / "slices/notes.txt").write_text("not an image")
    image = convert([str(tmp_path / pattern)], str(tmp_path / "a.zarr"), voxel_size=(0.5, 0.5))
    assert image.axes == ("z", "y", "x")
    assert image.units == {"y": "micrometer", "x": "micrometer"}
    assert pixels(image.url)[:, 0, 0].tolist() == [1, 2, 9, 10]


def test_frames_are_told_by_name_or_by_depth(tmp_path: Path) -> None:
    for i in range(2):
        np.save(tmp_path / f"embryo_t{i}.npy", np.full((5, 6), i))
        np.save(tmp_path / f"deep{i}.npy", np.full((4, 5, 6), i))
        tifffile.imwrite(
            tmp_path / f"v{i}.tif", np.full((4, 5, 6), i, "u2"), imagej=True,
            metadata={"axes": "ZYX"},
        )  # fmt: skip
    frames = convert([str(tmp_path / "embryo*.npy")], str(tmp_path / "a.zarr"))
    volumes = convert([str(tmp_path / "v*.tif")], str(tmp_path / "b.zarr"))
    named = convert([str(tmp_path / "deep*.npy")], str(tmp_path / "c.zarr"), axes="czyx")
    assert [frames.axes, volumes.axes, named.axes] == [tuple("tyx"), tuple("tzyx"), tuple("czyx")]
    assert pixels(volumes.url)[:, 3, 4, 5].tolist() == [0, 1]
    assert pixels(named.url)[:, 3, 4, 5].tolist() == [0, 1]


def test_stacks_must_be_alike(tmp_path: Path) -> None:
    np.save(tmp_path / "a0.npy", np.zeros((5, 6)))
    np.save(tmp_path / "a1.npy", np.zeros((5, 7)))
    with pytest.raises(ImageError, match=r"a1\.npy has shape \(5, 7\) .*a0\.npy has \(5, 6\)"):
        convert([str(tmp_path / "a0.npy"), str(tmp_path / "a1.npy")], str(tmp_path / "a.zarr"))
    assert not (tmp_path / "a.zarr").exists()


def test_kinds_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in/a.npy", np.zeros((5, 6)))
    PIL.Image.new("L", (6, 5)).save(tmp_path / "in/a.png")
    with pytest.raises(ImageError, match=r"several kinds \(\.npy, \.png\); .*in/\*\.npy"):
        convert([str(tmp_path / "in")], str(tmp_path / "a.zarr"))


@pytest.mark.parametrize(
    ("mode", "dtype"), [("1", "?"), ("L", "u1"), ("I;16", "u2"), ("P", "u1"), ("RGBA", "u1")]
)
def test_pictures_of_every_mode(tmp_path: Path, mode: str, dtype: str) -> None:
    picture = PIL.Image.new(mode, (6, 5))
    picture.putpixel((2, 1), (1, 2, 3, 4) if mode == "RGBA" else 1)
    picture.save(tmp_path / "a.png")
    image = convert([str(tmp_path / "a.png")], str(tmp_path / "a.zarr"))
    assert image.dtype == np.dtype(dtype)
    expected = np.asarray(picture.convert("RGB") if mode in ("P", "RGBA") else picture)
    found = pixels(image.url)
    np.testing.assert_array_equal(found.transpose(1, 2, 0) if found.ndim == 3 else found, expected)


def test_zarr_arrays_and_other_versions(tmp_path: Path) -> None:
    data = np.arange(120).reshape(4, 5, 6).astype("i2")
    group = zarr.open_group(tmp_path / "in", mode="w")
    group.create_array("a", data=data, dimension_names=("z", "y", "x"))
    group.create_array("b", data=data)
    first = convert([f"{tmp_path}/in/a"], f"{tmp_path}/a.zarr", voxel_size=(3, 1, 1))
    with pytest.raises(ImageError, match=r"in/b, shape \(4, 5, 6\), are '\?\?\?'"):
        convert([f"{tmp_path}/in/b"], f"{tmp_path}/b.zarr")
    second = convert([first.url], f"memory://{tmp_path.name}/c.zarr", version="0.4")
    assert (second.version, second.levels[0].scale) == ("0.4", (3, 1, 1))
    np.testing.assert_array_equal(pixels(second.url), data)


def test_the_pyramid_is_the_mean(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 999, (2, 8, 601, 300)).astype("u2")
    np.save(tmp_path / "a.npy", data)
    seen = []
    image = convert(
        [str(tmp_path / "a.npy")], str(tmp_path / "a.zarr"), axes="czyx", voxel_size=(2, 1, 1),
        block=(4, 128, 128), progress=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert [level.shape[1:] for level in image.levels] == [
        (8, 601, 300),
        (8, 301, 150),
        (4, 151, 75),
    ]
    mean = data[:, :, :600].reshape(2, 8, 300, 2, 150, 2).mean((3, 5))
    np.testing.assert_array_equal(pixels(image.url, 1)[:, :, :300], np.floor(mean + 0.5))
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_viewers_are_told_what_to_show(tmp_path: Path) -> None:
    data = np.zeros((20, 50, 3), "u1")
    data[..., 1] = np.arange(1000).reshape(20, 50) // 10
    PIL.Image.fromarray(data).save(tmp_path / "a.png")
    convert([str(tmp_path / "a.png")], str(tmp_path / "a.zarr"))
    omero = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs["ome"]["omero"]
    red, green, _ = omero["channels"]
    assert (red["label"], red["color"]) == ("red", "FF0000")
    assert green["window"] == {"min": 0, "max": 255, "start": 0, "end": 99}
    assert red["window"]["start"] < red["window"]["end"]


def test_outputs_are_never_overwritten(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((5, 6)))
    convert([str(tmp_path / "a.npy")], str(tmp_path / "a.zarr"))
    with pytest.raises(OutputExists, match=r"a\.zarr exists already; delete it"):
        convert([str(tmp_path / "a.npy")], str(tmp_path / "a.zarr"))
    with pytest.raises(ImageError, match=r"b\.zarr lies inside the zarr .*a\.zarr"):
        convert([str(tmp_path / "a.zarr")], str(tmp_path / "a.zarr/b.zarr"))
    assert pixels(tmp_path / "a.zarr").all()


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "a.tif"
    data = np.random.default_rng(0).integers(0, 9, (9, 50, 60)).astype("u2")
    tifffile.imwrite(source, data, compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(source) as file:
        damaged = file.pages[5].dataoffsets[0]
    whole = bytearray(source.read_bytes())
    whole[damaged : damaged + 200] = bytes(200)
    source.write_bytes(whole)
    with pytest.raises(ImageError, match=r"a\.tif cannot be decoded"):
        convert([str(source)], str(tmp_path / "a.zarr"), axes="zyx")
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.tif", b"no", r"a\.tif cannot be read as TIFF"),
        ("a.png", b"no", r"a\.png cannot be read as a picture"),
        ("a.npy", b"no", r"a\.npy cannot be read as npy"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=sentence):
        convert([str(tmp_path / name)], str(tmp_path / "out.zarr"))


def test_broken_zarr(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"is not a zarr; files of other kinds must be copied"):
        convert(["memory://nowhere/a.tif"], str(tmp_path / "out.zarr"))


def test_nothing_to_convert(tmp_path: Path) -> None:
    out = str(tmp_path / "out.zarr")
    (tmp_path / "empty").mkdir()
    for sources, sentence in [
        ([str(tmp_path / "gone.tif")], r"There is nothing at .*gone\.tif"),
        ([str(tmp_path / "*.tif")], r"No file matches .*\*\.tif"),
        ([str(tmp_path / "empty")], r"empty holds no files that can be converted"),
        ([], r"There is nothing to convert"),
    ]:
        with pytest.raises(NotFound, match=sentence):
            convert(sources, out)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((4, 5), complex), "holds values of type complex128"),
        (np.zeros((4, 5), "U3"), "holds values of type <U3"),
        (np.zeros((0, 5)), r"is empty: its shape is \(0, 5\)"),
    ],
)
def test_voxels_must_be_numbers(tmp_path: Path, array: np.ndarray, sentence: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ImageError, match=sentence):
        convert([str(tmp_path / "a.npy")], str(tmp_path / "a.zarr"))


def test_only_known_versions_are_written(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"NGFF 0\.3 cannot be written; choose 0\.5"):
        convert([str(tmp_path)], str(tmp_path / "a.zarr"), version="0.3")


def test_voxel_sizes_must_be_positive(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    for size in ((0, 1), (1,), (1, 1, -1)):
        with pytest.raises(ImageError, match="two or three positive numbers"):
            convert([str(tmp_path / "a.npy")], str(tmp_path / "a.zarr"), voxel_size=size)


def test_other_formats_need_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    monkeypatch.setitem(sys.modules, "bioio", None)
    with pytest.raises(ImageError, match=r"a\.czi is no TIFF.* pip install 'bigseg\[formats\]'"):
        convert([str(tmp_path / "a.czi")], str(tmp_path / "a.zarr"))


def test_other_formats_through_bioio(tmp_path: Path) -> None:
    pytest.importorskip("bioio")
    pytest.importorskip("bioio_imageio")
    PIL.Image.new("L", (6, 5), 9).save(tmp_path / "a.gif")
    image = convert([str(tmp_path / "a.gif")], str(tmp_path / "a.zarr"))
    assert image.axes == ("t", "c", "z", "y", "x")


_PEAK = """
import resource, sys
import numpy as np
import bigseg.io.convert as c
c._SLAB = 2**20
c.convert([sys.argv[1]], sys.argv[1] + ".zarr", axes="zyx", block=(16, 128, 128))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_is_flat(tmp_path: Path) -> None:
    peaks = []
    for depth in (16, 400):
        path = tmp_path / f"{depth}.npy"
        shape = (depth, 512, 512)
        np.lib.format.open_memmap(path, "w+", "u2", shape)[::16, ::64, ::64] = 1
        run = [sys.executable, "-c", _PEAK, str(path)]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    assert peaks[1] < peaks[0] + 40  # MiB; the larger image has 200


def test_zeiss_czi_keeps_voxels_channels_and_micrometres(tmp_path: Path) -> None:
    pytest.importorskip("bioio_czi")
    czi = pytest.importorskip("pylibCZIrw.czi")
    data = np.random.default_rng(0).integers(0, 4000, (2, 3, 40, 50)).astype(np.uint16)
    with czi.create_czi(str(tmp_path / "stack.czi")) as document:
        for c, z in np.ndindex(2, 3):
            document.write(data=data[c, z, ..., None], plane={"C": c, "Z": z, "T": 0})
        document.write_metadata(
            document_name="stack",
            channel_names={0: "DAPI", 1: "GFP"},
            scale_x=0.2e-6,
            scale_y=0.2e-6,
            scale_z=1e-6,
        )
    convert([str(tmp_path / "stack.czi")], str(tmp_path / "stack.zarr"))
    image = describe(str(tmp_path / "stack.zarr"))
    np.testing.assert_array_equal(open_image(image.url)[0], data)
    assert image.channels == ("DAPI", "GFP")
    np.testing.assert_allclose(image.levels[0].scale[-3:], (1.0, 0.2, 0.2), rtol=1e-6)
