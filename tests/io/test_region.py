"""A mask of any resolution lies over the image where its coordinates say."""

import json
from pathlib import Path

import numpy as np
import pytest

from bigseg.errors import BigsegError, ImageError, NotFound, SpecError
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.region import Region, region_of
from bigseg.io.volume import Volume
from tests.worlds import make_image


def box(*stops: int) -> tuple[slice, ...]:
    return tuple(slice(0, n) for n in stops)


def image(folder: Path, axes: str = "yx", shape: tuple[int, ...] = (8, 12)) -> Volume:
    return make_image(f"{folder}/image.zarr", np.zeros(shape, np.uint8), axes)


def mask(folder: Path, data: np.ndarray, axes: str = "yx", **how: object) -> str:
    return make_image(f"{folder}/mask.zarr", data, axes, **how).image.url  # type: ignore[arg-type]


def laid(folder: Path, data: np.ndarray, **how: object) -> Region:
    return region_of(mask(folder, data, **how), image(folder))


def test_a_coarse_mask_covers_the_voxels_below_each_of_its_own(tmp_path: Path) -> None:
    data = np.array([[1, 0, 0], [0, 0, 7]], np.uint16)
    region = laid(tmp_path, data, scale=(4.0, 4.0))
    expected = np.kron(data > 0, np.ones((4, 4), bool))
    assert (region.read(box(1, 1, 8, 12))[0] == expected).all()
    part = (slice(0, 1), slice(0, 1), slice(3, 6), slice(7, 11))
    assert (region.read(part)[0] == expected[3:6, 7:11]).all()
    assert region.touches((*box(1, 1), slice(3, 4), slice(3, 4)))
    assert not region.touches((*box(1, 1), slice(4, 8), slice(0, 8)))


def test_a_finer_mask_is_read_where_the_centres_of_voxels_lie(tmp_path: Path) -> None:
    data = np.zeros((24, 36), np.uint8)
    data[1::3, 1::3] = 1  # centres, and nothing else
    region = laid(tmp_path, data, scale=(1 / 3, 1 / 3))
    assert region.read(box(1, 1, 8, 12)).all()


def test_a_level_of_an_image_lies_as_its_translation_says(tmp_path: Path) -> None:
    plan = plan_image(
        f"{tmp_path}/m", ("y", "x"), (1024, 1024), "uint8", (0.25, 0.25), (1, 256, 256)
    )
    create_image(plan)
    coarse = Volume(plan, 1)
    voxels = np.zeros((1, *coarse.shape[2:]), np.uint8)
    voxels[0, 0, 0, 2] = 1
    coarse.write(tuple(slice(0, n) for n in voxels.shape), voxels)
    only = plan.levels[1]
    image = Volume.open(plan.url)
    region = Region(
        url=f"{plan.url}/{only.path}", axes="yx", shape=only.shape,
        origin=(0.0, 0.25, 0.25), step=(0.0, 0.5, 0.5),
    )  # fmt: skip
    there = np.argwhere(region.read(box(1, 1, *image.shape[3:]))[0])
    assert there.min(0).tolist() == [0, 4]
    assert there.max(0).tolist() == [1, 5]


def test_a_plane_holds_for_all_planes_and_frames(tmp_path: Path) -> None:
    volume = image(tmp_path, "tzyx", (2, 3, 4, 4))
    region = region_of(mask(tmp_path, np.eye(4, dtype=np.uint8)), volume)
    for frame in (0, 1):
        found = region.read((slice(frame, frame + 1), *box(3, 4, 4)))
        assert (found == np.eye(4, dtype=bool)).all()


def test_frames_have_masks_of_their_own(tmp_path: Path) -> None:
    volume = image(tmp_path, "tyx", (2, 4, 4))
    data = np.stack([np.eye(4), 1 - np.eye(4)]).astype(np.uint8)
    region = region_of(mask(tmp_path, data, axes="tyx"), volume)
    found = [region.read((slice(t, t + 1), *box(1, 4, 4)))[0] for t in (0, 1)]
    assert (np.stack(found) == (data > 0)).all()


def test_masks_of_true_and_false_serve(tmp_path: Path) -> None:
    assert laid(tmp_path, np.ones((8, 12), bool)).read(box(1, 1, 8, 12)).all()


WRONG = [
    (np.zeros((8, 12), np.uint8), {}, SpecError, "is 0 everywhere, so there is nothing"),
    (np.ones((8, 12), np.float32), {}, ImageError, "holds float32, of which nobody can say"),
    (np.ones((8, 6), np.uint8), {}, SpecError, "not cover the same as the image along x: .* 6, "),
    (np.ones((1, 8, 12), np.uint8), {"axes": "cyx"}, ImageError, "labels are integers without"),
    (np.ones((3, 8, 12), np.uint8), {"axes": "tyx"}, SpecError, "has 3 frames and .* has 1; give"),
]


@pytest.mark.parametrize(("data", "how", "kind", "message"), WRONG)
def test_what_is_no_mask_of_the_image_is_refused(
    tmp_path: Path, data: np.ndarray, how: dict[str, str], kind: type[BigsegError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        laid(tmp_path, data, **how)


def test_a_mask_beside_the_image_is_refused(tmp_path: Path) -> None:
    url = mask(tmp_path, np.ones((8, 12), np.uint8))
    path = Path(url) / "zarr.json"
    node = json.loads(path.read_text())
    transforms = node["attributes"]["ome"]["multiscales"][0]["datasets"][0]
    transforms["coordinateTransformations"].append({"type": "translation", "translation": [0, 50]})
    path.write_text(json.dumps(node))
    with pytest.raises(SpecError, match=r"does not overlap the image along x: .* from 49\.5 "):
        region_of(url, image(tmp_path))


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is nothing at"):
        region_of(f"{tmp_path}/none.zarr", image(tmp_path))
