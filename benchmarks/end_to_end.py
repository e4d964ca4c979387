"""End to end: `bigseg segment` against Cellpose 3's own functions, in one run.

Both run the same network with the same weights on the same data on the same machine: bigseg on
local Dask clusters of two workers and of one; `CellposeModel.eval` on the whole array; and
`cellpose.contrib.distributed_segmentation.distributed_eval`. Each is a process of its own, from
its start to labels on disk. Images are mosaics of real microscopy: test images of the development
data with --data, else the images that come with bigseg.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
import zarr
from peers import CELLPOSE_3, ENVIRONMENT_3, peer_environment, peer_python
from watch import Taken, run

from bigseg.core.intensity import rescale
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.nets import network, weights

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent / "bigseg" / "samples"
SETS = {2: "dsb2018_fluo", 3: "bbbc050_mouse_embryo_nuclei"}
SAMPLE = {2: "nuclei2d", 3: "embryo3d"}
MODEL = "nuclei"
VOXEL = (1.75, 0.8, 0.8)
"""Micrometres, of the volumes."""
SQUARE = 256
THRESHOLDS = (0.5, 0.75, 0.9)
PEER_WORKERS = 2
CALM = {"OMP_WAIT_POLICY": "passive"}
"""For all sides: waiting threads sleep. They would spin, which costs a busy machine many times the
processor time, and would be held against the peer."""


@dataclass(frozen=True)
class Case:
    """An image to segment."""

    name: str
    pieces: int
    """Images side by side, along each axis of the plane."""
    ndim: int
    blocksize: int
    """Of the peer's blocks in the plane: as many blocks as bigseg's network has."""


CASES = {
    "small": (Case("2D 768×768", 3, 2, 384), Case("3D, one embryo", 1, 3, 72)),
    "full": (Case("2D 2048×2048", 8, 2, 1024), Case("3D, four embryos", 2, 3, 132)),
    "large": (Case("2D 4096×4096", 16, 2, 1024), Case("3D, nine embryos", 3, 3, 192)),
    "huge": (Case("2D 6144×6144", 24, 2, 1024), Case("3D, sixteen embryos", 4, 3, 256)),
}
PEERS = {"whole": "eval", "blocks": "distributed_eval"}
Pair = tuple[np.ndarray, np.ndarray]


def pairs(ndim: int, data: Path | None) -> Iterator[Pair]:
    """Images and their truths: those of the development data, or the one that comes with bigseg."""
    if data is None:
        name = SAMPLE[ndim]
        yield (
            tifffile.imread(SAMPLES / f"{name}.tif"),
            tifffile.imread(SAMPLES / f"{name}_truth.tif"),
        )
        return
    for path in sorted((data / SETS[ndim] / "test").glob("*_img.tif")):
        truth = tifffile.imread(path.with_name(path.name.replace("_img", "_mask")))
        if ndim == 2 or len(np.unique(truth)) > 15:  # no embryos of a handful of cells
            yield tifffile.imread(path), truth


def squares(image: np.ndarray, truth: np.ndarray) -> Iterator[Pair]:
    """Cut an image into squares, each with its own percentiles 1 to 99.8 as 0 to 255."""
    for y in range(0, image.shape[0] - SQUARE + 1, SQUARE):
        for x in range(0, image.shape[1] - SQUARE + 1, SQUARE):
            place = np.s_[y : y + SQUARE, x : x + SQUARE]
            low, high = np.percentile(image[place], (1, 99.8))
            scaled = np.clip((image[place] - low) / max(high - low, 1), 0, 1)
            yield np.rint(255 * scaled).astype(np.uint8), truth[place]


def mosaic(case: Case, data: Path | None) -> Pair:
    """Images side by side, and their truth; where there are too few they come again, turned."""
    found = list(pairs(case.ndim, data))
    if case.ndim == 2:
        found = [square for pair in found for square in squares(*pair)]
    found = found[: case.pieces**2]
    edge = min(n for image, _ in found for n in image.shape[-2:])
    pieces: list[Pair] = []
    last = 0
    for i in range(case.pieces**2):
        turned = [np.rot90(a, i // len(found), (-2, -1)) for a in found[i % len(found)]]
        image, truth = (a[..., :edge, :edge] for a in turned)
        pieces.append((image, np.where(truth > 0, truth.astype(np.uint32) + last, 0)))
        last = int(pieces[-1][1].max())
    rows = [pieces[i : i + case.pieces] for i in range(0, len(pieces), case.pieces)]
    image, truth = (np.block([[piece[k] for piece in row] for row in rows]) for k in (0, 1))
    return image, truth


def convert(image: np.ndarray, folder: Path) -> Path:
    """Write an OME-Zarr image, with the program that users have."""
    tifffile.imwrite(folder / "image.tif", image, metadata=None)
    axes = ["--axes", "yx"]
    if image.ndim == 3:
        axes = ["--axes", "zyx", "--voxel-size", ",".join(map(str, VOXEL))]
    path = folder / "image.zarr"
    command = [program(), "convert", folder / "image.tif", path, *axes, "--quiet"]
    subprocess.run(command, check=True)
    return path


def program() -> Path:
    """The program `bigseg` of this environment."""
    return Path(sys.executable).parent / "bigseg"


def export(path: Path) -> int:
    """Store the bundled weights as the peer reads them, in float32; diameter of the training.

    The peer's functions want whole pixels of diameter. What the file says about the training is
    rounded alike, so that nothing is rescaled.
    """
    state = {k: v.float() for k, v in network.read_state(weights.locate(MODEL)).items()}
    diameter = round(state["diam_mean"].item())
    for name in ("diam_mean", "diam_labels"):
        state[name] = torch.full_like(state[name], diameter)
    torch.save(state, path)
    return diameter


class Peer:
    """Cellpose 3 with our weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = peer_python(CELLPOSE_3, ENVIRONMENT_3)
        self.weights = folder / "weights.pth"
        self.diameter = export(self.weights)
        state = network.read_state(str(self.weights))
        self.net = network.build(state, str(self.weights))
        own = {
            "CELLPOSE_WIDTHS": ",".join(map(str, self.net.widths)),
            "HOME": str(folder),  # where the peer writes settings and logs
        }
        self.environment = peer_environment(threads=None) | own | CALM

    def settings(self, image: Path, case: Case) -> dict[str, Any]:
        """Same thresholds, no rescaling, everything else as the peer has it by default."""
        chosen: dict[str, Any] = {
            "channels": [0, 0],
            "diameter": self.diameter,
            "batch_size": 8,
            "normalize": True,
            "flow_threshold": 0.4,
            "cellprob_threshold": 0.0,
            "min_size": 15,
        }
        if case.ndim == 3:
            chosen |= {"do_3D": True, "z_axis": 0, "anisotropy": VOXEL[0] / VOXEL[2]}
        plane = (case.blocksize, case.blocksize)
        memory = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') // 2**21} MiB"
        return {
            "image": str(image / "0"),
            "weights": str(self.weights),
            "eval": chosen,
            "blocksize": plane if case.ndim == 2 else (51, *plane),
            "cluster": {
                "n_workers": PEER_WORKERS,
                "ncpus": 1,
                "threads_per_worker": 1,
                "memory_limit": memory,
            },
        }

    def run(self, what: str, settings: dict[str, Any]) -> tuple[np.ndarray, Taken]:
        """Do something in the peer's environment: its result and what it took."""
        asked, result = self.folder / "settings.json", self.folder / f"{what}.npy"
        asked.write_text(json.dumps(settings))
        script = HERE / "peer_cellpose3.py"
        taken = run(
            # -P: else the peer would take this very file for the package `distributed`.
            [self.python, "-P", script, what, asked, result],
            environment=self.environment,
            folder=self.folder,
            log=self.folder / f"{what}.log",
        )
        return np.load(result), taken

    def check(self, image: np.ndarray) -> float:
        """Largest difference between the peer's outputs and ours, in float32, for one tile."""
        plane = image if image.ndim == 2 else image[len(image) // 2]
        plane = plane[: plane.shape[0] // 16 * 16, : plane.shape[1] // 16 * 16][:224, :224]
        tile = np.zeros((1, 2, *plane.shape), np.float32)
        tile[0, 0] = rescale(plane, *np.percentile(plane, (1, 99)))
        np.save(self.folder / "tile.npy", tile)
        settings = {"weights": str(self.weights), "tile": str(self.folder / "tile.npy")}
        theirs, _ = self.run("network", settings)
        with torch.no_grad():
            ours = self.net(torch.from_numpy(tile)).numpy()
        difference = float(np.abs(ours - theirs).max())
        if difference > 1e-4:
            raise SystemExit(f"The peer's network differs from ours by {difference:.2g}.")
        return difference


def segment(
    image: Path, workers: int, folder: Path, model: str | Path = MODEL
) -> tuple[np.ndarray, Taken, dict[str, float]]:
    """Run `bigseg segment`: labels, what it took, and where its time went."""
    output = folder / f"labels{workers}.zarr"
    command = [program(), "segment", image, output, "--model", model, "--workers", str(workers)]
    taken = run(
        [*command, "--quiet"],
        environment=os.environ | CALM,
        folder=folder,
        log=folder / "bigseg.log",
    )
    ledger = output.with_name(output.name + ".bigseg") / "ledger"
    return zarr.open_array(output / "0", mode="r")[:], taken, shares(ledger)


def shares(ledger: Path) -> dict[str, float]:
    """Seconds of blocks inside and outside the network, and the tile redundancy."""
    paths = ledger.glob("*/*/*/*[0-9].json")
    records = [record for path in paths for record in json.loads(path.read_text())]
    (predicted,) = ledger.glob("predict/*/finished.json")
    facts = json.loads(predicted.read_text())
    return {
        "blocks": sum(record["seconds"] for record in records),
        "network": facts["network_seconds"],
        "redundancy": facts["tile_redundancy"],
    }


def warm_up(image: Path, folder: Path) -> None:
    """Let bigseg compile what it compiles once after its installation."""
    corner = zarr.open_array(image / "0", mode="r")[..., :96, :96]
    (folder / "warm").mkdir()
    small = convert(corner, folder / "warm")
    command = [program(), "segment", small, "--model", MODEL, "--cluster", "serial", "--quiet"]
    subprocess.run([*command, "--block", "64,64"], check=True)


def scores(labels: np.ndarray, truth: np.ndarray) -> list[str]:
    """Average precision at each threshold."""
    matches = match(*contingency(labels, truth))
    return [f"{average_precision(matches, threshold):.3f}" for threshold in THRESHOLDS]


def row(case: Case, name: str, labels: np.ndarray, truth: np.ndarray, taken: Taken) -> list[str]:
    """Cells of the table, all but the ratios."""
    objects = str(len(np.unique(labels[labels > 0])))
    memory = [f"{taken.largest / 1e6:.0f}", f"{taken.together / 1e6:.0f}"]
    return [
        case.name,
        name,
        f"{taken.wall:.1f}",
        f"{taken.cpu:.1f}",
        *memory,
        objects,
        *scores(labels, truth),
    ]


def compare(
    case: Case, data: Path | None, folder: Path, peers: list[str]
) -> tuple[list[str], list[str]]:
    """Rows of both tables for one case."""
    image, truth = mosaic(case, data)
    path = convert(image, folder)
    peer = Peer(folder)
    print(f"{case.name}: {image.shape}, {len(np.unique(truth)) - 1} true objects; networks differ "
          f"by {peer.check(image):.1e}", file=sys.stderr)  # fmt: skip
    warm_up(path, folder)
    taken: list[Taken] = []
    table, parts = [], []
    for workers in (2, 1):
        labels, took, where = segment(path, workers, folder)
        name = f"bigseg, {workers} worker{'s' * (workers > 1)}"
        table.append(row(case, name, labels, truth, took))
        print(line(table[-1]), file=sys.stderr, flush=True)
        taken.append(took)
        parts.append(part(case, workers, took, where))
        print(parts[-1], file=sys.stderr, flush=True)
    settings = peer.settings(path, case)
    for what in peers:
        labels, took = peer.run(what, settings)
        table.append(row(case, f"Cellpose 3 `{PEERS[what]}`", labels, truth, took))
        print(line(table[-1]), file=sys.stderr, flush=True)
        taken.append(took)
    best = taken[0]
    rows = [line(cells + ratios(t, best)) for cells, t in zip(table, taken, strict=True)]
    return rows, parts


def ratios(taken: Taken, best: Taken) -> list[str]:
    """How many times as much something takes."""
    names = ("wall", "cpu", "largest", "together")
    return [f"{getattr(taken, name) / getattr(best, name):.1f}×" for name in names]


def part(case: Case, workers: int, taken: Taken, where: dict[str, float]) -> str:
    """Row of the second table."""
    outside = where["blocks"] - where["network"]
    rest = taken.wall - where["blocks"] / workers
    seconds = [f"{value:.1f}" for value in (taken.wall, where["network"], outside)]
    share = f"{outside / where['blocks']:.0%}"
    return line(
        [case.name, str(workers), *seconds, share, f"{rest:.1f}", f"{where['redundancy']:.2f}"]
    )


def line(cells: list[str]) -> str:
    """One row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


HEAD = (
    "| image | program | wall s | CPU s | largest process MB | all processes MB | objects "
    "| AP 0.5 | AP 0.75 | AP 0.9 | wall, this / bigseg 2 | CPU | largest | all |\n"
    "| --- | --- |" + " ---: |" * 12
)
HEAD_PARTS = (
    "| image | workers | wall s | network s | other block work s | share outside the network "
    "| start, planning, waiting s | tile redundancy |\n| --- |" + " ---: |" * 7
)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The first run makes the peer's environment (minutes, 2 GB) in bench-env/.\n"
        "example: python benchmarks/end_to_end.py --size small",
    )
    parser.add_argument("--size", choices=CASES, default="full")
    parser.add_argument("--data", type=Path, help="folder of the development data")
    parser.add_argument("--dims", type=int, choices=(2, 3), help="only this case")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    args = parser.parse_args()
    table, parts = [HEAD], [HEAD_PARTS]
    for case in CASES[args.size]:
        if args.dims in (None, case.ndim):
            with tempfile.TemporaryDirectory() as folder:
                rows, more = compare(case, args.data, Path(folder), args.peers)
            print("\n".join([*rows, *more]), file=sys.stderr, flush=True)
            table += rows
            parts += more
    print("\n".join([*table, "", *parts]))


if __name__ == "__main__":
    main()
