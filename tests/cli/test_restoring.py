"""`bigseg restore` reads its options, does what they say, and tells of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from bigseg.cli import restoring
from bigseg.errors import SpecError
from bigseg.io.ome import describe
from bigseg.nets.cellpose_unet import CellposeUNet
from tests.worlds import make_image

app = typer.Typer(pretty_exceptions_enable=False)
restoring.add_to(app)
app.callback()(lambda: None)


@pytest.fixture
def places(tmp_path: Path) -> list[str]:
    """Image, output and options that name a model."""
    torch.manual_seed(0)
    net = CellposeUNet((1, 4, 8, 8, 16), 1)
    torch.save(net.state_dict(), tmp_path / "upsample_x.pt")
    noise = np.random.default_rng(0).integers(0, 99, (2, 40, 50), np.uint8)
    make_image(str(tmp_path / "image.zarr"), noise, "cyx")
    paths = [str(tmp_path / name) for name in ("image.zarr", "out.zarr", "upsample_x.pt")]
    return [*paths[:2], "--model", paths[2]]


def restore(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["restore", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_result_is_told_as_json(places: list[str]) -> None:
    options = ("--diameter", "20", "--channels", "1", "--cluster", "serial", "--json")
    found = json.loads(restore(*places, *options))
    assert found["image"] == places[1]
    assert found["shape"] == [1, 1, 1, 60, 75]
    assert describe(places[1]).dtype == np.uint8


def test_the_plan_is_shown_and_nothing_is_done(places: list[str]) -> None:
    text = restore(*places, "--no-enlarge", "--values", "network", "--dry-run")
    row = next(line for line in text.splitlines() if line.startswith("restore"))
    assert row.split()[1] == "1"
    assert row.endswith("1, 1, 40, 50")
    assert not Path(places[1]).exists()


def test_a_mistake_is_a_sentence(places: list[str]) -> None:
    with pytest.raises(SpecError, match="'values' is 'best'"):
        restore(*places, "--values", "best", "--dry-run")
    with pytest.raises(SpecError, match="give it with --diameter"):
        restore(*places)
