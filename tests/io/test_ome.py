"""Reading NGFF metadata: what is understood, and the sentence for what is not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from bigseg.errors import ImageError, NotFound
from bigseg.io.ome import describe


def write_image(
    folder: Path, attributes: dict[str, Any], dtype: str = "uint8", format: int = 3
) -> str:
    """One level, two axes, any metadata."""
    group = zarr.open_group(folder, mode="w", zarr_format=format)
    group.create_array("0", shape=(4, 6), chunks=(2, 3), dtype=dtype)
    group.attrs.update(attributes)
    return str(folder)


def multiscale(**changes: Any) -> dict[str, Any]:
    scale = {"type": "scale", "scale": [2.0, 3.0]}
    return {
        "axes": [{"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x"}],
        "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        **changes,
    }


def ome(**changes: Any) -> dict[str, Any]:
    return {"ome": {"version": "0.5", "multiscales": [multiscale(**changes)]}}


def test_an_image_is_described(tmp_path: Path) -> None:
    image = describe(write_image(tmp_path / "a.zarr", ome()))
    assert (image.version, image.axes, image.dtype, image.name) == (
        "0.5",
        ("y", "x"),
        np.dtype("u1"),
        "a.zarr",
    )
    assert image.units == {"y": "micrometer"}
    assert image.levels[0].shape == (4, 6)
    assert image.levels[0].chunks == image.levels[0].unit == (2, 3)
    assert image.levels[0].scale == (2.0, 3.0)
    assert image.levels[0].translation == (0.0, 0.0)


def test_version_04_is_read_from_zarr_v2(tmp_path: Path) -> None:
    attributes = {"multiscales": [{"version": "0.4", **multiscale()}]}
    assert describe(write_image(tmp_path, attributes, ">u2", 2)).dtype == np.dtype(">u2")


def test_transformations_of_level_and_image_are_chained(tmp_path: Path) -> None:
    whole = [
        {"type": "scale", "scale": [10.0, 1.0]},
        {"type": "translation", "translation": [0.5, 0.0]},
    ]
    steps = [
        {"type": "scale", "scale": [2.0, 3.0]},
        {"type": "translation", "translation": [1.0, 4.0]},
    ]
    datasets = [{"path": "0", "coordinateTransformations": steps}]
    url = write_image(tmp_path, ome(datasets=datasets, coordinateTransformations=whole))
    assert describe(url).levels[0].scale == (20.0, 3.0)
    assert describe(url).levels[0].translation == (10.5, 4.0)


def test_channels_are_found_by_name_and_number(tmp_path: Path) -> None:
    attributes = ome()
    attributes["ome"]["omero"] = {"channels": [{"label": "DAPI"}]}
    image = describe(write_image(tmp_path, attributes))
    assert (image.channel("DAPI"), image.channel(0), image.channel("0")) == (0, 0, 0)
    with pytest.raises(NotFound, match=r"no channel 'GFP'; it has channels 0 to 0 \(DAPI\)"):
        image.channel("GFP")


def test_levels_are_listed_when_one_is_missing(tmp_path: Path) -> None:
    image = describe(write_image(tmp_path, ome()))
    with pytest.raises(NotFound, match=r"no level 3; it has 0 \(4, 6\)"):
        image.level(3)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"There is nothing at .*gone\.zarr"):
        describe(str(tmp_path / "gone.zarr"))


def test_not_a_zarr(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*")
    for url in (tmp_path, tmp_path / "a.tif"):
        with pytest.raises(ImageError, match=r"is not a zarr .*'bigseg convert'"):
            describe(str(url))


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({}, r"group without multiscales metadata.* it holds 0\."),
        ({"ome": {"plate": {"wells": [{"path": "B/3"}]}}}, r"is a plate .* example .*/B/3/0\."),
        ({"plate": {}}, r"is a plate .* example .*/A/1/0\."),
        ({"ome": {"well": {"images": [{"path": "0"}]}}}, r"is a well; .*: 0\."),
        ({"ome": {"labels": ["cells", "nuclei"]}}, r"name one of them: cells, nuclei\."),
        ({"bioformats2raw.layout": 3}, r"series of images; .*/0\."),
        ({"ome": {"version": "0.6", "multiscales": [{}]}}, r"says it is NGFF 0\.6 in zarr v3"),
        ({"multiscales": [{"version": "0.2"}]}, r"says it is NGFF 0\.2"),
        ({"multiscales": [{"version": "0.4"}]}, r"says it is NGFF 0\.4 in zarr v3; .* in zarr v2"),
        ({"ome": {"multiscales": ["x"]}}, r"must be a list of objects, not \['x'\]"),
        (ome(axes=["y", "x"]), r"no list of axes with names"),
        (ome(axes=[{"name": "y"}, {"name": "λ"}]), r"axes of .* are y, λ; bigseg needs y and x"),
        (ome(axes=[{"name": "x"}, {"name": "x"}]), r"are x, x; .* each only once"),
        (ome(axes=[{"name": a} for a in "zyx"]), r"has 2 dimensions, but .* 3 axes \(z, y, x\)"),
        (ome(datasets=[]), r"name no datasets"),
    ],
)
def test_what_is_no_image_is_named(
    tmp_path: Path, attributes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ImageError, match=sentence):
        describe(write_image(tmp_path, attributes))


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"type": "scale", "scale": [1.0]}, r"scale \[1\.0\] of .* must have 2 values"),
        ({"type": "affine", "affine": []}, r"coordinate transformation of .* is .*affine"),
        ({"type": "scale", "path": "s"}, r"with their values in place"),
    ],
)
def test_wrong_transformations(tmp_path: Path, step: dict[str, Any], sentence: str) -> None:
    datasets = [{"path": "0", "coordinateTransformations": [step]}]
    with pytest.raises(ImageError, match=sentence):
        describe(write_image(tmp_path, ome(datasets=datasets)))


def test_missing_level_array_lists_those_there(tmp_path: Path) -> None:
    url = write_image(tmp_path, ome(datasets=[{"path": "0"}, {"path": "1"}]))
    with pytest.raises(NotFound, match=r"level\(s\) 1, which are missing; these exist: 0\."):
        describe(url)


@pytest.mark.parametrize(("dtype", "name"), [("complex64", "complex numbers"), ("<U3", "strings")])
def test_only_numbers(tmp_path: Path, dtype: str, name: str) -> None:
    attributes = {"multiscales": [{"version": "0.4", **multiscale()}]}
    url = write_image(tmp_path, attributes, dtype, 2)
    with pytest.raises(ImageError, match=rf"holds {name} .* needs integers, floats or booleans"):
        describe(url)


def test_a_plain_array_leads_to_convert_or_to_its_image(tmp_path: Path) -> None:
    url = write_image(tmp_path / "a.zarr", ome())
    with pytest.raises(ImageError, match=r"belongs to the image .*a\.zarr: .* level '0'"):
        describe(f"{url}/0")
    zarr.create_array(tmp_path / "plain", shape=(3, 4), dtype="u1")
    with pytest.raises(ImageError, match=r"plain zarr array \(3, 4\) uint8 .* 'bigseg convert"):
        describe(str(tmp_path / "plain"))


@pytest.mark.parametrize(("text", "sentence"), [("{", "is not JSON"), ("[]", "no JSON object")])
def test_damaged_metadata(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(ImageError, match=rf"zarr\.json .*{sentence}.*damaged"):
        describe(str(tmp_path))


def test_damaged_array_metadata(tmp_path: Path) -> None:
    url = write_image(tmp_path, ome())
    meta = json.loads((tmp_path / "0" / "zarr.json").read_text())
    meta["codecs"] = [{"name": "unheard_of"}]
    (tmp_path / "0" / "zarr.json").write_text(json.dumps(meta))
    with pytest.raises(ImageError, match=r"/0 cannot be opened .*unheard_of"):
        describe(url)


def test_unknown_protocol() -> None:
    with pytest.raises(ImageError, match="Protocol not known: nowhere"):
        describe("nowhere://bucket/a.zarr")
