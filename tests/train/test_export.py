"""What is exported computes what bigseg computes."""

from pathlib import Path

import torch

from bigseg.nets.cellpose_unet import CellposeUNet, widths_of
from bigseg.train.export import PUBLISHED_WIDTHS, main, widen


def narrow_net() -> CellposeUNet:
    torch.manual_seed(0)
    net = CellposeUNet((2, 4, 8, 12, 16))
    for name, value in net.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.copy_(torch.rand_like(value) + 0.5)
    return net.eval()


def test_a_widened_network_computes_the_same() -> None:
    narrow = narrow_net()
    wide = CellposeUNet(PUBLISHED_WIDTHS)
    wide.load_state_dict(widen(narrow.state_dict()))
    tiles = torch.randn(2, 2, 32, 48)
    with torch.inference_mode():
        expected, found = narrow(tiles), wide.eval()(tiles)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_file_is_a_plain_state_dict_of_the_published_widths(tmp_path: Path) -> None:
    torch.save(narrow_net().state_dict(), tmp_path / "narrow.pt")
    main(str(tmp_path / "narrow.pt"), tmp_path / "wide")
    state = torch.load(tmp_path / "wide", weights_only=True)
    assert widths_of(state) == PUBLISHED_WIDTHS
