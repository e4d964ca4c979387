"""Scores of the published Scellseg weights on the images of their package.

    python benchmarks/scellseg_scores.py            # fetches the source package once (100 MB)
    python benchmarks/scellseg_scores.py --peer     # the package's own functions, too

The package is never installed: its source archive is fetched into `bench-env/`, which is
git-ignored, checked against its published sum, and only its weights and images are read. Each
image goes through bigseg's pure functions as a whole, with the published settings: channels green
and red, one diameter per style (the mean over its five images), tiles of 224 that overlap by a
tenth, flow threshold 0.4, logit above 0.5, objects of 35 pixels or more. The table gives AP at IoU
0.5 and the aggregated Jaccard index, mean over images.

The images may be among those that the weights were trained on: these are numbers to hold on to,
not a benchmark of accuracy.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import imagecodecs
import numpy as np
import torch
from peers import ENVIRONMENT, ENVIRONMENT_3, peer_environment, peer_python

from bigseg.core.decode.hover import labels_from_hover
from bigseg.core.instances import Criteria, find_instances
from bigseg.core.intensity import rescale
from bigseg.core.metrics import aji_cellpose, average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.planes import positions, resample
from bigseg.core.quality import remove_objects
from bigseg.core.tiles import Tiling, predict_planes, round_up
from bigseg.nets import scellseg
from bigseg.nets.architectures import published_keys

VERSION = "scellseg==0.1.8"
SHA256 = "084c5f1b12d0d97f0c3d0880ae579c1b7c4f7dea2203486bd11ba4c640a92d3c"
NEEDED = (
    "torch==2.13.0",
    "opencv-python-headless",
    "scikit-image==0.25.2",
    "numba",
    "natsort",
    "tqdm",
    "tifffile==2026.3.3",
)
"""What the package's functions import."""
FOLDER = ENVIRONMENT / "scellseg"
ASSETS = FOLDER / "scellseg-0.1.8" / "scellseg" / "assets"
MODELS = ("scellseg", "cellpose", "hover")
DIAMETER = 30.0
"""Pixels, of objects in the images that the weights were trained on."""
BORDER = 8
"""Zeros on each side of an image."""
MIN_SIZE = 35
FLOW_THRESHOLD = 0.4
LOGIT_THRESHOLD = 0.5
CALL = 8
"""Tiles per call of the network."""

STYLES = (
    "Kc167",
    "cytomembrane",
    "macrophagocyte",
    "neurocyte",
    "style1",
    "style2",
    "style3",
)
Score = tuple[float, float]
"""Average precision at IoU 0.5, and aggregated Jaccard index."""


@dataclass(frozen=True, slots=True)
class Published(Tiling):
    """Tiles as Scellseg and Cellpose lay them: a tenth of overlap, but no tile padded."""

    def edges(self, length: int) -> tuple[int, list[int]]:
        if length <= self.tile:
            return length, [0]
        count = ceil(1.2 * length / self.tile)
        return self.tile, np.linspace(0, length - self.tile, count).astype(int).tolist()


def assets() -> Path:
    """Folder of the package's weights and images; fetched and unpacked when it is missing."""
    if not ASSETS.is_dir():
        FOLDER.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary"]
        subprocess.run([*command, ":all:", "-d", FOLDER, VERSION], check=True)
        archive = FOLDER / "scellseg-0.1.8.tar.gz"
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != SHA256:
            raise SystemExit(f"{archive} has SHA-256 {found}, not {SHA256}; delete it.")
        with tarfile.open(archive) as packed:
            packed.extractall(FOLDER, filter="data")
    return ASSETS


def network(name: str) -> scellseg.ScellsegNet:
    """One of the published networks."""
    state = torch.load(assets() / "pretrained_models" / name, "cpu", weights_only=True)
    state = published_keys(state)
    net = scellseg.build({key: tuple(value.shape) for key, value in state.items()})
    net.load_state_dict(state, strict=True)
    return net.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def paths(style: str) -> list[Path]:
    """Images of a style."""
    return sorted((assets() / "contrast_data" / style).glob("*_img.png"))


def image_of(path: Path) -> np.ndarray:
    """Green and red, (2, y, x)."""
    image = imagecodecs.png_decode(path.read_bytes())
    return np.moveaxis(image[..., [1, 0]], -1, 0).astype(np.float32)


def truth_of(path: Path) -> np.ndarray:
    """Masks of an image, (y, x)."""
    masks = path.with_name(path.name.replace("_img", "_masks"))
    return imagecodecs.png_decode(masks.read_bytes()).astype(np.uint32)


def usual_diameter(style: str) -> float:
    """Mean over the images of a style, as published."""
    return float(np.mean([diameter_of(truth_of(path)) for path in paths(style)]))


def diameter_of(mask: np.ndarray) -> float:
    """Median over objects of the diameter of a disc of equal area."""
    areas = np.bincount(mask.ravel())[1:]
    return float(np.median(np.sqrt(areas[areas > 0]))) * 2 / np.sqrt(np.pi)


def maps_of(net: torch.nn.Module, image: np.ndarray, scale: float) -> np.ndarray:
    """Output maps of an image, (k, y, x), at the resolution of the network."""
    planes = np.stack([rescale(one, *np.percentile(one, (1, 99))) for one in image])
    for axis in (1, 2):
        length = planes.shape[axis]
        wanted = int(length * scale)
        planes = resample(planes, axis, positions(0, wanted, length / wanted))
    extra = [(0, 0)]
    for length in planes.shape[1:]:
        rest = round_up(length) - length
        extra.append((BORDER + rest // 2, BORDER + rest - rest // 2))

    @torch.inference_mode()
    def call(tiles: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(tiles).contiguous(memory_format=torch.channels_last)
        return net(batch).numpy()

    wide = predict_planes(call, np.pad(planes, extra)[None], Published(224, 0), 3, CALL)[0]
    (top, _), (left, _) = extra[1:]
    return wide[:, top : top + planes.shape[1], left : left + planes.shape[2]]


def objects_of(name: str, maps: np.ndarray, scale: float, parity: bool) -> np.ndarray:
    """Labels at the resolution of the network."""
    flows, logits = maps[:2] / 5, maps[2]
    if name == "hover":
        return labels_from_hover(flows, logits, min_size=MIN_SIZE, parity=parity)
    criteria = Criteria(LOGIT_THRESHOLD, True, MIN_SIZE, int(200 / scale))
    labels, errors = find_instances(flows, logits, criteria, ((False, False),) * 2)
    return remove_objects(labels, np.append(False, errors > FLOW_THRESHOLD))


def resized(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Labels at another resolution: each pixel takes the one that its corner lies in."""
    for axis, length in enumerate(shape):
        at = (np.arange(length) * (labels.shape[axis] / length)).astype(int)
        labels = labels.take(at, axis)
    return labels


def score_of(labels: np.ndarray, truth: np.ndarray) -> Score:
    """Score of one image."""
    matches = match(*contingency(labels, truth))
    return average_precision(matches, 0.5), aji_cellpose(matches)


def our_scores(name: str, style: str, count: int, parity: bool = False) -> Score:
    """Mean score of the first images of a style."""
    net = network(name)
    scale = DIAMETER / usual_diameter(style)
    scores = []
    for path in paths(style)[:count]:
        truth = truth_of(path)
        labels = objects_of(name, maps_of(net, image_of(path), scale), scale, parity)
        scores.append(score_of(resized(labels, truth.shape), truth))
    ap, aji = np.mean(scores, axis=0)
    return float(ap), float(aji)


def their_scores(name: str, count: int) -> dict[str, Score]:
    """Mean score of each style by the package's own functions."""
    images = {path: usual_diameter(style) for style in STYLES for path in paths(style)[:count]}
    evaluation = {
        "channels": [2, 1],
        "flow_threshold": FLOW_THRESHOLD,
        "cellprob_threshold": LOGIT_THRESHOLD,
        "min_size": MIN_SIZE,
        "net_avg": False,
    }
    settings = {
        "model": name,
        "images": {str(path): diameter for path, diameter in images.items()},
        "eval": evaluation,
    }
    with tempfile.TemporaryDirectory() as folder:
        given, result = Path(folder) / "settings.json", Path(folder) / "result.npz"
        given.write_text(json.dumps(settings))
        peer("segment", given, result)
        with np.load(result) as masks:
            found = {path: masks[str(path)].astype(np.uint32) for path in images}
    scores = {}
    for style in STYLES:
        each = [score_of(found[path], truth_of(path)) for path in paths(style)[:count]]
        ap, aji = np.mean(each, axis=0)
        scores[style] = float(ap), float(aji)
    return scores


def peer(what: str, given: Path, result: Path) -> None:
    """Run the package's own functions; see `peer_scellseg.py`."""
    script = Path(__file__).with_name("peer_scellseg.py")
    python = peer_python(NEEDED, ENVIRONMENT_3)
    command = [python, script, what, assets().parents[1], given, result]
    environment = peer_environment()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"The peer stopped: {done.stderr[-2000:]}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="*", default=MODELS)
    parser.add_argument("--count", type=int, default=2, help="images per style, 5 at most")
    parser.add_argument("--parity", action="store_true", help="decode HoVer maps as published")
    parser.add_argument("--peer", action="store_true", help="run the package's own functions, too")
    chosen = parser.parse_args()
    print("| model | style | AP 0.5 | package's | AJI | package's |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in chosen.models:
        theirs = their_scores(name, chosen.count) if chosen.peer else {}
        for style in STYLES:
            ours = our_scores(name, style, chosen.count, chosen.parity)
            both = zip(ours, theirs.get(style, (np.nan, np.nan)), strict=True)
            numbers = " | ".join(f"{one:.4f} | {other:.4f}" for one, other in both)
            print(f"| {name} | {style} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
