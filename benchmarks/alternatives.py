"""Two segmentations of one movie, wrong in different places: each alone, and both that compete.

    python benchmarks/alternatives.py --data DATA

DATA holds epidermis_tracking_labels: true masks of a tissue, with lineages. Of these two
segmentations are made as real ones go wrong. In one, some neighbours are drawn as one cell, in
each frame others; in the other some cells are cut in two somewhere near the middle, and all
outlines are drawn a little larger or smaller. Both are tracked with the usual settings, alone and
against each other, in either order. Scores are against the true masks and lineages; "truth" is
what the true masks alone reach.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage

GAP = 3
"""Pixels between outlines of neighbours, at most."""


def neighbours(frame: np.ndarray) -> np.ndarray:
    """Pairs of cells that only a thin border keeps apart."""
    ends = [
        np.stack([frame[:, :-GAP], frame[:, GAP:]], -1),
        np.stack([frame[:-GAP], frame[GAP:]], -1),
    ]
    pairs = np.concatenate([one.reshape(-1, 2) for one in ends])
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (pairs > 0).all(axis=1)]
    found, count = np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)
    return found[count > 2 * GAP]


def merged(masks: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of cells is drawn as one with a neighbour."""
    rng, found = np.random.default_rng(seed), masks.copy()
    for frame in found:
        pairs = rng.permutation(neighbours(frame))
        taken: set[int] = set()
        wanted = share * (len(np.unique(frame)) - 1) / 2
        for one, other in pairs.tolist():
            if len(taken) / 2 >= wanted:
                break
            if one in taken or other in taken:
                continue
            taken |= {one, other}
            frame[frame == other] = one
            joined = ndimage.binary_closing(np.pad(frame == one, GAP), iterations=GAP)
            frame[joined[GAP:-GAP, GAP:-GAP] & (frame == 0)] = one
    return found


def split(masks: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of cells is cut in two; outlines of all are a pixel larger or smaller."""
    rng, found = np.random.default_rng(seed), masks.copy()
    for frame in found:
        free = int(frame.max()) + 1
        for cell, box in enumerate(ndimage.find_objects(frame.copy()), 1):
            if box is None or rng.random() >= share:
                continue
            y, x = np.nonzero(frame[box] == cell)
            angle = rng.uniform(0, np.pi)
            along = (y - y.mean()) * np.sin(angle) + (x - x.mean()) * np.cos(angle)
            half = along > rng.normal(0, along.std() / 4)
            frame[box][y[half], x[half]] = free
            free += 1
        larger = ndimage.grey_dilation(frame, 3)
        smaller = np.where(ndimage.grey_erosion(frame, 3) == larger, frame, 0)
        grows = rng.random(free) < 0.5
        frame[:] = np.where(
            (frame == 0) & grows[larger], larger, np.where(grows[frame], frame, smaller)
        )
    return found


def written(masks: Iterable[np.ndarray], folder: Path) -> str:
    """A file per frame."""
    folder.mkdir()
    for number, frame in enumerate(masks):
        tifffile.imwrite(folder / f"mask{number:03d}.tif", frame)
    return str(folder)


def row(name: str, labels: tuple[str, ...], truth: str, mode: str, out: Path) -> str:
    """Track and score."""
    import bigseg
    from bigseg.stages.evaluate_tracks import evaluate_tracks

    target = str(out / f"{mode}-{name.replace(' ', '-')}.zarr")
    started = time.process_time()
    done = bigseg.track(labels[0], target, alternatives=labels[1:], mode=mode, cluster="serial")
    seconds = time.process_time() - started
    found = evaluate_tracks(done.labels, truth).scores.values()
    names = ("edge F1", "division F1(1)", "TRA", "DET", "LNK")
    scores = " | ".join(f"{found[one]:.4f}" for one in names)
    taken = " + ".join(map(str, done.sources))
    return f"| {name} | {mode} | {scores} | {taken} | {seconds:.0f} |"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--merged", type=float, default=0.1, help="share of cells drawn with another"
    )
    parser.add_argument("--split", type=float, default=0.1, help="share of cells cut in two")
    parser.add_argument("--modes", default="global,fast")
    asked = parser.parse_args()
    truth = asked.data / "epidermis_tracking_labels" / "train"
    masks = np.stack([tifffile.imread(path) for path in sorted((truth / "TRA").glob("*.tif"))])
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        one = written(merged(masks, asked.merged, 1), out / "merged")
        two = written(split(masks, asked.split, 2), out / "split")
        true = written(masks, out / "true")
        sides = {
            "truth": (true,),
            "merged": (one,),
            "split": (two,),
            "merged, split": (one, two),
            "split, merged": (two, one),
        }
        print("| labels | mode | edge F1 | division F1 | TRA | DET | LNK | objects | CPU s |")
        print("|---|---|---|---|---|---|---|---|---|")
        for mode in asked.modes.split(","):
            for name, labels in sides.items():
                print(row(name, labels, str(truth), mode, out), flush=True)
                print(f"{mode}: {name} is done", file=sys.stderr)


if __name__ == "__main__":
    main()
