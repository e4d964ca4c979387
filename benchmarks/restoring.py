"""What half precision costs restored images: noise added, network trained, both ways compared.

    python benchmarks/restoring.py DATA

A network of the published width learns from training images to take away Poisson noise (kept in
bench-env/). Test images get such noise and are restored in float32, as by `bigseg restore`, and as
by `bigseg segment --restore`. PSNR is in decibels of the range between percentiles 1 and 99, AP
that of the bundled nuclei model. Rounding that range to 8 bits would have a PSNR of 59.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from accuracy import THRESHOLDS, field_of, pairs, precision
from peers import ENVIRONMENT
from torch.nn import functional

from bigseg.core.instances import Criteria
from bigseg.core.intensity import rescale
from bigseg.core.restoring import Axis, restore_planes
from bigseg.core.tiles import Tiling
from bigseg.nets import network, restorer, weights
from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.train.data import SOURCES, crops, load

WEIGHTS = ENVIRONMENT / "taught_restorer.pt"
SET = "dsb2018_fluo"
TILING = Tiling(512, 24)
PHOTONS = (2.0, 20.0)
"""Of a pixel at percentile 99, between images."""


def noisy(image: np.ndarray, rng: np.random.Generator, photons: float) -> np.ndarray:
    """Count photons of a normalised image, and normalise what was counted."""
    counted = rng.poisson(np.clip(image, 0, None) * photons).astype(np.float32)
    return rescale(counted, *np.percentile(counted, (1, 99)))


def teach(data: Path, steps: int, batch: int = 8, edge: int = 128) -> None:
    """Train a network to take noise away, and keep it."""
    torch.manual_seed(0)
    net = CellposeUNet((1, 32, 64, 128, 256), 1).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(p for p in net.parameters() if p.requires_grad)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    rng = np.random.default_rng(0)
    views = crops([load(data, SOURCES[0])], [1.0], edge, seed=0)
    losses = []
    for step in range(1, steps + 1):
        clean = [view[0] for view, _ in islice(views, batch)]
        given = [noisy(one, rng, float(np.exp(rng.uniform(*np.log(PHOTONS))))) for one in clean]
        x, y = (torch.from_numpy(np.stack(part))[:, None] for part in (given, clean))
        with torch.autocast("cpu", torch.bfloat16):
            found = net(x.to(memory_format=torch.channels_last))
        loss = functional.mse_loss(found.float(), y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step}: {np.mean(losses[-50:]):.4f}", file=sys.stderr, flush=True)
    torch.save(net.state_dict(), WEIGHTS)


def restored(net: restorer.Restorer, image: np.ndarray) -> np.ndarray:
    """The image as bigseg restores a plane."""
    y, x = (Axis(n, n, n, TILING) for n in image.shape)
    whole = tuple((0, n) for n in image.shape)
    return restore_planes(net, image[None], (y, x), (whole[0], whole[1]))[0]


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    """Likeness of two normalised images."""
    error = float(np.mean((image - other) ** 2))
    return -10 * np.log10(error) if error else np.inf


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--most", type=int, default=20, help="test images")
    parser.add_argument("--photons", type=float, default=6.0)
    args = parser.parse_args()
    if not WEIGHTS.exists():
        teach(args.data, args.steps)
    digest = weights.digest(str(WEIGHTS))
    nets = {f"restored, {name}": restorer.load(str(WEIGHTS), digest, single)
            for name, single in (("float32", True), ("half precision", False))}  # fmt: skip
    model = network.load("nuclei", weights.digest("nuclei"))
    rng = np.random.default_rng(1)
    rows: dict[str, list[list[float]]] = {}
    for image, truth in islice(pairs(args.data / SET / "test"), args.most):
        clean = rescale(image, *np.percentile(image, (1, 99)))
        given = noisy(clean, rng, args.photons)
        made = {"clean": clean, "noisy": given}
        made |= {name: restored(net, given) for name, net in nets.items()}
        for name, one in made.items():
            scores = precision(field_of(model, one, 1.0), truth, Criteria(), 0.4)
            exact = made["restored, float32"]
            likeness = [psnr(one, clean), psnr(one, exact)]
            rows.setdefault(name, []).append([*likeness, len(np.unique(one)) / one.size, *scores])
    head = "image | PSNR to the clean | PSNR to float32 | grey levels per pixel"
    print(f"| {head} | " + " | ".join(f"AP {t}" for t in THRESHOLDS) + " |")
    print("| --- |" + " ---: |" * 6)
    for name, found in rows.items():
        mean = [f"{value:.4g}" for value in np.mean(found, axis=0)]
        print(f"| {name} | {' | '.join(mean)} |")


if __name__ == "__main__":
    main()
