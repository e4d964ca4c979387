"""The size model against Cellpose 3's own, with the published widths and random weights.

Runs in the peer's own environment, which `benchmarks/peers.py` makes.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from bigseg.core.intensity import rescale
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.nets.size_model import read_size_model

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "bench-env" / "cellpose3" / "bin" / "python"
SCELLSEG = ROOT / "bench-env" / "scellseg" / "scellseg-0.1.8"
PUBLISHED = SCELLSEG / "scellseg" / "assets" / "pretrained_models" / "size_compute.npy"

pytestmark = pytest.mark.slow


def random_network(path: Path) -> CellposeUNet:
    """A network whose normalisation has seen images, so that no layer is near to constant."""
    torch.manual_seed(0)
    net = CellposeUNet().train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(2, 2, 64, 64))
    torch.save(net.state_dict(), path)
    return net.eval()


@pytest.mark.skipif(not PEER.exists(), reason="python benchmarks/peers.py makes what it needs")
def test_styles_and_diameters_are_those_of_cellpose(tmp_path: Path) -> None:
    image = tifffile.imread(ROOT / "bigseg" / "samples" / "nuclei2d.tif")[:192, :160]
    rng = np.random.default_rng(0)
    styles = rng.normal(size=(5, 256)).astype(np.float32)
    styles /= np.linalg.norm(styles, axis=1, keepdims=True)
    values = {
        "A": rng.normal(size=256),
        "smean": rng.normal(0, 0.05, 256).astype(np.float32),
        "diam_mean": 30.0,
        "ymean": 0.1,
    }
    np.save(tmp_path / "size.npy", values, allow_pickle=True)
    np.savez(tmp_path / "given.npz", image=image, styles=styles)
    net = random_network(tmp_path / "weights")
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    script = ROOT / "tests" / "parity" / "original_size_model.py"
    command = [str(PEER), str(script), str(tmp_path)]
    ended = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found = np.load(tmp_path / "found.npz")

    tile = np.zeros((1, 2, 208, 176), np.float32)  # framed by 8 zeros, as there
    tile[0, 0, 8:200, 8:168] = rescale(image, *np.percentile(image, (1, 99)))
    with torch.no_grad():
        style = net.forward_with_style(torch.from_numpy(tile))[1].numpy()
    model = read_size_model(str(tmp_path / "size.npy"))
    np.testing.assert_allclose(style[0], found["style"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.diameters(style)[0], found["of_image"], rtol=1e-4)
    np.testing.assert_allclose(model.diameters(styles), found["of_styles"], rtol=1e-6)


@pytest.mark.skipif(
    not PUBLISHED.exists(),
    reason="no source of scellseg 0.1.8; python benchmarks/scellseg_scores.py fetches it",
)
def test_a_published_file_is_read() -> None:
    model = read_size_model(str(PUBLISHED))
    values = np.load(PUBLISHED, allow_pickle=True).item()
    np.testing.assert_array_equal(model.slope, values["A"])
    np.testing.assert_array_equal(model.centre, values["smean"])
    assert model.diameter == values["diam_mean"] == 30.0
    expected = 30 * np.exp(values["ymean"])
    mean_style = values["smean"][None].astype(np.float32)
    assert model.diameters(mean_style)[0] == pytest.approx(expected, rel=1e-4)
