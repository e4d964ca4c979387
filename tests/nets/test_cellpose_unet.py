"""The residual U-Net is recovered from keys and shapes, whatever its variant."""

import pytest
import torch

from bigseg.nets.cellpose_unet import CellposeUNet, build


def shapes_of(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


@pytest.mark.parametrize(
    ("widths", "outputs", "diameters"),
    [
        ((2, 4, 8, 8, 16), 3, ("diam_mean", "diam_labels")),
        ((1, 4, 8, 8, 16), 1, ("diam_mean", "diam_labels")),
        ((3, 4, 8, 12), 5, ("diam_mean",)),
        ((2, 4, 8, 8, 16), 3, ()),
    ],
)
def test_any_variant_is_recovered_from_its_state(
    widths: tuple[int, ...], outputs: int, diameters: tuple[str, ...]
) -> None:
    torch.manual_seed(0)
    net = CellposeUNet(widths, outputs, diameters).eval()
    again = build(shapes_of(net)).eval()
    again.load_state_dict(net.state_dict())
    x = torch.rand(2, widths[0], 16, 24)
    assert shapes_of(again) == shapes_of(net)
    assert torch.equal(again(x), net(x))
    assert again(x).shape == (2, outputs, 16, 24)


def test_the_style_has_unit_length_and_comes_with_the_same_maps() -> None:
    torch.manual_seed(0)
    net = CellposeUNet((1, 4, 8, 8, 16), 1).eval()
    x = torch.rand(3, 1, 16, 16)
    maps, style = net.forward_with_style(x)
    assert torch.equal(maps, net(x))
    assert style.shape == (3, 16)
    assert torch.allclose(style.norm(dim=1), torch.ones(3))


def test_half_precision_gives_a_style_in_single_precision() -> None:
    net = CellposeUNet((1, 4, 8, 8, 16), 1).eval().to(torch.bfloat16)
    maps, style = net.forward_with_style(torch.rand(1, 1, 16, 16, dtype=torch.bfloat16))
    assert (maps.dtype, style.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(
    "key", ["output.2.weight", "downsample.down.res_down_0.conv.conv_0.2.weight"]
)
def test_a_missing_key_is_named(key: str) -> None:
    shapes = shapes_of(CellposeUNet((1, 4, 8, 8, 16), 1))
    del shapes[key]
    with pytest.raises(KeyError, match=key.replace(".", r"\.")):
        build(shapes)


def test_published_weights_have_the_published_size() -> None:
    diameters = 2  # stored, not trained
    for net, count in (
        (CellposeUNet(), 6_600_843),
        (CellposeUNet((1, 32, 64, 128, 256), 1), 6_600_453),
    ):
        assert sum(values.numel() for values in net.parameters()) == count + diameters
        assert len(net.state_dict()) == 313
