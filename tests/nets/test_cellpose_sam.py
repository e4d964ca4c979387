"""The Cellpose-SAM network: attention, its cached tables, any size from shapes alone."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from bigseg.errors import WeightsError
from bigseg.nets.cellpose_sam import CellposeSam, Sizes, build
from bigseg.nets.network import check
from bigseg.nets.relative_attention import (
    head_by_head,
    joined,
    resized,
    tile_by_tile,
)

TINY = Sizes(patch=4, tokens=4, width=16, hidden=24, head=8, neck=12, tables=(3, 7, 9))


def tiny(outputs: int = 3, seed: int = 0) -> CellposeSam:
    torch.manual_seed(seed)
    net = CellposeSam(TINY, outputs)
    for value in net.parameters():
        if value.requires_grad:
            torch.nn.init.normal_(value, std=0.3)
    return net.eval()


def shapes(net: CellposeSam) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@torch.inference_mode()
def run(net: CellposeSam, channels: int = 3) -> Tensor:
    torch.manual_seed(1)
    x = torch.rand(2, channels, 16, 16, device=net.W2.device)
    outputs: Tensor = net(x.to(net.W2.dtype))
    return outputs.float()


def direct(qkv: Tensor, high: Tensor, wide: Tensor) -> Tensor:
    """Attention as the formula has it, pair by pair of patches."""
    n, t, _, heads, head = qkv.shape
    q, k, v = qkv.double().permute(2, 0, 3, 1, 4)
    logits = q @ k.transpose(-1, -2) * head**-0.5
    s = len(high)
    for i in range(t):
        for j in range(t):
            place = (high[i // s, j // s] + wide[i % s, j % s]).double()
            logits[:, :, i, j] += q[:, :, i] @ place
    return (logits.softmax(-1) @ v).transpose(1, 2).reshape(n, t, heads * head)


@pytest.mark.parametrize("attend", [tile_by_tile, joined])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 0.03)])
@pytest.mark.parametrize("training", [False, True])
def test_both_ways_to_attend_follow_the_formula(attend, dtype, error, training):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    qkv = torch.randn(2, 9, 3, 2, 8).to(dtype)
    high, wide = torch.randn(2, 3, 3, 8).to(dtype)
    expected = direct(qkv, high, wide)
    with torch.set_grad_enabled(training):
        found = attend(qkv, high, wide)
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() < error * expected.abs().max()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 0.03)])
def test_head_by_head_follows_the_formula(dtype: torch.dtype, error: float) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(2, 9, 3, 2, 8).to(dtype)
    high, wide = torch.randn(2, 3, 3, 8).to(dtype)
    expected = direct(qkv, high, wide)
    with torch.inference_mode():
        found = head_by_head(qkv, high, wide)
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() < error * expected.abs().max()


def test_vectors_belong_to_distances() -> None:
    attention = tiny().encoder.blocks[1].attn  # its tables have the size that 4 tokens need
    with torch.no_grad():
        high, _ = attention.positions()
    assert torch.equal(high[0, 3], attention.rel_pos_h[0])
    assert torch.equal(high[2, 2], attention.rel_pos_h[3])
    assert torch.equal(high[3, 0], attention.rel_pos_h[6])


def test_tables_are_interpolated_between_rows() -> None:
    table = torch.tensor([[0.0, 4.0], [1.0, 8.0]])
    assert resized(table, 4).tolist() == [[0, 4], [0.25, 5], [0.75, 7], [1, 8]]
    assert resized(table, 2) is table


def test_loading_other_weights_changes_what_was_computed_before() -> None:
    net, other = tiny(), tiny(seed=5)
    run(net)
    net.load_state_dict(other.state_dict())
    assert torch.equal(run(net), run(other))


def test_casting_there_and_back_and_training_leave_no_old_tables() -> None:
    net = tiny()
    exact = run(net)
    half = run(net.bfloat16())
    assert 0 < (half - exact).abs().max() < 0.1 * exact.abs().max()
    assert net.float().encoder.blocks[0].attn._known is None
    before = run(net)
    torch.nn.init.normal_(net.train().encoder.blocks[0].attn.rel_pos_h)
    assert not torch.equal(before, run(net.eval()))


def test_gradients_reach_the_tables() -> None:
    net = tiny()
    run(net)
    net(torch.rand(1, 1, 16, 16)).sum().backward()
    assert net.encoder.blocks[0].attn.rel_pos_w.grad.abs().sum() > 0


def test_missing_channels_are_as_good_as_zeros() -> None:
    net = tiny()
    x = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        padded = net(torch.cat([x, torch.zeros(1, 2, 16, 16)], 1))
        assert torch.allclose(net(x), padded, atol=1e-5)
        assert torch.allclose(net(x.to(memory_format=torch.channels_last)), padded, atol=1e-5)


def test_channel_k_64_y_8_x_becomes_pixel_y_x_of_map_k() -> None:
    net = tiny(outputs=5)
    features = net.encoder
    with torch.inference_mode():
        x = torch.rand(1, 3, 16, 16)
        rearranged = torch.nn.functional.conv_transpose2d(net.out(features(x)), net.W2, stride=4)
        assert torch.equal(net(x), rearranged)


def test_sizes_are_found_in_shapes_alone() -> None:
    net = tiny(outputs=7)
    again = build(shapes(net))
    assert shapes(again) == shapes(net)
    assert list(again.state_dict()) == list(net.state_dict())
    again.load_state_dict(net.state_dict())
    assert torch.equal(run(again.eval()), run(net))
    assert (again.outputs, again.tile, again.channels) == (7, 16, 3)


def test_the_published_sizes_are_the_default() -> None:
    with torch.device("meta"):
        net = CellposeSam()
    assert len(net.state_dict()) == 350
    assert sum(value.numel() for value in net.state_dict().values()) == 304_628_930
    assert net.tile == 256


@pytest.mark.parametrize(
    "key",
    [
        "encoder.patch_embed.proj.weight",
        "encoder.pos_embed",
        "encoder.blocks.0.attn.rel_pos_h",
        "encoder.blocks.0.mlp.lin1.weight",
        "encoder.neck.0.weight",
        "W2",
    ],
)
def test_a_missing_key_is_named(key: str) -> None:
    some = shapes(tiny())
    del some[key]
    with pytest.raises(KeyError, match=key):
        build(some)


def test_tiles_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 16, 20\) .* 1 to 3 channels of 16 × 16"):
        tiny()(torch.zeros(1, 3, 16, 20))
    with pytest.raises(ValueError, match="1 to 3 channels"):
        tiny()(torch.zeros(1, 4, 16, 16))


def test_a_file_with_another_rearrangement_is_refused() -> None:
    state = tiny().state_dict()
    state["W2"] = state["W2"].flip(0)
    with pytest.raises(WeightsError, match="'W2' is not the fixed rearrangement"):
        tiny().load_state_dict(state)


def test_a_file_is_checked_without_its_numbers_but_for_the_constant(tmp_path: Path) -> None:
    state = tiny().state_dict()
    for name, changed in {"good": 1, "module.": 1, "bad": 2}.items():
        prefix = name if name.endswith(".") else ""
        kept = {prefix + key: value for key, value in state.items()}
        torch.save({**kept, f"{prefix}W2": changed * state["W2"]}, tmp_path / name)
    check(str(tmp_path / "good"))
    check(str(tmp_path / "module."))
    with pytest.raises(WeightsError, match="'W2' is not the fixed rearrangement"):
        check(str(tmp_path / "bad"))
