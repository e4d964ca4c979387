"""What maps and settings do not fit each other is refused before anything is written."""

from pathlib import Path

import numpy as np
import pytest

from bigseg.errors import BigsegError, SpecError
from bigseg.plans.maps import plan_em
from bigseg.specs.maps import EmSpec
from bigseg.specs.segment import parse_as
from tests.worlds import make_image

LONG = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -9))


def stored(folder: Path, count: int = 4, dtype: str = "u1", scale: tuple = (1, 4, 1, 1)) -> str:
    url = str(folder / "maps.zarr")
    make_image(url, np.zeros((count, 20, 40, 40), dtype), "czyx", scale)
    return url


def steps(folder: Path, **settings):
    image = stored(folder, settings.pop("count", 4), settings.pop("dtype", "u1"))
    spec = EmSpec(image=image, **{"source": "boundaries", **settings})
    return plan_em(spec, str(folder / "run"))


def test_steps_lead_from_maps_to_a_label_image(tmp_path: Path) -> None:
    names = [step.name for step in steps(tmp_path)]
    assert names[:5] == ["supervoxels", "regions", "components", "solve", "objects"]
    assert "write" in names
    assert names[-3:] == ["publish", "seams", "report"]


def test_the_halo_is_as_long_along_z_as_along_x(tmp_path: Path) -> None:
    pieces = steps(tmp_path, halo=24, block=(16, 32, 32))[0].spec
    assert pieces.block == (1, 16, 32, 32)
    assert pieces.halo == (0, 6, 24, 24)
    assert pieces.spacing == (4, 1, 1)
    assert pieces.reach == 6


def test_slices_need_no_halo_along_z(tmp_path: Path) -> None:
    assert steps(tmp_path, slices=True, block=(32, 32))[0].spec.halo == (0, 0, 64, 64)


def test_a_plane_is_cut_into_planes(tmp_path: Path) -> None:
    make_image(str(tmp_path / "flat.zarr"), np.zeros((30, 40), np.float32), "yx")
    spec = EmSpec(image=str(tmp_path / "flat.zarr"), source="boundaries")
    pieces = plan_em(spec, str(tmp_path / "run"))[0].spec
    assert (pieces.ndim, pieces.block, pieces.halo) == (2, (1, 1, 1024, 1024), (0, 0, 64, 64))


def test_channels_of_affinities_are_those_of_the_offsets(tmp_path: Path) -> None:
    pieces = steps(tmp_path, source="affinities")[0].spec
    assert pieces.maps.channels == (0, 1, 2)
    assert len(pieces.maps.offsets) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "u2"}, r"maps.zarr holds uint16; maps are uint8"),
        ({"offsets": LONG}, r"Offsets and the mutex watershed are for affinities"),
        ({"method": "mutex-watershed"}, r"Offsets and the mutex watershed are for affinities"),
        ({"channels": (0, 1)}, r"2 channels are given for 1 map"),
        ({"channels": (7,)}, r"7"),
        ({"source": "affinities", "count": 2}, r"has 2 channel\(s\), but there are 3 offsets"),
        ({"source": "affinities", "method": "mutex-watershed"}, r"needs affinities of direct"),
        ({"source": "affinities", "offsets": LONG, "channels": (1,)}, r"1 channels .* 4 map"),
        (
            {"source": "affinities", "offsets": (*LONG[:3], (0, 0, -35)), "block": (16, 16)},
            r"larger",
        ),
        ({"block": (16,)}, r"--block \(16,\) must be two numbers"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(BigsegError, match=message):
        steps(tmp_path, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "flows"}, r"'source' is 'flows'"),
        ({"source": "affinities", "offsets": ((0, 0, 0), (0, 0, 1))}, r"leads nowhere"),
        ({"source": "affinities", "offsets": ((0, 0, 2),)}, r"one offset at least must lead"),
        ({"source": "boundaries", "beta": 1.0}, r"'beta' is 1.0"),
    ],
)
def test_what_makes_no_sense_is_named(settings: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_as(EmSpec, {"image": "maps.zarr", **settings})
