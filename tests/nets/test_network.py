"""Networks in the engine's hands: averaged, with channels they lack, and refused if foreign."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bigseg.errors import NotFound, SpecError, WeightsError
from bigseg.nets import cellpose_dino, cellpose_transformer, network, weights
from bigseg.nets.cellpose_sam import CellposeSam, Sizes
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.nets.network import FLOW_SCALE, Called, Ensemble, TorchNet
from bigseg.plans.segment import describe_models
from bigseg.specs.segment import parse

TINY = Sizes(patch=8, tokens=4, width=16, hidden=16, head=8, neck=8, tables=(7, 7))


def unet(folder: Path, seed: int = 0, widths: tuple[int, ...] = (2, 4, 8), outputs: int = 3) -> str:
    torch.manual_seed(seed)
    url = folder / f"unet{seed}-{widths[0]}-{outputs}.pt"
    torch.save(CellposeUNet(widths, outputs).state_dict(), url)
    return str(url)


def sam(folder: Path, outputs: int = 3) -> str:
    torch.manual_seed(0)
    url = folder / f"sam{outputs}.pt"
    torch.save(CellposeSam(TINY, outputs).state_dict(), url)
    return str(url)


def dino(folder: Path, outputs: int = 3) -> str:
    torch.manual_seed(0)
    sizes = cellpose_dino.Sizes(width=16, hidden=16, head=8, depth=1)
    url = folder / f"dino{outputs}.pt"
    torch.save(cellpose_dino.CellposeDino(sizes, outputs).state_dict(), url)
    return str(url)


def transformer(folder: Path, **stored: float) -> str:
    torch.manual_seed(0)
    sizes = cellpose_transformer.Sizes(
        widths=(4, 4, 8, 8), hidden=(8, 8, 8, 8), depths=(1,) * 4, decoder=(8, 8, 8, 4, 4)
    )
    state = cellpose_transformer.CellposeTransformer(sizes).state_dict()
    tensors = {name: torch.tensor([value]) for name, value in stored.items()}
    torch.save({**state, **tensors}, folder / "transformer.pt")
    return str(folder / "transformer.pt")


def load(*urls: str) -> Ensemble:
    return network.load_all(urls, tuple(weights.digest(url) for url in urls))


@pytest.fixture
def tiles() -> np.ndarray:
    return np.random.default_rng(0).random((2, 2, 32, 32), np.float32)


def test_outputs_of_several_are_averaged(tmp_path: Path, tiles: np.ndarray) -> None:
    one, other = unet(tmp_path, 0), unet(tmp_path, 1)
    both = load(one, other)(tiles)
    np.testing.assert_allclose(both, (load(one)(tiles) + load(other)(tiles)) / 2, atol=1e-6)
    assert not np.allclose(both, load(one)(tiles), atol=1e-3)


def test_the_same_file_twice_gives_exactly_what_it_gives_once(
    tmp_path: Path, tiles: np.ndarray
) -> None:
    url = unet(tmp_path)
    np.testing.assert_array_equal(load(url, url)(tiles), load(url)(tiles))


def test_an_ensemble_leaves_what_a_function_gave_it_alone() -> None:
    kept = np.ones((1, 3, 16, 16), np.float32)
    found = Ensemble((Called("a", lambda _: kept, 3), Called("b", lambda x: 3 * kept, 3)))(kept)
    assert (found == 2).all()
    assert (kept == 1).all()


def test_channels_that_an_image_lacks_are_zeros(tmp_path: Path, tiles: np.ndarray) -> None:
    net = load(unet(tmp_path))
    zeros = np.concatenate([tiles[:, :1], np.zeros_like(tiles[:, 1:])], 1)
    np.testing.assert_array_equal(net(tiles[:, :1]), net(zeros))


def test_flows_are_scaled_and_logits_are_not(tmp_path: Path, tiles: np.ndarray) -> None:
    net = load(unet(tmp_path)).nets[0]
    assert isinstance(net, TorchNet)
    raw = net.module(torch.from_numpy(tiles).to(next(net.module.parameters()).dtype))
    raw = raw.detach().float().numpy()
    found = net(tiles)
    np.testing.assert_allclose(found[:, :2] * FLOW_SCALE, raw[:, :2], rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(found[:, 2], raw[:, 2], rtol=1e-2, atol=1e-3)


def test_classes_of_cellpose_sam_come_last(tmp_path: Path, tiles: np.ndarray) -> None:
    net = load(sam(tmp_path, 6)).nets[0]
    assert isinstance(net, TorchNet)
    with torch.inference_mode():  # attention is computed otherwise where gradients are kept
        raw = net.module(torch.from_numpy(tiles).to(next(net.module.parameters()).dtype))
    raw = raw.float().numpy()
    expected = np.concatenate([raw[:, 3:5] / FLOW_SCALE, raw[:, 5:], raw[:, :3]], 1)
    np.testing.assert_allclose(net(tiles), expected, rtol=1e-2, atol=1e-2)


def test_a_network_of_fixed_tiles_says_so(tmp_path: Path) -> None:
    known = weights.describe(sam(tmp_path))
    assert (known.kind, known.tile, known.channels) == ("Cellpose-SAM", 32, 3)
    assert weights.describe(unet(tmp_path)).tile is None


def test_a_transformer_is_shown_missing_channels_as_zeros_and_its_diameters_count(
    tmp_path: Path,
) -> None:
    url = transformer(tmp_path, diam_mean=17.0, diam_labels=21.0)
    known = weights.describe(url)
    assert (known.kind, known.tile, known.channels) == ("Cellpose transformer", 224, 3)
    assert (known.diameter, known.usual_diameter) == (17.0, 21.0)
    net, one = load(url), np.random.default_rng(0).random((1, 1, 64, 64), np.float32)
    zeros = np.concatenate([one, np.zeros((1, 2, 64, 64), np.float32)], 1)
    np.testing.assert_array_equal(net(one), net(zeros))


def test_networks_of_cellpose_4_take_files_without_diameters(tmp_path: Path) -> None:
    for url in (sam(tmp_path, 4), dino(tmp_path, 4)):
        state = torch.load(url)
        fewer = {name: value for name, value in state.items() if not name.startswith("diam_")}
        torch.save(fewer, f"{url}-fewer")
        tile = np.random.default_rng(0).random((1, 2, 32, 32), np.float32)
        np.testing.assert_array_equal(load(f"{url}-fewer")(tile), load(url)(tile))
        torch.save({**state, "diam_mean": torch.tensor([17.0])}, f"{url}-17")
        assert weights.describe(f"{url}-17").diameter == 30.0  # in the file, but nothing uses it


def test_cp_dino_is_told_from_cellpose_sam(tmp_path: Path) -> None:
    known = weights.describe(dino(tmp_path, 5))
    assert (known.kind, known.tile, known.channels, known.outputs) == ("CP-DINO", 384, 3, 5)
    assert known.any_channels
    state = torch.load(dino(tmp_path, 5))
    del state["encoder.blocks.0.ls1.gamma"]
    torch.save(state, tmp_path / "lacking.pt")
    with pytest.raises(WeightsError, match=r"lacks the key 'encoder.blocks.0.ls1.gamma' of a CP-D"):
        load(str(tmp_path / "lacking.pt"))


def test_borders_are_read_off_two_outputs_or_asked_for(tmp_path: Path) -> None:
    assert weights.describe(unet(tmp_path, outputs=2)).representation == "borders"
    three = unet(tmp_path)
    assert weights.describe(three).representation == "flows"
    known = weights.describe(three, "borders")
    assert (known.representation, known.threshold) == ("borders", 2.0)
    net = network.load(three, known.digest, "borders")
    assert isinstance(net, TorchNet)
    assert not net.vectors


def test_weights_that_are_replaced_are_described_anew(tmp_path: Path) -> None:
    url = Path(unet(tmp_path))
    first = weights.describe(str(url))
    torch.save(CellposeUNet((1, 4, 8, 16), 5).state_dict(), url)
    second = weights.describe(str(url))
    assert (first.channels, first.outputs) == (2, 3)
    assert (second.channels, second.outputs) == (1, 5)
    assert second.digest == weights.digest(str(url)) != first.digest


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"outputs": 2}, "representation must be the same, but is flows and borders"),
        ({"outputs": 5}, "outputs must be the same, but are 3 and 5"),
        ({"widths": (1, 4, 8)}, "channels must be the same, but are 2 and 1"),
    ],
)
def test_models_that_differ_are_not_averaged(
    tmp_path: Path, other: dict[str, object], message: str
) -> None:
    one, two = unet(tmp_path), unet(tmp_path, 1, **other)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=f"cannot be averaged: {message}"):
        describe_models(parse({"image": "i.zarr", "model": f"{one}, {two}"}))


def test_models_of_other_diameters_are_not_averaged(tmp_path: Path) -> None:
    state = {**torch.load(unet(tmp_path)), "diam_mean": torch.tensor([17.0])}
    torch.save(state, tmp_path / "small.pt")
    with pytest.raises(SpecError, match=r"diameter must be the same, but is 30.0 and 17.0"):
        describe_models(
            parse({"image": "i.zarr", "model": f"{unet(tmp_path)},{tmp_path / 'small.pt'}"})
        )


def test_tiles_of_other_sizes_are_not_averaged(tmp_path: Path) -> None:
    larger = Sizes(patch=8, tokens=8, width=16, hidden=16, head=8, neck=8, tables=(15, 15))
    torch.save(CellposeSam(larger).state_dict(), tmp_path / "larger.pt")
    with pytest.raises(SpecError, match="tile must be the same, but is 32 and 64"):
        describe_models(
            parse({"image": "i.zarr", "model": f"{sam(tmp_path)},{tmp_path / 'larger.pt'}"})
        )


def test_labels_are_not_averaged() -> None:
    name = "tests.models:components"
    with pytest.raises(SpecError, match="make labels cannot be averaged; give one"):
        describe_models(parse({"image": "i.zarr", "model": f"{name},{name}"}))


@pytest.mark.parametrize(
    ("outputs", "representation", "message"),
    [
        (1, None, r"has 1 output\(s\); flows need 3 or more. .*'bigseg restore' or --restore"),
        (4, "borders", r"has 4 output\(s\); borders need 2 to 3"),
        (4, "hover", r"has 4 output\(s\); hover need 3\."),
        (3, "labels", "is a network; only functions make labels"),
    ],
)
def test_outputs_that_cannot_mean_that_are_refused(
    tmp_path: Path, outputs: int, representation: str | None, message: str
) -> None:
    spec = {"image": "i.zarr", "model": unet(tmp_path, outputs=outputs)}
    with pytest.raises(WeightsError, match=message):
        describe_models(parse({**spec, "representation": representation}))


@pytest.mark.parametrize("model", ["", "a,,b", "nuclei,"])
def test_a_model_without_a_name_is_refused(model: str) -> None:
    with pytest.raises(SpecError, match=f"'model' is '{model}': a model has no name"):
        parse({"image": "i.zarr", "model": model})


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="is a folder; give a file of weights"):
        weights.describe(str(tmp_path))
