"""What others write is read, and what is written here others read."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg.io.arrays import open_image, open_labels
from bigseg.io.convert import convert
from bigseg.io.create import create_image
from bigseg.io.labels import create_labels, label_names
from bigseg.io.ome import describe
from bigseg.io.plan import plan_image, plan_labels
from bigseg.io.validate import validate
from bigseg.io.volume import Volume

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.filterwarnings("ignore")  # those of the other library
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_written_by_ome_zarr(tmp_path: Path, version: str) -> None:
    writer = pytest.importorskip("ome_zarr.writer")
    import zarr
    from ome_zarr.format import FormatV04, FormatV05

    fmt = {"0.4": FormatV04, "0.5": FormatV05}[version]()
    data = np.arange(2 * 64 * 70, dtype="u2").reshape(2, 64, 70)
    group = zarr.open_group(tmp_path, mode="w", zarr_format=fmt.zarr_format)
    writer.write_image(data, group, axes="cyx", fmt=fmt, scale_factors=[2])
    writer.write_labels(data[0] % 7, group, "cells", axes="yx", fmt=fmt, scale_factors=[2])
    image = describe(str(tmp_path))
    assert (image.version, image.axes) == (version, ("c", "y", "x"))
    np.testing.assert_array_equal(open_image(str(tmp_path)).values, data)
    np.testing.assert_array_equal(open_labels(str(tmp_path)).values, data[0] % 7)
    shapes = [level.shape for level in plan_labels(image, "n", "u4", (1, 64, 64)).levels]
    assert shapes == [level.shape[1:] for level in image.levels]
    create_labels(plan_labels(image, f"{tmp_path}/labels/ours", "u4", (1, 64, 64)))
    assert label_names(str(tmp_path)) == ["cells", "ours"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_images_read_by_ome_zarr(tmp_path: Path, version: str) -> None:
    pytest.importorskip("ome_zarr")
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    plan = plan_image(str(tmp_path), ("y", "x"), (600, 300), "u2", (1, 1), (1, 64, 64), version)
    create_image(plan)
    create_labels(plan_labels(plan, f"{tmp_path}/labels/cells", "u4", (1, 64, 64)))
    ids = np.arange(600 * 300, dtype="u4").reshape(1, 1, 600, 300)
    box = tuple(slice(0, n) for n in ids.shape)
    Volume.open(f"{tmp_path}/labels/cells").write(box, ids)
    nodes = list(Reader(parse_url(str(tmp_path)))())
    found = {Path(str(node.zarr)).name: node for node in nodes}
    assert len(nodes) == 3  # the image, the list of labels, the labels
    assert [level.shape for level in nodes[0].data] == [(600, 300), (300, 150), (150, 75)]
    assert any(node.data and node.data[0].max().compute() == ids.max() for node in found.values())


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "bbbc050_mouse_embryo_nuclei/test/Emb09_t401_mask.tif",
        "dsb2018_fluo/test/0039_img.tif",
        "dsb2018_histology/test/0014_img.tif",
        "vnc_sstem/test/vnc_b_img.tif",
        "epidermis_tracking_labels/train/TRA/man_track011.tif",
    ],
)
def test_real_files(tmp_path: Path, name: str) -> None:
    if not (SHARED / name).exists():
        pytest.skip("the development data are not beside this checkout")
    image = convert([str(SHARED / name)], str(tmp_path / "a.zarr"))
    expected = tifffile.imread(SHARED / name)
    if image.channels:
        expected = expected.transpose(2, 0, 1)
    np.testing.assert_array_equal(open_image(image.url).values, expected)
    assert validate(image.url) == []
