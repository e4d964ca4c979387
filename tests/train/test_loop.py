"""Training lowers the loss, writes what it promises, and goes on from weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg.nets.network import load
from bigseg.nets.weights import describe, digest
from bigseg.train import loop
from bigseg.train.data import Source
from bigseg.train.loop import Settings, train


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    y, x = np.indices((64, 64))
    mask = ((y % 16 - 8) ** 2 + (x % 16 - 8) ** 2 < 30).astype(np.uint16)
    mask *= (1 + (y // 16) * 4 + x // 16).astype(np.uint16)
    (tmp_path / "set").mkdir()
    for n in range(2):
        tifffile.imwrite(tmp_path / "set" / f"{n}_img.tif", ((mask > 0) * 200).astype(np.uint8))
        tifffile.imwrite(tmp_path / "set" / f"{n}_mask.tif", mask)
    monkeypatch.setattr(loop, "SOURCES", (Source("set", 1.0),))
    return tmp_path


def curve(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]


def test_training_learns_and_its_weights_load(data: Path, tmp_path: Path) -> None:
    settings = Settings(widths=(2, 4, 8, 8, 8), steps=30, batch=2, crop=48, held_out=2)
    train(data, tmp_path / "out", settings)
    rows = curve(tmp_path / "out")
    assert rows[-1]["step"] == 30
    first = rows[-1]["train"]
    weights = str(tmp_path / "out" / "weights.safetensors")
    assert load(weights, digest(weights)).channels == 2
    assert describe(weights).usual_diameter > 5
    train(data, tmp_path / "more", settings, Path(weights))
    more = curve(tmp_path / "more")
    assert more[-1]["train"] < first
