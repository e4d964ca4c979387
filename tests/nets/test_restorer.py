"""A restoring network is loaded from its file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bigseg.errors import WeightsError
from bigseg.nets import network, restorer, weights
from bigseg.nets.cellpose_unet import CellposeUNet


def saved(folder: Path) -> str:
    torch.manual_seed(0)
    net = CellposeUNet((1, 4, 8, 8, 16), 1)
    torch.save(net.state_dict(), folder / "net.pt")
    return str(folder / "net.pt")


def test_it_gives_what_the_network_gives_in_single_precision(tmp_path: Path) -> None:
    url = saved(tmp_path)
    net = restorer.load(url, weights.digest(url), single=True)
    tiles = np.random.default_rng(0).random((2, 1, 16, 24), np.float32)
    with torch.inference_mode():
        expected = net.module(torch.from_numpy(tiles)).numpy()
    result = net(tiles)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_half_precision_between_the_layers_leaves_more_than_its_own_grey_levels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "prefers_half", lambda _: True)
    url = saved(tmp_path)
    half = restorer.load(url, weights.digest(url))
    assert half.module.upsample.up.res_up_0.proj[1].weight.dtype == torch.bfloat16
    tiles = 1 + np.random.default_rng(0).random((2, 1, 64, 64), np.float32)
    exact = restorer.load(url, weights.digest(url), single=True)(tiles)
    result = half(tiles)
    assert result.dtype == np.float32
    assert len(np.unique(result)) > result.size / 2  # bfloat16 has 128 levels from 1 to 2
    assert 0 < np.sqrt(np.mean((result - exact) ** 2)) < 0.01 * np.abs(exact).mean()


def test_a_processor_that_is_slow_in_half_precision_restores_in_single(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "prefers_half", lambda _: False)
    url = saved(tmp_path)
    net = restorer.load(url, weights.digest(url))
    assert {value.dtype for value in net.module.parameters()} == {torch.float32}


def test_weights_that_change_under_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has changed since the run was planned"):
        restorer.load(saved(tmp_path), "0" * 64)
