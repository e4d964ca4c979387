"""Restoration against Cellpose 3's own, with the published widths and random weights.

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
from bigseg.core.restoring import Axis, restore_planes
from bigseg.core.tiles import Tiling
from bigseg.nets import restorer, weights
from bigseg.nets.cellpose_unet import CellposeUNet

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "bench-env" / "cellpose3" / "bin" / "python"
TILE, MARGIN = 224, 32
"""Cellpose's tile; and a margin with which planes of these sizes are cut as it cuts them."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PEER.exists(), reason="python benchmarks/peers.py makes what it needs"),
]


def random_weights(path: Path) -> str:
    """A network whose normalisation has seen images, so that no layer is near to constant."""
    torch.manual_seed(0)
    net = CellposeUNet((1, 32, 64, 128, 256), 1).train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.rand(2, 1, 64, 64))
    torch.save(net.state_dict(), path)
    return str(path)


def original(folder: Path, image: np.ndarray, diameter: float) -> np.ndarray:
    np.savez(folder / "given.npz", image=image, diameter=diameter, tile=TILE)
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    script = ROOT / "tests" / "parity" / "original_restore.py"
    command = [str(PEER), str(script), str(folder)]
    ended = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    found: np.ndarray = np.load(folder / "found.npy").squeeze()
    return found


# The network is shown planes as large as one tile, or as four that both cut alike.
@pytest.mark.parametrize(
    ("shape", "diameter"),
    [
        ((150, 190), 30.0),
        ((150, 190), 45.0),
        ((344, 340), 30.0),
        ((276, 280), 24.0),
        ((518, 520), 45.0),
    ],
)
def test_a_plane_is_restored_as_by_cellpose(
    tmp_path: Path, shape: tuple[int, int], diameter: float
) -> None:
    whole = tifffile.imread(ROOT / "bigseg" / "samples" / "nuclei2d.tif").astype(np.float32)
    image = whole[260 : 260 + shape[0], 10 : 10 + shape[1]]
    url = random_weights(tmp_path / "weights")
    expected = original(tmp_path, image, diameter)
    y, x = (Axis(n, int(n * 30 / diameter), n, Tiling(TILE, MARGIN)) for n in shape)
    assert len(y.starts) == 1 or y.edge == TILE
    net = restorer.load(url, weights.digest(url))
    planes = rescale(image, *np.percentile(image, (1, 99)))[None]
    found = restore_planes(net, planes, (y, x), ((0, shape[0]), (0, shape[1])))[0]
    assert float(np.abs(found - expected).max() / np.abs(expected).max()) < 1e-5
