"""Scellseg's networks are recovered from their keys and shapes, and do what the paper says."""

import pytest
import torch

from bigseg.nets.architectures import published_keys
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.nets.scellseg import ScellsegNet, build

NARROW = (2, 4, 6, 8, 10)
PLAIN = {"gates": False, "dense": False, "hierarchical": False}


def shapes_of(net: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in net.state_dict().items()}


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def seeded(net: torch.nn.Module) -> torch.nn.Module:
    """Random statistics, too, so that no layer is a mere copy."""
    for name, value in net.state_dict().items():
        if "running_var" in name:
            value.uniform_(0.5, 2)
        elif "running_mean" in name:
            value.uniform_(-0.5, 0.5)
    return net.eval()


@pytest.mark.parametrize("gates", [True, False])
@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("hierarchical", [True, False])
def test_a_network_is_recovered_from_its_shapes(
    gates: bool, dense: bool, hierarchical: bool
) -> None:
    options = {"gates": gates, "dense": dense, "hierarchical": hierarchical}
    net = seeded(ScellsegNet(NARROW, 2, **options))
    again = build(shapes_of(net))
    assert again.widths == NARROW
    assert again.outputs == 2
    again.load_state_dict(net.state_dict(), strict=True)
    x = torch.randn(2, 2, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), net(x))
        assert net(x).shape == (2, 2, 16, 24)


@pytest.mark.parametrize("widths", [(1, 4, 6), (3, 4, 6, 8, 10, 12)])
def test_depth_and_channels_are_recovered(widths: tuple[int, ...]) -> None:
    assert build(shapes_of(ScellsegNet(widths))).widths == widths


@pytest.mark.parametrize(
    ("options", "entries", "parameters"), [({}, 423, 6_971_364), (PLAIN, 311, 6_600_843)]
)
def test_published_sizes(options: dict[str, bool], entries: int, parameters: int) -> None:
    with torch.device("meta"):
        net = ScellsegNet(**options)
    assert len(net.state_dict()) == entries
    assert sum(value.numel() for value in net.parameters()) == parameters
    styles = {n: net.extractor.upsample.up[n].conv[1].full.in_features for n in range(4)}
    assert list(styles.values()) == ([256] * 4 if options else [480, 448, 384, 256])


def test_a_plain_network_is_the_residual_u_net_by_other_names() -> None:
    plain, cellpose = seeded(ScellsegNet(NARROW, **PLAIN)), CellposeUNet(NARROW).eval()
    renamed = {
        key.removeprefix("extractor.")
        .replace("tasker.base_bn", "output.0")
        .replace("tasker.base_conv", "output.2"): value
        for key, value in plain.state_dict().items()
    }
    kept = {k: v for k, v in cellpose.state_dict().items() if k.startswith("diam_")}
    cellpose.load_state_dict({**kept, **renamed}, strict=True)
    x = torch.randn(1, 2, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(plain(x), cellpose(x))


def test_a_closed_gate_hides_the_level() -> None:
    net = seeded(ScellsegNet(NARROW, hierarchical=False, dense=False))
    levels = net.extractor.downsample(torch.randn(1, 2, 16, 16))
    styles = [torch.ones(1, NARROW[-1])] * 4
    for gate in net.extractor.upsample.attn:
        gate.psi[1].weight.data.zero_()
        gate.psi[1].bias.data.fill_(-200)
    with torch.no_grad():
        shut = net.extractor.upsample(levels, styles)
        other = [*(level + 1 for level in levels[:-1]), levels[-1]]
        torch.testing.assert_close(net.extractor.upsample(other, styles), shut)


def test_styles_are_of_unit_length_and_enter_from_the_coarsest() -> None:
    net = seeded(ScellsegNet(NARROW))
    with torch.no_grad():
        _, styles = net.extractor(torch.randn(2, 2, 16, 16))
        _, deepest = net.forward_with_style(torch.randn(2, 2, 16, 16))
    assert [style.shape[1] for style in styles] == list(NARROW[1:])
    assert deepest.shape == (2, NARROW[-1])
    torch.testing.assert_close(deepest.norm(dim=1), torch.ones(2))


def test_half_precision_and_channels_last_run() -> None:
    net = seeded(ScellsegNet(NARROW))
    x = torch.randn(1, 2, 16, 16)
    with torch.no_grad():
        exact = net(x)
        last = net.to(memory_format=torch.channels_last)(
            x.contiguous(memory_format=torch.channels_last)
        )
        torch.testing.assert_close(last, exact, atol=1e-5, rtol=1e-4)
        half = net.bfloat16()(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert (half.float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_orphans_of_the_hover_file_are_dropped_and_nothing_else() -> None:
    own = shapes_of(ScellsegNet(NARROW))
    where = "extractor.upsample.up.res_up_0.conv.conv_1.attn"
    orphans = {f"{where}.ca.se.0.weight": (4, 32, 1, 1), f"{where}.sa.conv.bias": (1,)}
    assert published_keys({**own, **orphans}) == own


@pytest.mark.parametrize(
    "key",
    [
        "extractor.downsample.down.res_down_0.conv.conv_0.2.weight",
        "extractor.upsample.up.res_up_0.conv.conv_1.full.weight",
        "tasker.base_conv.weight",
    ],
)
def test_a_key_that_is_needed_is_named(key: str) -> None:
    shapes = shapes_of(ScellsegNet(NARROW))
    del shapes[key]
    with pytest.raises(KeyError, match=key):
        build(shapes)
