"""Pixels that the network computes for each one that is kept, and what packing planes would do.

    python benchmarks/thin_volumes.py
    python benchmarks/thin_volumes.py --data DATA

The first table is arithmetic: how blocks of `predict` and their tiles cover volumes of some shapes.
With DATA, slabs of 16 planes of the embryos are predicted twice: each plane in a tile of its own,
and several thin planes side by side in one, with zeros between them. A network sees all of a tile
(through its style vector, or through attention), so what is beside a plane changes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from math import ceil, prod
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import SETS, THRESHOLDS, pairs

from bigseg.core.instances import Criteria, find_instances
from bigseg.core.intensity import rescale
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.planes import positions, predict_volume, resample
from bigseg.core.quality import remove_objects
from bigseg.core.tiles import Tiling, computed_pixels, predict_planes
from bigseg.grid import Grid
from bigseg.nets import network, weights
from bigseg.plans.lattice import FIXED_MARGINS, TILINGS, predict_blocks
from bigseg.stages.predict import BORDER

Array = np.ndarray[Any, Any]
EMBRYOS = "bbbc050_mouse_embryo_nuclei"
MODEL = "nuclei"
SLAB = 16
FLOW_THRESHOLD = 0.4
FIXED = Tiling(256, FIXED_MARGINS[3], fixed=True)
SHAPES = (
    ((256, 1024, 1024), 1.0),
    ((256, 1024, 1024), 2.2),
    ((1024, 1024, 1024), 1.0),
    ((2048, 2048, 2048), 1.0),
    ((4096, 4096, 4096), 1.0),
    ((51, 500, 500), 2.2),
    ((30, 1024, 1024), 3.0),
    ((30, 1024, 1024), 1.0),
)
"""Voxels along z, y, x, and height of a voxel over its width."""


def redundancy(shape: tuple[int, int, int], tall: float, tiling: Tiling) -> float:
    """Pixels computed for each one that is kept, planes of all orientations together."""
    scale = (tall, 1.0, 1.0)
    block, halo = predict_blocks((1, *shape), 3, scale, tiling)
    computed = kept = 0.0
    for one in Grid((1, *shape), block, halo):
        own, sides = [], []
        for read, write, n, s in zip(one.read[1:], one.write[1:], shape, scale, strict=True):
            own.append((write.stop - write.start) * s)
            border = BORDER * ((read.start == 0) + (read.stop == n))
            sides.append(round((read.stop - read.start) * s) + border)
        for y, x in ((1, 2), (0, 2), (0, 1)):
            computed += prod(own) / (own[y] * own[x]) * computed_pixels(tiling, sides[y], sides[x])
            kept += prod(own)
    return computed / kept


def packed(predict: Callable[[Array], Array], tile: int) -> Callable[[Array], Array]:
    """Show the network as many planes (n, c, h, w) in one tile as fit along their short axis."""

    def call(planes: Array) -> Array:
        axis = 2 if planes.shape[2] <= planes.shape[3] else 3
        count, length = len(planes), planes.shape[axis]
        several = max(tile // length, 1)
        groups = ceil(count / several)
        filled = np.pad(planes, ((0, groups * several - count), (0, 0), (0, 0), (0, 0)))
        maps = predict(np.concatenate([filled[i::several] for i in range(several)], axis))
        split = np.stack(np.split(maps, several, axis), 1)
        return split.reshape(-1, *split.shape[2:])[:count]

    return call


def objects(net: network.Ensemble, image: Array, pack: bool) -> Array:
    """Objects of a volume that is one block, planes packed or each in a tile of its own."""
    tall, tiling = SETS[EMBRYOS], TILINGS[3]
    volume = rescale(image, *np.percentile(image, (1, 99)))
    deep = round(len(volume) * tall)
    volume = resample(volume, 0, positions(0, deep, len(volume) / deep))
    core = [(BORDER, BORDER + n) for n in volume.shape]

    def predict(planes: Array) -> Array:
        return predict_planes(net, planes, tiling, 3, 1)

    field = predict_volume(
        packed(predict, tiling.tile) if pack else predict,
        np.pad(volume, BORDER)[None],
        (core[0], core[1], core[2]),
    )
    field = resample(field, 1, positions(0, len(image), deep / len(image)))
    field[0] /= tall
    criteria = Criteria(spacing=(tall, 1.0, 1.0))
    labels, errors = find_instances(field[:-1], field[-1], criteria, ((False, False),) * 3)
    return remove_objects(labels, np.append(False, errors > FLOW_THRESHOLD))


def scores(some: list[Array], others: list[Array]) -> str:
    """AP at the thresholds, mean over volumes."""
    matches = [match(*contingency(*two)) for two in zip(some, others, strict=True)]
    means = [np.nanmean([average_precision(m, t) for m in matches]) for t in THRESHOLDS]
    return " / ".join(f"{mean:.3f}" for mean in means)


def compare(data: Path, most: int | None) -> None:
    """Print what packing does to objects."""
    net = network.Ensemble((network.load(MODEL, weights.digest(MODEL)),))
    both = list(pairs(data / EMBRYOS / "test"))[:most]
    starts = (10, 10 + SLAB)
    slabs = [tuple(a[s : s + SLAB] for a in pair) for pair in both for s in starts]
    truth = [true for _, true in slabs]
    alone, together = ([objects(net, image, way) for image, _ in slabs] for way in (False, True))
    print("\n| planes | objects | AP, truth | AP, each alone |\n| --- | ---: | ---: | ---: |")
    for name, found in (("each in a tile", alone), ("several in a tile", together)):
        count = sum(len(np.unique(one[one > 0])) for one in found)
        print(f"| {name} | {count} | {scores(found, truth)} | {scores(found, alone)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the development data")
    parser.add_argument("--most", type=int, help="volumes")
    chosen = parser.parse_args()
    print("| volume | voxel height | U-Net | tiles of 256 only |\n| --- | ---: | ---: | ---: |")
    for shape, tall in SHAPES:
        cells = [f"{redundancy(shape, tall, tiling):.2f}" for tiling in (TILINGS[3], FIXED)]
        print(f"| {'×'.join(map(str, shape))} | {tall} | {' | '.join(cells)} |", flush=True)
    if chosen.data:
        compare(chosen.data, chosen.most)


if __name__ == "__main__":
    main()
