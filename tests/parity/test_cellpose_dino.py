"""Our CP-DINO networks against the originals, at full size, with random weights.

Runs in the peer's own environment, with DINOv3 beside it; `benchmarks/peers.py` makes both.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from bigseg.nets.cellpose_dino import CellposeDino, build

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "bench-env" / "bin" / "python"
DINOV3 = ROOT / "bench-env" / "dinov3"

# Makes random weights, or reads ours; leaves them and the outputs for one tile in the folder.
ORIGINAL = """
import sys
from pathlib import Path
import numpy as np
import torch
from cellpose.vit import CPDINO

folder, name, outputs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
torch.manual_seed(outputs)
net = CPDINO(model_name=name, nout=outputs)
if (folder / "ours.pt").exists():
    net.load_model(folder / "ours.pt", torch.device("cpu"), strict=True)
else:
    for name, value in net.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.uniform_(value, 0.1, 0.5)  # else blocks would change next to nothing
        elif name.endswith("qkv.weight"):
            torch.nn.init.normal_(value, std=0.06)  # so that attention is far from even
        elif "token" in name:
            torch.nn.init.normal_(value)
        elif value.requires_grad and value.ndim == 1:
            torch.nn.init.normal_(value, mean=float(name.endswith("weight")), std=0.2)
    net.save_model(folder / "theirs.pt")
with torch.no_grad():
    found = net.eval()(torch.from_numpy(np.load(folder / "tile.npy")))[0]
np.save(folder / "found.npy", found.numpy())
"""


def original(folder: Path, *arguments: str | int) -> np.ndarray:
    """Outputs of the original's network for the tile in `folder`."""
    kept = {**os.environ, "PYTHONPATH": str(DINOV3)}
    command = [str(PEER), "-c", ORIGINAL, str(folder), *map(str, arguments)]
    ended = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    outputs: np.ndarray = np.load(folder / "found.npy")
    return outputs


def tile(channels: int, height: int, width: int) -> np.ndarray:
    """A crop of the bundled image, and neighbouring crops as further channels."""
    image = tifffile.imread(ROOT / "bigseg" / "samples" / "nuclei2d.tif").astype(np.float32)
    low, high = np.percentile(image, (1, 99))
    crops = [image[300:, 200 + 64 * c :][:height, :width] for c in range(channels)]
    return ((np.stack(crops)[None] - low) / (high - low)).astype(np.float32)


def read(path: Path) -> CellposeDino:
    state = torch.load(path, weights_only=True)
    net = build({name: tuple(value.shape) for name, value in state.items()})
    net.load_state_dict(state)
    assert list(net.state_dict()) == list(state)
    return net.eval()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    not (PEER.exists() and DINOV3.exists()),
    reason="python benchmarks/peers.py makes what it needs",
)
@pytest.mark.parametrize(
    ("name", "outputs", "shape"), [("vitb", 6, (1, 384, 384)), ("vitl", 3, (3, 192, 256))]
)
def test_outputs_and_files_are_those_of_the_original(
    tmp_path: Path, name: str, outputs: int, shape: tuple[int, int, int]
) -> None:
    np.save(tmp_path / "tile.npy", tile(*shape))
    theirs = original(tmp_path, name, outputs)
    net = read(tmp_path / "theirs.pt")
    (tmp_path / "theirs.pt").unlink()  # over a gigabyte
    with torch.inference_mode():
        ours = net(torch.from_numpy(tile(*shape))).numpy()
    # In standard deviations of each map: an offset makes the differences no smaller.
    difference = np.abs(ours - theirs).max((0, 2, 3)) / theirs.std((0, 2, 3))
    print("largest relative difference of each map:", difference)  # noqa: T201
    assert difference.max() < 1e-4
    torch.save(net.state_dict(), tmp_path / "ours.pt")
    again = original(tmp_path, name, outputs)
    (tmp_path / "ours.pt").unlink()
    assert np.array_equal(again, theirs)
