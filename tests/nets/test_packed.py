"""Packed layers give what the layers give that they stand for."""

import pytest
import torch
from torch import Tensor, nn

from bigseg.nets import packed
from bigseg.nets.cellpose_dino import CellposeDino
from bigseg.nets.cellpose_dino import Sizes as DinoSizes
from bigseg.nets.cellpose_sam import CellposeSam, Sizes
from bigseg.nets.network import prefers_half
from bigseg.nets.packed import PackedLinear, gelu_of, pack
from bigseg.nets.rotary_attention import QueriesKeysValues

pytestmark = pytest.mark.skipif(
    not (packed.can_pack() and prefers_half("cpu")), reason="nothing is packed here"
)
ROUNDING = 2**-8
"""Of bfloat16, relative."""


def given(inputs: int = 64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 5, inputs, dtype=torch.bfloat16)


def exact(layer: nn.Linear, x: Tensor) -> Tensor:
    return nn.functional.linear(x.double(), layer.weight.double(), layer.bias.double())


@torch.inference_mode()
def test_a_packed_layer_rounds_once() -> None:
    layer = nn.Linear(64, 48, dtype=torch.bfloat16)
    found, wanted = PackedLinear(layer)(given()), exact(layer, given())
    assert found.dtype == torch.bfloat16
    assert ((found - wanted).abs() <= ROUNDING * wanted.abs() + 1e-6).all()


@torch.inference_mode()
def test_what_follows_a_packed_layer_is_part_of_it() -> None:
    layer = nn.Linear(64, 48, dtype=torch.bfloat16)
    wanted = nn.functional.gelu(exact(layer, given()))
    torch.testing.assert_close(
        gelu_of(PackedLinear(layer), given()).double(), wanted, rtol=ROUNDING, atol=1e-3
    )
    torch.testing.assert_close(
        gelu_of(layer, given()).double(), wanted, rtol=4 * ROUNDING, atol=1e-2
    )


@torch.inference_mode()
def test_a_masked_bias_stays_masked() -> None:
    layer = QueriesKeysValues(64).bfloat16()
    found = PackedLinear(layer)(torch.zeros(1, 64, dtype=torch.bfloat16))[0]
    assert not found[64:128].any()
    assert torch.equal(found[:64], layer.bias[:64])


@pytest.mark.parametrize(("kind", "layers"), [("sam", 12), ("dino", 13)])
@torch.inference_mode()
def test_a_packed_network_gives_the_same_maps(
    kind: str, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(packed, "LEAST", 1 << 9)
    if kind == "sam":
        sizes = Sizes(patch=4, tokens=4, width=32, hidden=48, head=8, neck=12, tables=(3, 7, 9))
        net: nn.Module = CellposeSam(sizes)
    else:
        net = CellposeDino(DinoSizes(width=32, hidden=48, head=8, depth=3))
    for value in net.parameters():
        if value.requires_grad:
            nn.init.normal_(value, std=0.3)
    net = net.eval().bfloat16()
    edge = 16 if kind == "sam" else 32
    tiles = torch.rand(2, 3, edge, edge, dtype=torch.bfloat16)
    before = net(tiles).float()
    assert pack(net) is net
    assert sum(isinstance(one, PackedLinear) for one in net.modules()) == layers
    after = net(tiles).float()
    assert (after - before).abs().max() < 0.1 * before.std()


def test_small_layers_stay_as_they_are() -> None:
    net = pack(nn.Sequential(nn.Linear(8, 8, dtype=torch.bfloat16)))
    assert isinstance(net[0], nn.Linear)


def test_where_it_is_not_known_how_layers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST", 1)
    monkeypatch.setattr(packed, "can_pack", lambda: False)
    net = pack(nn.Sequential(nn.Linear(8, 8, dtype=torch.bfloat16)))
    assert isinstance(net[0], nn.Linear)
