"""Weights are found, checked and become the network they were saved from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bigseg.errors import NotFound, WeightsError
from bigseg.nets import network, weights
from bigseg.nets.cellpose_unet import CellposeUNet

NARROW = (2, 4, 8, 8, 8)


def saved(folder: Path, **changed: torch.Tensor) -> str:
    torch.manual_seed(0)
    state = {**CellposeUNet(NARROW).state_dict(), **changed}
    torch.save(state, folder / "net.pt")
    return str(folder / "net.pt")


def test_a_saved_network_comes_back_and_runs(tmp_path: Path) -> None:
    url = saved(tmp_path)
    net = network.load(url, weights.digest(url))
    assert net.module.widths == NARROW
    outputs = net(np.zeros((1, 1, 16, 24), np.float32))
    assert outputs.shape == (1, 3, 16, 24)
    assert outputs.dtype == np.float32


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    url = saved(tmp_path, **{"output.2.bias": torch.zeros(7)})
    with pytest.raises(WeightsError, match=r"'output.2.bias' has shape \(7,\)"):
        network.build(network.read_state(url), url)


def test_a_strange_key_is_named(tmp_path: Path) -> None:
    url = saved(tmp_path, strange=torch.zeros(1))
    with pytest.raises(WeightsError, match="holds the key 'strange'"):
        network.build(network.read_state(url), url)


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="is not a file of weights"):
        network.read_state(str(tmp_path / "net.pt"))


def test_weights_that_change_under_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="has changed since the run was planned"):
        network.load(saved(tmp_path), "0" * 64)


def test_an_unknown_model_is_told_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"a name like .*nuclei"):
        weights.locate("nucleus")


class Small(torch.nn.Module):
    """Runs out of memory beyond two tiles."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return x.sum(1, keepdim=True).repeat(1, 3, 1, 1)


def test_where_memory_runs_out_fewer_tiles_are_computed_at_once() -> None:
    net = network.TorchNet(Small(), 1, 3, False, "cpu", False)
    tiles = np.random.default_rng(0).random((7, 1, 16, 16), np.float32)
    np.testing.assert_array_equal(net(tiles)[:, 0], tiles[:, 0])


def test_one_tile_that_does_not_fit_is_an_error() -> None:
    class Never(Small):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("out of memory")

    net = network.TorchNet(Never(), 1, 3, False, "cpu", False)
    with pytest.raises(torch.OutOfMemoryError):
        net(np.zeros((4, 1, 16, 16), np.float32))
