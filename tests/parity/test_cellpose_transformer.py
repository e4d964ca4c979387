"""Our transformer against Cellpose 3's, at full size, with random weights.

Runs in the peer's own environment, which `benchmarks/peers.py` makes.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from bigseg.nets.cellpose_transformer import build

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "bench-env" / "cellpose3" / "bin" / "python"
NEEDED = "lib/*/site-packages/segmentation_models_pytorch"

# Makes random weights, or reads ours; leaves them and the outputs for the tiles in the folder.
ORIGINAL = """
import sys
from pathlib import Path
import numpy as np
import torch
from cellpose.segformer import Transformer

folder = Path(sys.argv[1])
torch.manual_seed(0)
net = Transformer()
if (folder / "ours.pt").exists():
    net.load_state_dict(torch.load(folder / "ours.pt", weights_only=True), strict=True)
else:
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith(("running_mean", "bias")):
            value.normal_(std=0.1)
        elif value.ndim == 1 and name.endswith("weight"):
            value.uniform_(0.5, 1.5)
        elif name.endswith((".q.weight", ".kv.weight")):
            value.normal_(std=0.1)  # so that attention is far from even
        elif name.endswith(("top_conv.weight", "center_conv.weight")):
            value.normal_(std=0.03)
    net.diam_mean.fill_(17)
    net.diam_labels.fill_(21.5)
    net.save_model(folder / "theirs.pt")
with torch.no_grad():
    found, style = net.eval()(torch.from_numpy(np.load(folder / "tiles.npy")))
assert style.shape[1] == 256 and not style.any()
np.save(folder / "found.npy", found.numpy())
exact = net.double()(torch.from_numpy(np.load(folder / "tiles.npy")).double())[0]
np.save(folder / "exact.npy", exact.detach().numpy())
"""


def original(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of the original's network for the tiles in `folder`, in single and double."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(PEER), "-c", ORIGINAL, str(folder)]
    ended = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return np.load(folder / "found.npy"), np.load(folder / "exact.npy")


def tiles() -> np.ndarray:
    """Two crops of the bundled image; the second channel is a neighbouring crop."""
    image = tifffile.imread(ROOT / "bigseg" / "samples" / "nuclei2d.tif").astype(np.float32)
    low, high = np.percentile(image, (1, 99))
    crops = [[image[y : y + 224, 64 * c :][:, :224] for c in range(2)] for y in (100, 500)]
    return ((np.array(crops) - low) / (high - low)).astype(np.float32)


def difference(ours: torch.Tensor, theirs: np.ndarray) -> float:
    """Largest one, in standard deviations of each map: an offset makes it no smaller."""
    return float((np.abs(ours.numpy() - theirs).max((0, 2, 3)) / theirs.std((0, 2, 3))).max())


@pytest.mark.slow
@pytest.mark.skipif(
    not list(PEER.parents[1].glob(NEEDED)), reason="python benchmarks/peers.py makes what it needs"
)
def test_outputs_and_files_are_those_of_the_original(tmp_path: Path) -> None:
    np.save(tmp_path / "tiles.npy", tiles())
    theirs, exact = original(tmp_path)
    state = torch.load(tmp_path / "theirs.pt", weights_only=True)
    net = build({name: tuple(value.shape) for name, value in state.items()}).eval()
    net.load_state_dict(state)
    assert set(net.state_dict()) == set(state)
    # The original shows two channels and zeros to the network itself; here the engine does.
    shown = torch.nn.functional.pad(torch.from_numpy(tiles()), (0, 0, 0, 0, 0, 1))
    torch.save(net.state_dict(), tmp_path / "ours.pt")
    with torch.inference_mode():
        single = difference(net(shown), theirs)
        double = difference(net.double()(shown.double()), exact)
    print("largest relative difference in single and double precision:", single, double)  # noqa: T201
    assert single < 1e-4
    assert double < 1e-9
    assert np.array_equal(original(tmp_path)[0], theirs)
