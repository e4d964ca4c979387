"""Cellpose-SAM on whole images: `CellposeModel.eval` of Cellpose 4 against `bigseg segment`.

Same weights, same image, same machine, in one run; each side is a process of its own (and its
workers), from its start to labels on disk, in its default precision. Unlike `networks.py`, which
compares calls of the network for one tile, this counts all that an image takes: how many tiles it
is cut into, averaging them, flow dynamics, and reading and writing, too.

The weights are those of `taught_sam.py`, made by the first run. Images are mosaics of test images
of the development data. AP is against the truth, and of bigseg's objects against the peer's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from end_to_end import CALM, HERE, Case, convert, line, mosaic, scores, segment, warm_up
from peers import CELLPOSE, ENVIRONMENT, peer_environment, peer_python
from watch import Taken, run

WEIGHTS = ENVIRONMENT / "taught_sam.pt"
CASES = {n: Case(f"{256 * n}×{256 * n}", n, 2, 0) for n in (2, 4, 8)}
HEAD = (
    "| image | program | wall s | CPU s | largest process MB | objects | AP 0.5 | AP 0.75 | AP 0.9 "
    "| AP to the peer 0.5 | 0.75 | 0.9 | images/s, this / the peer | CPU, the peer / this |\n"
    "| --- | --- |" + " ---: |" * 12
)


def taught(data: Path) -> Path:
    """The weights, which are made when they are missing."""
    if not WEIGHTS.exists():
        ENVIRONMENT.mkdir(exist_ok=True)
        script = HERE / "taught_sam.py"
        subprocess.run([sys.executable, script, data, WEIGHTS], check=True, stdout=sys.stderr)
    return WEIGHTS


def peer(image: Path, model: Path, folder: Path) -> tuple[np.ndarray, Taken]:
    """Run `CellposeModel.eval` as it is by default: labels, and what it took."""
    asked, result = folder / "settings.json", folder / "peer.npy"
    script = HERE / "peer_cellpose3.py"
    asked.write_text(json.dumps({"image": str(image / "0"), "weights": str(model), "eval": {}}))
    taken = run(
        [peer_python(CELLPOSE, ENVIRONMENT), "-P", script, "whole", asked, result],
        environment=peer_environment(threads=None) | CALM | {"HOME": str(folder)},
        folder=folder,
        log=folder / "peer.log",
    )
    return np.load(result), taken


def compare(case: Case, data: Path, model: Path, workers: list[int], folder: Path) -> None:
    """Print the rows of one image."""
    image, truth = mosaic(case, data)
    path = convert(image, folder)
    warm_up(path, folder)
    theirs, usual = peer(path, model, folder)
    sides = [("Cellpose 4 `eval`", theirs, usual)]
    for n in workers:
        labels, taken, _ = segment(path, n, folder, model)
        sides.append((f"bigseg, {n} worker{'s' * (n > 1)}", labels, taken))
    for name, labels, taken in sides:
        cells = [case.name, name, f"{taken.wall:.1f}", f"{taken.cpu:.1f}"]
        cells += [f"{taken.largest / 1e6:.0f}", str(len(np.unique(labels[labels > 0])))]
        cells += scores(labels, truth) + scores(labels, theirs)
        cells += [f"{usual.wall / taken.wall:.2f}×", f"{usual.cpu / taken.cpu:.2f}×"]
        print(line(cells), flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The first run makes the peer's environment (minutes, 2 GB) and the weights (a\n"
        "quarter of an hour, 1.2 GB) in bench-env/.\n"
        "example: python benchmarks/whole_images.py --data DATA --squares 8",
    )
    parser.add_argument("--data", type=Path, required=True, help="the development data")
    parser.add_argument("--squares", type=int, nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--workers", type=int, nargs="*", default=[len(os.sched_getaffinity(0))])
    args = parser.parse_args()
    model = taught(args.data)
    print(HEAD)
    for squares in args.squares:
        with tempfile.TemporaryDirectory() as folder:
            compare(CASES[squares], args.data, model, args.workers, Path(folder))


if __name__ == "__main__":
    main()
