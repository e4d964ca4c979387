"""A restoring network is loaded from its file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bigseg.errors import WeightsError
from bigseg.nets import restorer, weights
from bigseg.nets.cellpose_unet import CellposeUNet


def saved(folder: Path) -> str:
    torch.manual_seed(0)
    net = CellposeUNet((1, 4, 8, 8, 16), 1)
    torch.save(net.state_dict(), folder / "net.pt")
    return str(folder / "net.pt")


def test_it_gives_what_the_network_gives_in_single_precision(tmp_path: Path) -> None:
    url = saved(tmp_path)
    net = restorer.load(url, weights.digest(url))
    tiles = np.random.default_rng(0).random((2, 1, 16, 24), np.float32)
    with torch.inference_mode():
        expected = net.module(torch.from_numpy(tiles)).numpy()
    result = net(tiles)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_weights_that_change_under_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has changed since the run was planned"):
        restorer.load(saved(tmp_path), "0" * 64)
