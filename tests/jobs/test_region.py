"""Where nothing is looked for nothing is computed, and the rest does not depend on blocks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.io import imread

import bigseg
from bigseg.core.tiles import Tiling
from bigseg.errors import SpecError
from bigseg.io.convert import convert
from bigseg.jobs import segment as pipeline
from bigseg.run.folder import open_run
from bigseg.run.ledger import Ledger
from bigseg.stages import predict, report
from tests.worlds import agreement, make_image, read_labels, same_partition

SAMPLES = Path(bigseg.__file__).parent / "samples"
BACKGROUND = {"nuclei2d": (3, 1.5), "embryo3d": (100, 3)}
"""Mean and deviation of the dark of each sample."""


def labels_of(image: str, **settings: Any) -> np.ndarray:
    usual = {"model": "nuclei", "cluster": "serial"}
    return read_labels(pipeline.segment(image, **{**usual, **settings}).labels)


def told(image: str, name: str, step: str) -> dict[str, Any]:
    """What a step of a finished run says of itself."""
    run = open_run(f"{image}.{name}.bigseg")
    return Ledger.of(run, run.step(step)).finished() or {}


def plane(folder: Path) -> tuple[str, str, np.ndarray]:
    """Image, mask of a quarter of its resolution, and where that is not 0."""
    data = imread(SAMPLES / "nuclei2d.tif")[:192, :192]
    image = make_image(f"{folder}/plane.zarr", data, "yx", block=(1, 128, 128)).image.url
    mask = np.zeros((48, 48), np.uint8)
    mask[15:38, 8:30] = 3
    url = make_image(f"{folder}/mask.zarr", mask, "yx", scale=(4.0, 4.0)).image.url
    return image, url, np.kron(mask > 0, np.ones((4, 4), bool))


def test_a_masked_plane_is_the_same_in_all_blocks_and_empty_outside(tmp_path: Path) -> None:
    image, mask, inside = plane(tmp_path)
    whole = labels_of(image, name="whole", block=(192, 192), mask=mask)
    parts = labels_of(image, name="parts", block=(32, 48), mask=mask)
    assert whole.max() == 4
    assert not whole[0, 0][~inside].any()
    assert agreement(whole, parts) == 1
    assert (parts[0, 0][~inside] == 0).all()
    assert told(image, "parts", "label")["skipped"] == 12
    assert told(image, "whole", "label")["skipped"] == 0
    page = Path(report.url(f"{image}.parts.bigseg")).read_text()
    assert "predict: 0 of 1 blocks; label: 12 of 24 blocks" in page


def test_what_lies_well_inside_is_as_without_a_mask(tmp_path: Path) -> None:
    image, mask, inside = plane(tmp_path)
    everywhere, masked = labels_of(image, name="all"), labels_of(image, mask=mask)
    kept = np.unique(masked[0, 0])[1:]
    cut = np.unique(everywhere[0, 0][~inside])
    whole = np.where(np.isin(everywhere, cut), 0, everywhere)
    same = np.where(whole > 0, masked, 0)
    assert len(kept) >= len(np.unique(whole)) - 1 == 2
    assert agreement(whole, same, 0.9) == 1


def test_blocks_that_see_nothing_are_not_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bigseg.plans.lattice.LONGEST_BLOCK", {2: 64, 3: 448})
    monkeypatch.setattr("bigseg.plans.lattice.TILES_PER_BLOCK", {2: 1, 3: 1})
    image, mask, _ = plane(tmp_path)
    boxes, original = [], predict.read_image
    monkeypatch.setattr(
        predict, "read_image", lambda spec, box: boxes.append(box) or original(spec, box)
    )
    tiles, call = [], predict.Counting.__call__
    monkeypatch.setattr(
        predict.Counting, "__call__", lambda self, t: tiles.append(len(t)) or call(self, t)
    )
    masked = labels_of(image, mask=mask)
    assert told(image, "cells", "predict")["skipped_blocks"] == 3
    assert len(boxes) == len(tiles) == 9 - 3
    assert masked.any()


def test_tiles_of_a_block_that_see_nothing_are_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bigseg.plans.lattice.TILINGS", {2: Tiling(48, 8)})
    image, mask, _ = plane(tmp_path)
    everywhere = labels_of(image, name="all")
    masked = labels_of(image, mask=mask)
    computed = [told(image, name, "predict")["network_pixels"] for name in ("all", "cells")]
    assert computed[1] < 0.7 * computed[0]
    assert 0 < masked.max() < everywhere.max()


@pytest.mark.parametrize("block", [(16, 24, 24), (16, 16, 48)])
def test_a_masked_volume_is_the_same_in_all_blocks(tmp_path: Path, block: tuple[int, ...]) -> None:
    data = imread(SAMPLES / "embryo3d.tif")[16:28, 44:92, 34:82]
    image = make_image(f"{tmp_path}/volume.zarr", data, "zyx").image.url
    mask = np.zeros((48, 48), np.uint8)
    mask[:, 20:] = 1
    url = make_image(f"{tmp_path}/mask.zarr", mask, "yx").image.url
    whole = labels_of(image, name="whole", block=(48, 48, 48), mask=url)
    parts = labels_of(image, name="parts", block=block, mask=url)
    assert whole.any()
    assert not whole[..., :20].any()
    assert same_partition(whole, parts) or agreement(whole, parts, 0.9) == 1


@pytest.mark.parametrize("sample", ["nuclei2d", "embryo3d"])
def test_no_object_is_lost_where_background_is_skipped(tmp_path: Path, sample: str) -> None:
    data = imread(SAMPLES / f"{sample}.tif")
    data = data[:300, :300] if data.ndim == 2 else data[12:28, 20:100, 20:100]
    noise = np.random.default_rng(0).normal(*BACKGROUND[sample], (*data.shape[:-1], 300))
    data = np.concatenate([data, np.clip(noise, 0, None).astype(data.dtype)], -1)
    np.save(tmp_path / "image.npy", data)
    image = f"{tmp_path}/image.zarr"
    convert([f"{tmp_path}/image.npy"], image, axes="yx" if data.ndim == 2 else "zyx")
    everywhere = labels_of(image, name="all")
    skipping = labels_of(image, skip_background=True)
    assert told(image, "cells", "background")["kept_share"] < 0.85
    assert everywhere.any()
    assert (skipping == everywhere).all()


def test_a_mask_and_background_together_are_refused(tmp_path: Path) -> None:
    image, mask, _ = plane(tmp_path)
    with pytest.raises(SpecError, match="both say where to look; leave one"):
        labels_of(image, mask=mask, skip_background=True)
