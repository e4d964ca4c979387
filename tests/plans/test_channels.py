"""Channels as people name them, in the order in which models want them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg.errors import NotFound, SpecError
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.nets import weights
from bigseg.plans.channels import resolve_channels

ONE = weights.Model("one", "", "Cellpose residual U-Net", 1, (), 3, "flows", 30.0, 30.0, 0.0)
TWO = replace(ONE, name="two", channels=2)
CYTO = replace(TWO, name="cyto9", roles=("cells", "nuclei"))
SAM = replace(ONE, name="sam", kind="Cellpose-SAM", channels=3, tile=256, any_channels=True)
PUBLISHED_SAM = replace(SAM, name="cpsam", roles=("any", "any", "any"))
FUNCTION = replace(ONE, name="a:b", kind="function", channels=64)


@pytest.fixture
def three(tmp_path: Path) -> Volume:
    return image(tmp_path, "DAPI", "actin", "tubulin")


def image(folder: Path, *names: str, count: int = 3) -> Volume:
    plan = plan_image(
        f"{folder}/image.zarr", tuple("cyx"), (count, 8, 8), np.uint8, (1.0,) * 3, (1, 8, 8), "0.5"
    )
    create_image(replace(plan, channels=names))
    return Volume.open(plan.url)


@pytest.mark.parametrize(
    ("wanted", "model", "expected"),
    [
        (("2", "0"), CYTO, (2, 0)),
        ((2, 0), CYTO, (2, 0)),
        (("actin", "DAPI"), CYTO, (1, 0)),
        (("actin", "0"), CYTO, (1, 0)),
        (("cyto=2", "nuclei=0"), CYTO, (2, 0)),
        (("nuclei=0", "cyto=2"), CYTO, (2, 0)),
        (("Nucleus=DAPI", "membrane=actin"), CYTO, (1, 0)),
        (("nuclei=0", "cells=1"), TWO, (1, 0)),
        (("cyto=1",), CYTO, (1,)),
        (("nuclei=0",), ONE, (0,)),
        (("cyto=1",), ONE, (1,)),
        (("nuclei=0", "cyto=2", "other=1"), SAM, (0, 2, 1)),
        (("2", "1", "0"), PUBLISHED_SAM, (2, 1, 0)),
        (("rgb",), SAM, (0, 1, 2)),
        (("RGB",), FUNCTION, (0, 1, 2)),
        (None, ONE, (0,)),
        (None, CYTO, (0,)),
        (None, FUNCTION, (0,)),
        (None, SAM, (0, 1, 2)),
        (None, PUBLISHED_SAM, (0, 1, 2)),
        ((), CYTO, (0,)),
    ],
)
def test_channels_come_in_the_order_of_the_model(
    three: Volume, wanted: Any, model: weights.Model, expected: tuple[int, ...]
) -> None:
    assert resolve_channels(wanted, three, model) == (expected, False)


@pytest.mark.parametrize("wanted", ["grey", "gray", "Grey"])
def test_grey_is_all_channels_for_any_model(three: Volume, wanted: str) -> None:
    assert resolve_channels((wanted,), three, ONE) == ((0, 1, 2), True)


def test_grey_of_one_channel_is_that_channel(tmp_path: Path) -> None:
    assert resolve_channels(("grey",), image(tmp_path, count=1), CYTO) == ((0,), False)


@pytest.mark.parametrize(("count", "shown"), [(1, (0,)), (2, (0, 1)), (5, (0, 1, 2))])
def test_cellpose_sam_is_shown_up_to_three(
    tmp_path: Path, count: int, shown: tuple[int, ...]
) -> None:
    assert resolve_channels(None, image(tmp_path, count=count), SAM) == (shown, False)


def test_a_channel_may_be_called_grey(tmp_path: Path) -> None:
    named = image(tmp_path, "rgb", "grey", "0")
    assert resolve_channels(("grey",), named, ONE) == ((1,), False)
    assert resolve_channels(("rgb",), named, ONE) == ((0,), False)


def test_the_bundled_model_knows_what_it_is_shown(three: Volume) -> None:
    nuclei = weights.describe("nuclei")
    assert resolve_channels(("nuclei=DAPI",), three, nuclei) == ((0,), False)
    with pytest.raises(SpecError, match="no channel for 'cyto'; it is shown nuclei"):
        resolve_channels(("cyto=0",), three, nuclei)
    with pytest.raises(SpecError, match=r"takes 1 channel\(s\) \(nuclei\), but 2 are given"):
        resolve_channels((0, 1), three, nuclei)


@pytest.mark.parametrize(
    ("wanted", "model", "error", "message"),
    [
        ("3", ONE, NotFound, r"no channel '3'; it has channels 0 to 2 \(DAPI, actin, tubulin\)"),
        ("GFP", ONE, NotFound, r"no channel 'GFP'; .*\(DAPI, actin, tubulin\)"),
        ("-1", ONE, NotFound, "no channel '-1'"),
        ("", ONE, NotFound, "no channel ''"),
        ("cyto=9", CYTO, NotFound, "no channel '9'; it has channels 0 to 2"),
        ("cyto=1,nuclei=actin2", CYTO, NotFound, "no channel 'actin2'"),
        ("0,1", ONE, SpecError, r"'one' takes 1 channel\(s\), but 2 are given: 0, 1"),
        ("rgb", CYTO, SpecError, r"takes 2 channel\(s\) \(cells, nuclei\), but 3 are given"),
        ("a=0,b=1,c=2,d=0", SAM, SpecError, r"'sam' takes 3 channel\(s\), but 4 are given"),
        ("cyto=0,1", CYTO, SpecError, "mixes '1' with role=channel; name the role of every"),
        ("cyto=", CYTO, SpecError, "mixes 'cyto=' with role=channel"),
        ("mito=0", CYTO, SpecError, "no channel for 'mito'; it is shown cells, nuclei"),
        ("cyto=0,cells=1", CYTO, SpecError, "names the cells of model 'cyto9' twice"),
        ("a=0,a=1", SAM, SpecError, "names the a of model 'sam' twice"),
        ("nuclei=0", CYTO, SpecError, "must be shown cells first; add cells=CHANNEL"),
        ("grey,0", CYTO, NotFound, "no channel 'grey'"),
    ],
)
def test_what_does_not_fit_is_refused(
    three: Volume, wanted: str, model: weights.Model, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        resolve_channels(tuple(wanted.split(",")), three, model)


def test_rgb_of_two_channels_is_refused_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no channel '2'; it has channels 0 to 1"):
        resolve_channels(("rgb",), image(tmp_path, count=2), SAM)
