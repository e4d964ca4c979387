"""Weights for Cellpose-SAM that find nuclei, where the published file cannot be had.

    python benchmarks/taught_sam.py DATA bench-env/taught_sam.pt

The attention blocks are random (seeded) and stay so; the neck and the readout learn from what the
blocks make of crops of the training images. The network has the published size and costs what the
published one does, and its objects are good enough to see whether something makes them worse. It
is no substitute for the published weights, which see more than the surroundings of a patch.
"""

from __future__ import annotations

import argparse
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bigseg.nets.cellpose_sam import CellposeSam
from bigseg.train.data import SOURCES, crops, load
from bigseg.train.loop import flow_loss

FLUORESCENCE = SOURCES[:1]
DIAMETER = 30.0
"""That of files of Cellpose 4: nothing is resized for it."""


def random_network(seed: int) -> CellposeSam:
    """The network with random weights, none of them zeros."""
    torch.manual_seed(seed)
    net = CellposeSam()
    for value in net.parameters():
        if value.requires_grad and not value.any():
            nn.init.normal_(value, std=0.1)
    return net.eval()


@torch.inference_mode()
def features(net: CellposeSam, images: Tensor) -> Tensor:
    """What the blocks give for crops (n, 1, 256, 256): (n, 1024, 32, 32) bfloat16."""
    encoder = net.encoder
    neck, encoder.neck = encoder.neck, nn.Sequential()
    found = []
    for one in images.split(2):
        found.append(encoder(one.bfloat16()).contiguous(memory_format=torch.channels_last))
        print(f"\r{2 * len(found)} of {len(images)} crops", end="", file=sys.stderr, flush=True)
    encoder.neck = neck
    return torch.cat(found)


def teach(net: CellposeSam, seen: Tensor, targets: Tensor, steps: int, batch: int) -> None:
    """Fit the neck and the readout to targets (n, 3, 256, 256): flow y, flow x, foreground."""
    learns = nn.Sequential(net.encoder.neck, net.out, nn.PixelShuffle(net.patch))
    optimiser = torch.optim.AdamW(learns.parameters(), weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    rng = np.random.default_rng(0)
    losses = []
    for step in range(steps):
        some = torch.from_numpy(rng.choice(len(seen), batch, replace=False))
        loss = flow_loss(learns, (seen[some], targets[some]), "cpu")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 49:
            print(f"\rstep {step + 1}: {np.mean(losses[-50:]):.3f}", file=sys.stderr, flush=True)


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--crops", type=int, default=240)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    args = parser.parse_args()
    samples = [load(args.data, source) for source in FLUORESCENCE]
    pairs = list(islice(crops(samples, [1.0], 256, seed=0), args.crops))
    images, targets = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
    net = random_network(seed=0)
    seen = features(net.bfloat16(), images[:, :1]).clone()  # of inference mode: no gradients
    net = net.float()
    teach(net, seen, targets, args.steps, args.batch)
    for name in ("diam_mean", "diam_labels"):
        net.get_parameter(name).data.fill_(DIAMETER)
    torch.save(net.state_dict(), args.output)


if __name__ == "__main__":
    main()
