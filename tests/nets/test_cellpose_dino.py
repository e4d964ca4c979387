"""The CP-DINO network: attention that turns, overlapping patches, any size from shapes alone."""

import pytest
import torch
from torch import Tensor

from bigseg.errors import WeightsError
from bigseg.nets.cellpose_dino import CellposeDino, Sizes, build
from bigseg.nets.rotary_attention import ROWS, QueriesKeysValues, Rotations, by_rows, turned

TINY = Sizes(step=4, patch=8, width=16, hidden=24, head=8, depth=2, storage=3)


def tiny(outputs: int = 3, seed: int = 0) -> CellposeDino:
    torch.manual_seed(seed)
    net = CellposeDino(TINY, outputs)
    for value in net.parameters():
        if value.requires_grad:
            torch.nn.init.normal_(value, std=0.3)
    return net.eval()


def shapes(net: CellposeDino) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@torch.inference_mode()
def run(net: CellposeDino, channels: int = 3) -> Tensor:
    torch.manual_seed(1)
    outputs: Tensor = net(torch.rand(2, channels, 16, 24).to(net.W2.dtype))
    return outputs.float()


def test_products_of_turned_vectors_know_only_how_far_patches_are_apart() -> None:
    torch.manual_seed(0)
    sine, cosine = Rotations(8)(5, 5, 0)
    q, k = torch.randn(2, 1, 1, 1, 8).expand(2, 1, 1, 25, 8)
    products = (turned(q, sine, cosine) @ turned(k, sine, cosine).transpose(2, 3))[0, 0]
    products = products.view(5, 5, 5, 5)
    assert torch.allclose(products[0, 1, 2, 2], products[2, 3, 4, 4], atol=1e-5)
    assert not torch.allclose(products[0, 1, 2, 2], products[0, 1, 2, 3], atol=1e-3)


def test_angles_are_those_of_places_between_minus_one_and_one() -> None:
    sine, cosine = Rotations(8)(2, 4, 1)
    assert torch.equal(sine[0], torch.zeros(8))
    assert torch.equal(cosine[0], torch.ones(8))
    y, x = torch.tensor([0.5, -0.25])  # of the patch in row 1 of 2, column 1 of 4
    angles = 2 * torch.pi * torch.stack([y, y / 10, x, x / 10])
    assert torch.allclose(sine[1 + 4 + 1], angles.sin().repeat(2), atol=1e-6)


@pytest.mark.parametrize("tokens", [7, ROWS, 2 * ROWS + 9])
def test_attention_by_rows_follows_the_formula(tokens: int) -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, tokens, 8)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(by_rows(q, k, v), expected, atol=1e-5)


def test_keys_have_no_bias() -> None:
    layer = QueriesKeysValues(4)
    torch.nn.init.ones_(layer.bias)
    found = layer(torch.zeros(4))
    assert found.tolist() == [1.0] * 4 + [0.0] * 4 + [1.0] * 4


def test_half_precision_leaves_the_angles_exact() -> None:
    net = tiny()
    exact = run(net)
    half = run(net.bfloat16())
    assert net.encoder.rope_embed.periods.dtype == torch.float32
    assert 0 < (half - exact).abs().max() < 0.1 * exact.abs().max()
    assert torch.equal(net.float().encoder.rope_embed.periods, Rotations(8).periods)


def test_patches_overlap_and_lie_around_their_step() -> None:
    embed = tiny().encoder.patch_embed
    pixel = torch.zeros(1, 1, 16, 16)
    pixel[..., 6, 6] = 1  # steps 1 and 2 see 2 to 9 and 6 to 13
    with torch.inference_mode():
        seen = (embed(pixel) != embed(torch.zeros_like(pixel))).any(1)[0]
    assert seen.shape == (4, 4)
    assert seen.nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


def test_missing_channels_are_as_good_as_zeros() -> None:
    net = tiny()
    x = torch.rand(1, 1, 16, 16)
    with torch.inference_mode():
        padded = net(torch.cat([x, torch.zeros(1, 2, 16, 16)], 1))
        assert torch.allclose(net(x), padded, atol=1e-5)
        assert torch.allclose(net(x.to(memory_format=torch.channels_last)), padded, atol=1e-5)


def test_channel_k_step_y_x_becomes_pixel_y_x_of_map_k() -> None:
    net = tiny(outputs=5)
    with torch.inference_mode():
        x = torch.rand(1, 3, 16, 24)
        maps = net.out(net.encoder(x)).permute(0, 3, 1, 2)
        assert torch.equal(net(x), torch.nn.functional.conv_transpose2d(maps, net.W2, stride=4))


@pytest.mark.parametrize("diameters", [("diam_mean", "diam_labels"), ()])
def test_sizes_are_found_in_shapes_alone(diameters: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    net = CellposeDino(TINY, 7, diameters).eval()
    again = build(shapes(net))
    assert shapes(again) == shapes(net)
    assert list(again.state_dict()) == list(net.state_dict())
    again.load_state_dict(net.state_dict())
    assert torch.equal(run(again.eval()), run(net))
    assert (again.outputs, again.step, again.channels) == (7, 4, 3)


@pytest.mark.parametrize(
    ("sizes", "entries", "values"),
    [
        (Sizes(), 373, 303_461_586),
        (Sizes(width=768, hidden=3072, depth=12), 193, 85_881_810),
    ],
    ids=["cpdino", "cpdino-vitb"],
)
def test_the_published_sizes(sizes: Sizes, entries: int, values: int) -> None:
    with torch.device("meta"):
        state = CellposeDino(sizes).state_dict()
    assert len(state) == entries
    assert sum(value.numel() for value in state.values()) == values


@pytest.mark.parametrize(
    "key",
    [
        "encoder.patch_embed.proj.weight",
        "encoder.storage_tokens",
        "encoder.rope_embed.periods",
        "encoder.blocks.0.mlp.fc1.weight",
        "W2",
    ],
)
def test_a_missing_key_is_named(key: str) -> None:
    some = shapes(tiny())
    del some[key]
    with pytest.raises(KeyError, match=key):
        build(some)


def test_tiles_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, 16, 18\) .* a multiple of 4 pixels"):
        tiny()(torch.zeros(1, 3, 16, 18))
    with pytest.raises(ValueError, match="1 to 3 channels"):
        tiny()(torch.zeros(1, 4, 16, 16))


def test_a_file_with_another_rearrangement_is_refused() -> None:
    state = tiny().state_dict()
    state["W2"] = state["W2"].flip(0)
    with pytest.raises(WeightsError, match="'W2' is not the fixed rearrangement"):
        tiny().load_state_dict(state)


def test_gradients_reach_all_that_is_trained() -> None:
    net = tiny()
    net(torch.rand(1, 3, 16, 16)).square().sum().backward()
    still = [n for n, v in net.named_parameters() if v.requires_grad and v.grad is None]
    assert still == ["encoder.mask_token"]
