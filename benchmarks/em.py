"""Objects of dense EM: all of a volume in memory, and block by block, against the same truth.

    python benchmarks/em.py --data FOLDER [--sets gala] [--blocks 64,100,128] [--beta 0.65]

FOLDER holds `fib25_neurites` (Parag et al., 2015) and `gala_fibsem_neurites` (Nunez-Iglesias et
al., 2013) as `SET/PART/NAME_img.tif` and `NAME_mask.tif`. There is no network here: the boundary is
a ridge filter of the image (largest eigenvalue of the Hessian), which is far from what networks
do, but the same for all rows. In memory means the watershed, the region graph and the multicut of
`bigseg.core` on whole arrays; in blocks means a run of `bigseg.jobs.maps` on OME-Zarr.

Columns: variation of information from the truth (split and merge, bits), adapted Rand error,
variation of information from the result in memory, supervoxels (pieces, when blocks cut them),
objects, processor seconds and the largest memory of the process, with its libraries.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from bigseg.core.boundary_costs import boundary_costs
from bigseg.core.boundary_maps import eight_bits
from bigseg.core.metrics import adapted_rand_error, variation_of_information
from bigseg.core.multicut import solve
from bigseg.core.overlap import contingency
from bigseg.core.regions import region_edges
from bigseg.core.supervoxels import Growth, watershed_pieces
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs.maps import segment_maps
from bigseg.specs.maps import EmSpec

SETS = {
    "gala": "gala_fibsem_neurites/train/train",
    "fib25 b": "fib25_neurites/test/fib25_b",
    "fib25 a": "fib25_neurites/train/fib25_a",
}
SIGMA = 1.6
"""Voxels: half the thickness of a membrane."""
SETTINGS = {"threshold": 0.5, "sigma": 1.0}
HEAD = (
    "| set | way | VOI split | VOI merge | VOI | ARAND | VOI to memory | supervoxels | objects "
    "| CPU s | peak MB |\n| --- | --- | " + " | ".join(9 * ["---:"]) + " |"
)


def ridges(image: NDArray[Any], sigma: float = SIGMA) -> NDArray[np.uint8]:
    """How much of a dark sheet there is at each voxel, as eight bits: (z, y, x)."""
    values = image.astype(np.float32)
    hessian = np.empty((*image.shape, 3, 3), np.float32)
    for a in range(3):
        for b in range(a, 3):
            order = [int(axis == a) + int(axis == b) for axis in range(3)]
            found = ndimage.gaussian_filter(values, sigma, order=order)
            hessian[..., a, b] = hessian[..., b, a] = found
    steep = np.stack([np.linalg.eigvalsh(plane)[..., -1] for plane in hessian])
    low, high = np.percentile(steep, [50, 99])
    return eight_bits(np.clip((steep - low) / (high - low), 0, 1).astype(np.float32))


def in_memory(boundary: NDArray[np.uint8], beta: float) -> tuple[NDArray[np.uint32], int]:
    """Objects of a whole array, and the number of supervoxels."""
    spec = EmSpec(image="", source="boundaries", **SETTINGS)
    growth = Growth(spec.threshold, spec.sigma, spec.min_supervoxel, reach=spec.reach)
    pieces, seeds = watershed_pieces(boundary.astype(np.float32) / np.float32(255), growth)
    pairs, columns = region_edges(pieces.astype(np.uint64), boundary[None])
    costs = boundary_costs(columns, beta)
    cluster = np.asarray(solve(len(seeds), pairs.astype(np.int64) - 1, costs))
    return np.r_[0, cluster + 1].astype(np.uint32)[pieces], len(seeds)


def in_blocks(image: str, edge: int, beta: float) -> tuple[NDArray[np.uint32], int]:
    """Objects of a stored image in blocks of one edge, and the number of pieces of supervoxels."""
    with tempfile.TemporaryDirectory() as folder:
        spec = EmSpec(
            image=image,
            output=f"{folder}/objects.zarr",
            source="boundaries",
            beta=beta,
            block=(edge, edge, edge),
            **SETTINGS,
        )
        found = segment_maps(spec, cluster="serial")
        volume = Volume.open(found.labels)
        box = tuple(slice(0, n) for n in np.delete(volume.shape, 1).tolist())
        return volume.read(box)[0, 0].astype(np.uint32), found.supervoxels


def one(folder: str, edge: int, beta: float) -> None:
    """Do one row in a process of its own; labels and figures are left in the folder."""
    if edge:
        labels, pieces = in_blocks(f"{folder}/maps.zarr", edge, beta)
    else:
        labels, pieces = in_memory(np.load(f"{folder}/maps.npy"), beta)
    np.save(f"{folder}/{edge}.npy", labels)
    print(json.dumps({"pieces": pieces, "cpu": time.process_time(), "peak": peak()}))


def peak() -> float:
    """Largest memory of this process, MB (Linux); other counts begin with those of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def store(folder: str, maps: NDArray[np.uint8]) -> None:
    """Keep maps as an array and as an image."""
    np.save(f"{folder}/maps.npy", maps)
    url = f"{folder}/maps.zarr"
    create_image(plan_image(url, tuple("zyx"), maps.shape, maps.dtype, (1.0, 1.0, 1.0), (64,) * 3))
    Volume.open(url).write((slice(0, 1), *(slice(0, n) for n in maps.shape)), maps[None])


def row(name: str, edge: int, folder: str, truth: NDArray[Any], beta: float) -> str:
    """Measure one way and score it."""
    command = [sys.executable, __file__, "--one", f"{folder},{edge},{beta}"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    facts = json.loads(told.splitlines()[-1])
    labels = np.load(f"{folder}/{edge}.npy")
    table = contingency(labels, truth)
    split, merge = variation_of_information(*table)
    whole = sum(variation_of_information(*contingency(labels, np.load(f"{folder}/0.npy"))))
    cells = [
        name,
        f"blocks of {edge}³" if edge else "in memory",
        *(f"{value:.3f}" for value in (split, merge, split + merge, adapted_rand_error(*table))),
        f"{whole:.4f}",
        facts["pieces"],
        np.count_nonzero(np.bincount(labels.reshape(-1))[1:]),
        f"{facts['cpu']:.1f}",
        f"{facts['peak']:.0f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--blocks", default="64,100,128")
    parser.add_argument("--beta", type=float, default=EmSpec.model_fields["beta"].default)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        folder, edge, beta = chosen.one.split(",")
        one(folder, int(edge), float(beta))
        return
    print(HEAD)
    for name in chosen.sets.split(","):
        stem = chosen.data / SETS[name]
        image, truth = (tifffile.imread(f"{stem}_{what}.tif") for what in ("img", "mask"))
        with tempfile.TemporaryDirectory() as folder:
            store(folder, ridges(image))
            for edge in (0, *map(int, chosen.blocks.split(","))):
                print(row(name, edge, folder, truth.astype(np.uint32), chosen.beta), flush=True)


if __name__ == "__main__":
    main()
