"""Following flows as published, against Cellpose 3's own functions, on noisy flows.

Runs in the peer's own environment, which `benchmarks/peers.py` makes.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bigseg.core.decode.flows import labels_from_flows
from bigseg.core.decode.published import labels_as_published
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.targets import flow_targets
from tests.worlds import ball

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / "bench-env" / "cellpose3" / "bin" / "python"
ORIGINAL = """
import sys
import numpy as np
from cellpose.dynamics import compute_masks

with np.load(sys.argv[1] + "/field.npz") as field:
    flows, logits = field["flows"], field["logits"]
labels = compute_masks(flows * 5, logits, flow_threshold=0, do_3D=logits.ndim == 3)
np.save(sys.argv[1] + "/labels.npy", labels.astype(np.uint32))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PEER.exists(), reason="python benchmarks/peers.py makes the peer"),
]


def original(flows: np.ndarray, logits: np.ndarray, folder: Path) -> np.ndarray:
    """Labels of the original, of the same field."""
    np.savez(folder / "field.npz", flows=flows, logits=logits)
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(PEER), "-c", ORIGINAL, str(folder)]
    ended = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return np.load(folder / "labels.npy")


def agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Average precision at an IoU of 0.9."""
    return average_precision(match(*contingency(ours, theirs)), 0.9)


@pytest.mark.parametrize("shape", [(160, 200), (40, 60, 70)], ids=["2d", "3d"])
def test_of_weak_noisy_flows_the_original_makes_the_same_objects(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    truth = np.zeros(shape, np.uint32)
    for number in range(1, 13):
        truth[ball(shape, tuple(random.uniform(9, n - 9) for n in shape), 9)] = number
    flows = 0.3 * flow_targets(truth)
    flows += (0.4 * random.standard_normal(flows.shape)).astype(np.float32)
    logits = np.where(truth > 0, 2, -2).astype(np.float32)
    theirs = original(flows, logits, tmp_path)
    assert theirs.max() > 12  # the noise makes splinters
    assert agreement(labels_as_published(flows, logits), theirs) > 0.97
    assert agreement(labels_from_flows(flows, logits), theirs) < 0.97
