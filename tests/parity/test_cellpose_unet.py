"""Our residual U-Net against Cellpose 3's, at full width, with random weights.

Runs in the peer's own environment, which `benchmarks/peers.py` makes.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from bigseg.nets.cellpose_unet import build

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "bench-env" / "cellpose3" / "bin" / "python"

# Makes random weights, or reads ours; leaves them, the outputs and the style in the folder.
ORIGINAL = """
import sys
from pathlib import Path
import numpy as np
import torch
from cellpose.resnet_torch import CPnet

folder, channels, outputs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(channels)
net = CPnet([channels, 32, 64, 128, 256], outputs, sz=3)
if (folder / "ours.pt").exists():
    net.load_state_dict(torch.load(folder / "ours.pt", weights_only=True), strict=True)
else:
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(std=0.1)
        elif name.endswith("0.weight"):
            value.uniform_(0.5, 1.5)
    net.diam_mean.fill_(17)
    net.diam_labels.fill_(21.5)
    net.save_model(folder / "theirs.pt")
with torch.no_grad():
    found, style = net.eval()(torch.from_numpy(np.load(folder / "tile.npy")))[:2]
np.savez(folder / "found.npz", found=found.numpy(), style=style.numpy())
"""


def original(folder: Path, *arguments: int) -> dict[str, np.ndarray]:
    """Outputs and style of the original's network for the tiles in `folder`."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(PEER), "-c", ORIGINAL, str(folder), *map(str, arguments)]
    ended = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    with np.load(folder / "found.npz") as found:
        return dict(found)


def tiles(channels: int) -> np.ndarray:
    """Two crops of the bundled image; further channels are neighbouring crops."""
    image = tifffile.imread(ROOT / "bigseg" / "samples" / "nuclei2d.tif").astype(np.float32)
    low, high = np.percentile(image, (1, 99))
    crops = [[image[y : y + 224, 64 * c :][:, :224] for c in range(channels)] for y in (100, 500)]
    return ((np.array(crops) - low) / (high - low)).astype(np.float32)


def relative(ours: torch.Tensor, theirs: np.ndarray) -> float:
    """Largest difference, in standard deviations of the values: an offset makes it no smaller."""
    return float(np.abs(ours.numpy() - theirs).max() / theirs.std())


@pytest.mark.slow
@pytest.mark.skipif(not PEER.exists(), reason="python benchmarks/peers.py makes what it needs")
@pytest.mark.parametrize(("channels", "outputs"), [(2, 3), (1, 1)], ids=["segment", "restore"])
def test_outputs_style_and_files_are_those_of_the_original(
    tmp_path: Path, channels: int, outputs: int
) -> None:
    np.save(tmp_path / "tile.npy", tiles(channels))
    theirs = original(tmp_path, channels, outputs)
    state = torch.load(tmp_path / "theirs.pt", weights_only=True)
    net = build({name: tuple(value.shape) for name, value in state.items()}).eval()
    net.load_state_dict(state)
    assert set(net.state_dict()) == set(state)
    with torch.inference_mode():
        ours, style = net.forward_with_style(torch.from_numpy(tiles(channels)))
    differences = relative(ours, theirs["found"]), relative(style, theirs["style"])
    print("largest relative differences of outputs and style:", differences)  # noqa: T201
    assert max(differences) < 1e-4
    torch.save(net.state_dict(), tmp_path / "ours.pt")
    assert np.array_equal(original(tmp_path, channels, outputs)["found"], theirs["found"])
