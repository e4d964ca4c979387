"""Scores of a model on the test splits of the development data, and what eight bits cost.

    python benchmarks/accuracy.py DATA --model nuclei

DATA holds folders of pairs NAME_img.tif and NAME_mask.tif. Every image goes through the engine's
own functions in memory, once with predictions in float32 and once in the eight bits that the
scratch space keeps; the table gives the mean over images of the average precision.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from bigseg.core.instances import Criteria, find_instances
from bigseg.core.intensity import rescale
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.planes import positions, predict_volume, resample
from bigseg.core.quality import remove_objects
from bigseg.core.quantise import quantise, unpack
from bigseg.core.tiles import predict_planes
from bigseg.nets import network, weights
from bigseg.plans.lattice import TILINGS
from bigseg.stages.predict import BORDER

SETS = {
    "dsb2018_fluo": 1.0,
    "dsb2018_histology": 1.0,
    "bbbc050_mouse_embryo_nuclei": 1.75 / 0.8,
}
"""Test splits, and voxel height over width."""
THRESHOLDS = (0.5, 0.75, 0.9)


def pairs(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images as grey, (y, x) or (z, y, x), and their masks."""
    for path in sorted(folder.glob("*_img.tif")):
        image = tifffile.imread(path)
        if image.ndim == 3 and image.shape[-1] in (3, 4):
            image = image[..., :3].mean(-1).astype(np.float32)
        yield image, tifffile.imread(path.with_name(path.name.replace("_img", "_mask")))


def field_of(net: network.TorchNet, image: np.ndarray, anisotropy: float) -> np.ndarray:
    """Flows and logit, (d + 1, …), as `predict` computes them for an image in one block."""
    scaled = rescale(image, *np.percentile(image, (1, 99)))
    if image.ndim == 2:
        wide = np.pad(scaled, BORDER)[None, None]
        return predict_planes(net, wide, TILINGS[2], 3, 1)[0][:, BORDER:-BORDER, BORDER:-BORDER]
    depth = max(round(len(scaled) * anisotropy), 1)
    tall = resample(scaled, 0, positions(0, depth, len(scaled) / depth))
    z, y, x = ((BORDER, BORDER + n) for n in tall.shape)
    field = predict_volume(
        lambda planes: predict_planes(net, planes, TILINGS[3], 3, 2),
        np.pad(tall, BORDER)[None],
        (z, y, x),
    )
    field = resample(field, 1, positions(0, len(scaled), depth / len(scaled)))
    field[0] /= anisotropy
    return field


def precision(
    field: np.ndarray, truth: np.ndarray, criteria: Criteria, flow_threshold: float
) -> list[float]:
    """Average precision of the objects of a field."""
    faces = ((False, False),) * truth.ndim
    labels, errors = find_instances(field[:-1], field[-1], criteria, faces)
    labels = remove_objects(labels, np.append(False, errors > flow_threshold))
    matches = match(*contingency(labels, truth))
    return [average_precision(matches, threshold) for threshold in THRESHOLDS]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--flow-threshold", type=float, default=0.4)
    parser.add_argument("--cellprob-threshold", type=float, default=0.0)
    parser.add_argument("--split", default="test")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--most", type=int, default=None, help="images per set")
    chosen = parser.parse_args()
    net = network.load(chosen.model, weights.digest(chosen.model))
    criteria = Criteria(chosen.cellprob_threshold, chosen.flow_threshold > 0)
    most = chosen.flow_threshold or np.inf
    print("| set | images | precision | AP 0.5 | AP 0.75 | AP 0.9 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in chosen.sets:
        exact, packed = [], []
        for image, truth in list(pairs(chosen.data / name / chosen.split))[: chosen.most]:
            field = field_of(net, image, SETS[name])
            flows, logits = unpack(quantise(field[:-1], field[-1]))
            eight = np.concatenate([flows, logits[None]])
            exact.append(precision(field, truth, criteria, most))
            packed.append(precision(eight, truth, criteria, most))
        for label, scores in (("float32", exact), ("8 bit", packed)):
            means = " | ".join(f"{value:.4f}" for value in np.nanmean(scores, axis=0))
            print(f"| {name} | {len(scores)} | {label} | {means} |", flush=True)


if __name__ == "__main__":
    main()
