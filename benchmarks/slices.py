"""Objects of planes put together to volumes: bigseg's links and micro-SAM's way, side by side.

    python benchmarks/slices.py DATA --truth plantseg_ovule_cells
    python benchmarks/slices.py DATA --model nuclei

DATA holds folders of pairs NAME_img.tif and NAME_mask.tif. Planes are those of the truth, each
object numbered anew in each plane, as they are and with mistakes at stated rates; or those that a
network finds, plane by plane, and then the volumes that it finds at once are a row, too. Of each
way the average precision in 3D at IoU 0.5 and 0.75 is given, the mean over volumes.

`micro-SAM` is its `merge_instance_segmentation_3d` (1.8), written anew after its description:
closing along z, one-sided overlap of consecutive planes, a multicut without repulsion. Both drop
objects of a single plane.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy import ndimage
from skimage.measure import label as components_of

from bigseg.core.gaps import fill_gaps, find_gaps
from bigseg.core.metrics import average_precision, match
from bigseg.core.multicut import solve
from bigseg.core.overlap import contingency
from bigseg.core.slices import Weighing, count_pairs, link_costs, rivals

THRESHOLDS = (0.5, 0.75)
GAP = 1
EXTENT = 2


@dataclass(frozen=True)
class Mistakes:
    """Rates per object of a plane; every `dropped`-th plane is empty."""

    name: str
    fused: float = 0.0
    split: float = 0.0
    missed: float = 0.0
    dropped: int = 0


CASES = (
    Mistakes("none"),
    Mistakes("every seventh plane is missing", dropped=7),
    Mistakes("2 % fused, 1 % split, 1 % missed", fused=0.02, split=0.01, missed=0.01),
    Mistakes("10 % fused, 2 % split, 3 % missed", fused=0.1, split=0.02, missed=0.03),
    Mistakes("10 % split, 5 % missed", split=0.1, missed=0.05),
)


def by_plane(volume: np.ndarray) -> np.ndarray:
    """Number the objects of each plane through."""
    result, first = np.zeros(volume.shape, np.uint32), 0
    for z, plane in enumerate(volume):
        ids, dense = np.unique(plane, return_inverse=True)
        dense = dense.reshape(plane.shape) + (ids[0] != 0)
        result[z] = np.where(dense > 0, dense + first, 0)
        first += int(dense.max())
    return result


def touching(plane: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of objects that touch."""
    found = []
    for a, b in ((plane[1:], plane[:-1]), (plane[:, 1:], plane[:, :-1])):
        meet = (a != b) & (a > 0) & (b > 0)
        found.append(np.sort(np.stack([a[meet], b[meet]], axis=1), axis=1))
    return sorted(map(tuple, np.unique(np.concatenate(found), axis=0).tolist()))


def with_mistakes(truth: np.ndarray, rates: Mistakes, seed: int) -> np.ndarray:
    """Objects of planes, some of them wrong."""
    rng = np.random.default_rng(seed)
    volume = truth.astype(np.int64)
    new = int(volume.max()) + 1
    for plane in volume:
        for a, b in touching(plane):
            if rng.random() < rates.fused:
                plane[plane == b] = a
        for number in np.unique(plane[plane > 0]):
            if rng.random() < rates.missed:
                plane[plane == number] = 0
            elif rng.random() < rates.split:
                halve(plane, number, new, rng)
                new += 1
    if rates.dropped:
        volume[rates.dropped // 2 :: rates.dropped] = 0
    return by_plane(volume)


def halve(plane: np.ndarray, number: int, new: int, rng: np.random.Generator) -> None:
    """Cut an object in two along a line."""
    y, x = np.nonzero(plane == number)
    turn = rng.uniform(0, np.pi)
    along = (y - y.mean()) * np.sin(turn) + (x - x.mean()) * np.cos(turn)
    side = along > np.quantile(along, rng.uniform(0.3, 0.7))
    plane[y[side], x[side]] = new


def ours(planes: np.ndarray, weighing: Weighing) -> np.ndarray:
    """Stack planes with bigseg's core, in memory."""
    count = int(planes.max())
    plane, sizes = plane_and_size(planes)
    pairs, shared = count_pairs(planes, len(planes), GAP + 1)
    uv = pairs.astype(np.int64) - 1
    step = plane[uv[:, 1]] - plane[uv[:, 0]]
    costs = link_costs(shared, sizes[uv[:, 0]], sizes[uv[:, 1]], step, weighing)
    against, pushes = rivals(uv, costs, plane, weighing.repulsion)
    found = solve(count, np.concatenate([uv, against]), np.concatenate([costs, pushes]))
    ids = found.astype(np.int64) + 1
    boxes = ndimage.find_objects(planes)
    nodes = {"frame": np.zeros(count, np.int32), "z0": plane}
    for axis, name in ((1, "y"), (2, "x")):
        nodes |= {f"{name}0": np.array([b[axis].start for b in boxes])}
        nodes |= {f"{name}1": np.array([b[axis].stop for b in boxes])}
    labels = np.r_[0, ids].astype(np.uint32)[planes]
    shown = {z: ((0, 0), labels[z].copy()) for z in range(len(labels))}
    fill_gaps(labels, (0, 0, 0), find_gaps(ids, nodes, GAP), shown)
    return long_enough(labels)


def plane_and_size(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Plane and voxels of each object of a plane."""
    plane = np.zeros(int(planes.max()), np.int64)
    for z, ids in enumerate(planes):
        plane[ids[ids > 0] - 1] = z
    return plane, np.bincount(planes.ravel(), minlength=len(plane) + 1)[1:]


def long_enough(labels: np.ndarray) -> np.ndarray:
    """Drop objects that span fewer than `EXTENT` planes."""
    result = labels.copy()
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if box is not None and box[0].stop - box[0].start < EXTENT:
            result[box][labels[box] == number] = 0
    return result


def micro_sam(planes: np.ndarray) -> np.ndarray:
    """Stack planes as micro-SAM 1.8 is described to do."""
    planes = closed(planes)
    _, sizes = plane_and_size(planes)
    pairs, shared = count_pairs(planes, len(planes), 1)
    uv = pairs.astype(np.int64) - 1
    p = 0.998 * shared / sizes[uv[:, 0]] + 0.001
    found = solve(len(sizes), uv, 1 + np.log(p / (1 - p)))
    return long_enough(np.r_[0, found.astype(np.int64) + 1].astype(np.uint32)[planes])


def closed(planes: np.ndarray) -> np.ndarray:
    """Close gaps along z in the foreground; a component with several objects keeps them."""
    mask = ndimage.binary_closing(planes > 0, np.ones((3, 1, 1)), iterations=GAP)
    result = planes.astype(np.int64)
    for z in range(GAP, len(planes) - GAP):
        pieces = components_of(mask[z], connectivity=2)
        for number, box in enumerate(ndimage.find_objects(pieces), 1):
            inside = pieces[box] == number
            if len(np.unique(planes[z][box][inside & (planes[z][box] > 0)])) <= 1:
                result[z][box][inside] = int(planes.max()) + number
    return by_plane(result)


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "bigseg": lambda planes: ours(planes, Weighing()),
    "bigseg, without repulsion": lambda planes: ours(planes, Weighing(repulsion=0)),
    "bigseg, without links over gaps": lambda planes: ours(planes, Weighing(skip=0)),
    "bigseg, intersection over union": lambda planes: ours(planes, Weighing(score="iou")),
    "bigseg, share of the larger": lambda planes: ours(planes, Weighing(score="max")),
    "micro-SAM": micro_sam,
}


def precision(found: np.ndarray, truth: np.ndarray) -> list[float]:
    """Average precision at each threshold."""
    matches = match(*contingency(found.astype(np.uint32), truth.astype(np.uint32)))
    return [average_precision(matches, threshold) for threshold in THRESHOLDS]


def row(name: str, scores: list[list[float]]) -> str:
    """A row of a table."""
    means = " | ".join(f"{value:.3f}" for value in np.mean(scores, axis=0))
    return f"| {name} | {len(scores)} | {means} |"


def volumes(data: Path, name: str, split: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and masks of a set."""
    for path in sorted((data / name / split).glob("*_img.tif")):
        yield (
            tifffile.imread(path),
            tifffile.imread(path.with_name(path.name.replace("_img", "_mask"))),
        )


def of_truth(data: Path, name: str, split: str) -> None:
    """Print how well planes of the truth come together."""
    masks = [mask for _, mask in volumes(data, name, split)]
    for case in CASES:
        print(f"\n{name}, {split}; mistakes in planes: {case.name}\n")
        print("| way | volumes | AP 0.5 | AP 0.75 |\n| --- | --- | --- | --- |")
        planes = [with_mistakes(mask, case, seed) for seed, mask in enumerate(masks)]
        for way, stack in WAYS.items():
            scores = [precision(stack(p), m) for p, m in zip(planes, masks, strict=True)]
            print(row(way, scores), flush=True)


def of_model(data: Path, name: str, split: str, model: str) -> None:
    """Print how well planes of a network come together, and its volumes."""
    from accuracy import SETS, field_of

    from bigseg.core.instances import Criteria, find_instances
    from bigseg.core.intensity import rescale
    from bigseg.core.quality import remove_objects
    from bigseg.nets import network, weights

    net = network.load(model, weights.digest(model))

    def objects(field: np.ndarray) -> np.ndarray:
        faces = ((False, False),) * (field.ndim - 1)
        labels, errors = find_instances(field[:-1], field[-1], Criteria(), faces)
        return remove_objects(labels, np.append(False, errors > 0.4))

    scores: dict[str, list[list[float]]] = {way: [] for way in (*WAYS, "volumes at once")}
    for image, mask in volumes(data, name, split):
        # One range for all planes; in a dark one, noise would be stretched to objects.
        scaled = rescale(image, *np.percentile(image, (1, 99)))
        planes = by_plane(np.stack([objects(plane_field(net, plane)) for plane in scaled]))
        for way, stack in WAYS.items():
            scores[way].append(precision(stack(planes), mask))
        solid = objects(field_of(net, image, SETS[name]))
        scores["volumes at once"].append(precision(solid, mask))
    print(f"\n{name}, {split}; planes of {model}\n")
    print("| way | volumes | AP 0.5 | AP 0.75 |\n| --- | --- | --- | --- |")
    for way, found in scores.items():
        print(row(way, found), flush=True)


def plane_field(net: object, scaled: np.ndarray) -> np.ndarray:
    """Flows and logit of a plane, (3, y, x)."""
    from bigseg.core.tiles import predict_planes
    from bigseg.plans.lattice import TILINGS
    from bigseg.stages.predict import BORDER

    wide = np.pad(scaled, BORDER)[None, None]
    return predict_planes(net, wide, TILINGS[2], 3, 1)[0][:, BORDER:-BORDER, BORDER:-BORDER]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--truth", nargs="*", default=["bbbc050_mouse_embryo_nuclei"])
    parser.add_argument("--split", default="test")
    parser.add_argument("--model", default=None, help="planes of this network, of BBBC050")
    chosen = parser.parse_args()
    if chosen.model:
        of_model(chosen.data, "bbbc050_mouse_embryo_nuclei", chosen.split, chosen.model)
        return
    for name in chosen.truth:
        of_truth(chosen.data, name, chosen.split)


if __name__ == "__main__":
    main()
