"""Merge the same per-block labels with bigseg and with peers: what comes back of the truth.

Cells on a lattice, apart or touching, in a plane and in a volume. Every block gets the true labels
of its box with a halo of two cells, with ids of its own. Then each block is off by up to a voxel
along each axis; then, besides, it takes 2 % of its cells for two, misses 2 % and fuses 2 %.
All merge the same labels: bigseg; `cellpose.contrib.distributed_segmentation` (its functions from
`global_segment_ids` on); dask-image (what `ndmeasure.label` does once chunks are labelled); and
bioimage-py (`stitch_segmentation`). Each in a process of its own, on one thread, after a warm-up;
time and memory are from labels in memory to labels in memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from disturb import Errors, disturbed
from peer_merging import run
from peers import CELLPOSE, ENVIRONMENT, peer_environment, peer_python

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PITCH = 24
REPULSION = 0.0
"""As `bigseg segment` has it by default."""
WORLDS = {
    "2D apart": ((1, 1024, 1024), (1, 256, 256), 11.0),
    "2D touching": ((1, 1024, 1024), (1, 256, 256), 17.0),
    "3D apart": ((192, 192, 192), (80, 80, 80), 11.0),
    "3D touching": ((192, 192, 192), (80, 80, 80), 16.0),
    "3D touching, faces between": ((192, 192, 192), (96, 96, 96), 16.0),
}
"""Shape, block and radius of the cells; faces of blocks run through cells but in the last."""
ERRORS = {
    "none": Errors(),
    "1 voxel off": Errors(shift=1),
    "and 2 % split, missed, fused": Errors(shift=1, split=0.02, miss=0.02, fuse=0.02),
}
CELLPOSE_DISTRIBUTED = (
    *CELLPOSE,
    "zarr==3.0.10",
    "dask==2026.8.0",
    "distributed==2026.8.0",
    "dask-image==2026.5.0",
    "dask-jobqueue==0.9.0",
    "tifffile==2026.3.3",
    "pyyaml",
)
BIOIMAGE_PY = ("bioimage-py==0.2.2",)


def grid_of(case: dict[str, Any]) -> Any:
    """Grid of a case; planes have a z of 1."""
    from per_block import cut

    flat = len(case["shape"]) == 2
    wide = [tuple([1] * flat + case[name]) for name in ("shape", "block")]
    return cut(*wide, tuple([0] * flat + case["halo"]))


def write_case(folder: Path, world: str, errors: Errors) -> Any:
    """Store the labels of all blocks; returns the truth."""
    from tests.shapes import lattice

    shape, block, radius = WORLDS[world]
    truth = lattice(shape, PITCH, radius)
    flat = int(shape[0] == 1)
    case: dict[str, Any] = {
        "shape": shape[flat:],
        "block": block[flat:],
        "halo": [2 * PITCH] * (3 - flat),
        "blocks": [],
    }
    grid = grid_of({name: list(value) for name, value in case.items()})
    case["counts"] = grid.counts[1 + flat :]
    folder.mkdir()
    for number, one in enumerate(grid):
        boxes = {
            name: [(s.start, s.stop) for s in getattr(one, name)[1 + flat :]]
            for name in ("read", "write")
        }
        case["blocks"].append({"index": one.index[1 + flat :], **boxes})
        labels = disturbed(truth, one, errors)
        _, local = np.unique(np.append(labels, 0), return_inverse=True)
        labels = local[:-1].reshape(labels.shape).astype(np.uint32)
        np.save(folder / f"block-{number}.npy", labels[0] if flat else labels)
    (folder / "case.json").write_text(json.dumps(case))
    return truth[0] if flat else truth


def ours(evidence: Path | None, case: dict[str, Any], blocks: list[Any]) -> Any:
    """bigseg, from the labels of each block on."""
    from per_block import label_blocks, merge

    from bigseg.core.evidence import Evidence
    from bigseg.io.evidence import read_evidence

    grid = grid_of(case)
    flat = len(case["shape"]) == 2
    band = (0, 8, 8) if flat else (8, 8, 8)
    found = label_blocks(
        grid,
        band,
        lambda b: blocks[grid.number(b.index)].reshape([s.stop - s.start for s in b.read[1:]]),
    )
    weighed = read_evidence(str(evidence)) if evidence else Evidence()
    return merge(grid, found, costs=weighed.costs, repulsion=REPULSION).reshape(case["shape"])


def row(name: str, side: str, folder: Path, truth: Any) -> str:
    """A row of the table."""
    from bigseg.core.metrics import match, score
    from bigseg.core.overlap import contingency

    table = contingency(np.load(folder / f"{side}.npy"), truth)
    took = json.loads((folder / f"{side}.json").read_text())
    scores, matches = score(*table), match(*table)
    parts = matches.shared >= 0.2 * matches.true_sizes[matches.true]
    crowd = np.bincount(matches.predicted[parts], minlength=len(matches.predicted_sizes))
    fused = int(crowd[crowd > 1].sum())
    ap = " | ".join(f"{value:.3f}" for value in scores.average_precision)
    return (
        f"| {name} | {side} | {scores.predicted} of {scores.true} | {fused} | {ap} "
        f"| {scores.voi_split:.3f} + {scores.voi_merge:.3f} | {took['cpu']:.2f} "
        f"| {took['extra'] / 1e6:.0f} |"
    )


def pythons() -> dict[str, Path]:
    """Python of each peer."""
    cellpose = peer_python(CELLPOSE_DISTRIBUTED, ENVIRONMENT)
    return {
        "cellpose": cellpose,
        "dask-image": cellpose,
        "bioimage-py": peer_python(BIOIMAGE_PY, ENVIRONMENT / "bioimage-py"),
    }


def main() -> None:
    """Print the table, or take our side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", nargs="*", choices=WORLDS, default=list(WORLDS))
    parser.add_argument("--evidence", type=Path, help="file of 'bigseg calibrate', for our side")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.ours:
        run("bigseg", partial(ours, args.evidence), args.ours)
        return
    peers = pythons()
    with tempfile.TemporaryDirectory() as name:
        folder, truths = Path(name), {}
        for world in args.worlds:
            for number, errors in enumerate(ERRORS):
                case = folder / f"{world.replace(' ', '-')}-{number}"
                truths[case, f"{world}, {errors}"] = write_case(case, world, ERRORS[errors])
        command = [sys.executable, __file__, "--ours", name]
        command += ["--evidence", str(args.evidence)] if args.evidence else []
        subprocess.run(command, check=True, env=peer_environment() | {"PYTHONPATH": str(ROOT)})
        for side, python in peers.items():
            script = Path(__file__).with_name("peer_merging.py")
            subprocess.run([python, script, side, name], check=True, env=peer_environment())
        print(
            "| labels, error | side | objects | fused | AP 0.5 | AP 0.75 | AP 0.9 "
            "| VOI split + merge | CPU s | extra MB |"
        )
        print("| --- | --- |" + " ---: |" * 8)
        for (case, title), truth in truths.items():
            for side in ("bigseg", *peers):
                print(row(title, side, case, truth), flush=True)


if __name__ == "__main__":
    main()
