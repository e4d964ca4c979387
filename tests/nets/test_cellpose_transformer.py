"""The transformer of Cellpose 3: attention to groups, the decoder, any size from shapes alone."""

import pytest
import torch
from torch import Tensor

from bigseg.nets.cellpose_transformer import CellposeTransformer, PlaceAttention, Sizes, build
from bigseg.nets.mix_transformer import Attention

TINY = Sizes(
    channels=3,
    widths=(4, 8, 12, 16),
    hidden=(8, 16, 24, 32),
    depths=(1, 2, 3, 1),
    reductions=(8, 4, 2, 1),
    attention=5,
    decoder=(16, 12, 8, 6, 4),
)


def tiny(outputs: int = 3) -> CellposeTransformer:
    torch.manual_seed(0)
    return CellposeTransformer(TINY, outputs).eval()


def shapes(net: CellposeTransformer) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@torch.inference_mode()
def run(net: CellposeTransformer, **layout: torch.memory_format) -> Tensor:
    torch.manual_seed(1)
    outputs: Tensor = net(torch.rand(2, 3, 64, 96).to(**layout))  # type: ignore[call-overload]
    return outputs


def test_maps_are_as_large_as_tiles() -> None:
    assert run(tiny(5)).shape == (2, 5, 64, 96)


def test_layout_changes_nothing() -> None:
    net = tiny()
    last = run(net.to(memory_format=torch.channels_last), memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert torch.allclose(last, run(tiny()), atol=1e-5)


def test_keys_of_groups_are_of_their_tokens_alone() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 4, 2).eval()
    x = torch.randn(1, 4 * 6, 8)
    seen = attention.sr(x.transpose(1, 2).view(1, 8, 4, 6))
    assert seen.shape == (1, 8, 2, 3)
    keys, values = attention.kv(attention.norm(seen.flatten(2).transpose(1, 2))).chunk(2, -1)
    expected = torch.empty(1, 24, 8)
    for head in (slice(0, 4), slice(4, 8)):  # as the formula has it
        logits = attention.q(x)[..., head] @ keys[..., head].transpose(1, 2) / 2
        expected[..., head] = logits.softmax(-1) @ values[..., head]
    assert torch.allclose(attention(x, 4), attention.proj(expected), atol=1e-6)


def test_places_share_one_sum_of_weights() -> None:
    torch.manual_seed(0)
    block = PlaceAttention(6, 4).eval()
    torch.nn.init.zeros_(block.center_conv.weight)
    torch.nn.init.zeros_(block.center_conv.bias)  # all pairs weigh the same: 1 / places²
    x = torch.randn(1, 6, 4, 4)
    mean = block.bottom_conv(x).flatten(2).mean(2) / 16  # (1, 6)
    turned = mean[:, None].expand(1, 16, 6).reshape(1, 6, 4, 4)  # a vector after the other
    assert torch.allclose(block(x), block.out_conv(x + turned), atol=1e-6)


@pytest.mark.parametrize("diameters", [("diam_mean", "diam_labels"), ()])
def test_sizes_are_found_in_shapes_alone(diameters: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    net = CellposeTransformer(TINY, 4, diameters).eval()
    again = build(shapes(net))
    assert shapes(again) == shapes(net)
    again.load_state_dict(net.state_dict())
    assert torch.equal(run(again.eval()), run(net))
    assert (again.outputs, again.channels) == (4, 3)


def test_the_published_sizes_are_the_default() -> None:
    with torch.device("meta"):
        state = CellposeTransformer().state_dict()
    assert len(state) == 1184
    assert sum(value.numel() for value in state.values()) == 92_223_429


@pytest.mark.parametrize(
    "key",
    [
        "net.encoder.patch_embed1.proj.weight",
        "net.encoder.block4.0.norm1.weight",
        "net.encoder.block2.0.mlp.fc1.weight",
        "net.decoder.center.top_conv.weight",
        "net.decoder.blocks.0.conv1.0.weight",
        "net.segmentation_head.0.weight",
    ],
)
def test_a_missing_key_is_named(key: str) -> None:
    some = shapes(tiny())
    del some[key]
    with pytest.raises(KeyError, match=key):
        build(some)


def test_gradients_reach_all_that_is_trained() -> None:
    net = tiny()
    net(torch.rand(1, 3, 64, 64)).square().sum().backward()
    assert all(v.grad is not None for v in net.parameters() if v.requires_grad)
