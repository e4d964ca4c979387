"""Merge tiles that are a voxel off: what comes back of the truth, and what could at best.

    python benchmarks/tiles.py [--worlds 2D 3D] [--overlaps 0 1 2 4 8 16] [--seeds 2]

Worlds of cells are cut into tiles whose ids mean nothing elsewhere, each tile moved as a whole by
up to a voxel along each axis, and merged by `bigseg.merge`. "At best" is what a merge without a
mistake would write of the same tiles: each voxel as its tile has it, each object of a tile under
the name of the true one. It is below 1 where objects are so small or thin that moved by a voxel
they share less than half of their voxels with themselves. Split are objects of the truth of which
several objects found have a fifth, fused are objects found that hold a fifth of several.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bigseg.core.metrics import match, score  # noqa: E402
from bigseg.core.overlap import contingency  # noqa: E402
from bigseg.io.volume import Volume  # noqa: E402
from bigseg.jobs.tiles import merge  # noqa: E402
from tests.shapes import lattice  # noqa: E402
from tests.tiled import best_possible, displaced, owners, save, voronoi  # noqa: E402
from tests.worlds import balls  # noqa: E402

PLANE, SOLID = (400, 400), (64, 80, 96)
TILES = {2: (128, 128), 3: (32, 40, 48)}
WORLDS: dict[str, Callable[[int], Any]] = {
    "2D lattice, apart": lambda seed: lattice((1, *PLANE), 24, 11.0)[0],
    "2D lattice, touching": lambda seed: lattice((1, *PLANE), 24, 17.0)[0],
    "2D cells, apart": lambda seed: voronoi(PLANE, 300, 2.0, seed),
    "2D cells, touching": lambda seed: voronoi(PLANE, 300, 0.0, seed),
    "2D discs": lambda seed: balls(PLANE, 300, (5, 10), seed),
    "3D lattice, apart": lambda seed: lattice(SOLID, 24, 11.0),
    "3D lattice, touching": lambda seed: lattice(SOLID, 24, 16.0),
    "3D cells, apart": lambda seed: voronoi(SOLID, 60, 2.0, seed),
    "3D cells, touching": lambda seed: voronoi(SOLID, 60, 0.0, seed),
    "3D balls": lambda seed: balls(SOLID, 60, (5, 10), seed),
}
HEAD = (
    "| world | overlap | objects | AP 0.5 | AP 0.75 | AP 0.9 | at best 0.5 | 0.75 | 0.9 | split "
    "| fused |\n| --- |" + 10 * " ---: |"
)


def crowds(table: Any) -> tuple[int, int]:
    """Objects split, and objects fused."""
    found = match(*table)
    counts = []
    for of, side, sizes in (
        (found.shared, found.true, found.true_sizes[found.true]),
        (found.shared, found.predicted, found.true_sizes[found.true]),
    ):
        large = of >= 0.2 * sizes
        counts.append(int((np.bincount(side[large]) > 1).sum()))
    return counts[0], counts[1]


def one(world: str, overlap: int, seed: int) -> tuple[Any, ...]:
    """Scores of a merge and of the best one, and its mistakes."""
    truth = np.asarray(WORLDS[world](seed), np.uint32)
    tiles = displaced(truth, TILES[truth.ndim], overlap, seed)
    best = best_possible(truth, tiles, owners(truth.shape, tiles))
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder) / "tiles", tiles)
        volume = Volume.open(merge(path, f"{folder}/out.zarr", cluster="serial").labels)
        box = tuple(slice(0, n) for n in np.delete(volume.shape, 1).tolist())
        found = volume.read(box).reshape(truth.shape)
    table = contingency(found, truth)
    return score(*table), score(*contingency(best, truth)), crowds(table)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", nargs="*", default=[""], help="beginnings of names")
    parser.add_argument("--overlaps", nargs="*", type=int, default=[0, 1, 2, 4, 8, 16])
    parser.add_argument("--seeds", type=int, default=2)
    chosen = parser.parse_args()
    print(HEAD)
    for world in WORLDS:
        if not world.startswith(tuple(chosen.worlds)):
            continue
        for overlap in chosen.overlaps:
            rows = [one(world, overlap, seed) for seed in range(chosen.seeds)]
            got, best = (np.mean([r[i].average_precision for r in rows], axis=0) for i in (0, 1))
            cells = [sum(r[0].true for r in rows), *(f"{x:.3f}" for x in (*got, *best))]
            cells += [sum(r[2][i] for r in rows) for i in (0, 1)]
            print(f"| {world} | {overlap} | " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
