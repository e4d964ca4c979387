"""Train the residual U-Net on flows and foreground, with the published losses."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from bigseg.nets.cellpose_unet import CellposeUNet
from bigseg.train.data import SOURCES, Sample, crops, load
from bigseg.types import Floats

Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Settings:
    """What a training run depends on besides its data."""

    widths: tuple[int, ...] = (2, 16, 32, 64, 128)
    steps: int = 4500
    batch: int = 8
    crop: int = 224
    """Edge of a training crop, pixels."""
    learning_rate: float = 3e-3
    """Peak of a one-cycle schedule."""
    weight_decay: float = 1e-5
    seed: int = 0
    held_out: int = 10
    """Every n-th sample of each source is kept for validation."""


def train(data: Path, output: Path, settings: Settings, initial: Path | None = None) -> None:
    """Train and write `weights.safetensors`, `settings.json` and `curve.jsonl` to `output`.

    Parameters
    ----------
    data
        Folder that holds the sources of `bigseg.train.data.SOURCES`.
    output
        Folder to create.
    settings
        Size of the network, length of the training.
    initial
        Weights to go on from; None: random ones.
    """
    output.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    groups = [load(data, source) for source in SOURCES]
    keep = [[s for i, s in enumerate(g) if i % settings.held_out or len(g) == 1] for g in groups]
    held = [[s for i, s in enumerate(g) if i % settings.held_out == 0] for g in groups]
    shares = [source.share for source in SOURCES]
    diameter = float(np.median([s.diameter for g in keep for s in g]))

    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = _network(settings, initial, diameter).to(device)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(
        [p for p in net.parameters() if p.requires_grad], weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    (output / "settings.json").write_text(json.dumps(asdict(settings)))
    validation = _validation(held, shares, settings)
    batches = _ahead(_batches(crops(keep, shares, settings.crop, settings.seed), settings.batch))
    losses: list[float] = []
    started = time.monotonic()
    with (output / "curve.jsonl").open("w") as curve:
        for step in range(1, settings.steps + 1):
            net.train()
            loss = flow_loss(net, next(batches), device)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            if step % 250 == 0 or step == settings.steps:
                row = {
                    "step": step,
                    "train": float(np.mean(losses)),
                    "validation": evaluate(net, validation, device),
                    "seconds": round(time.monotonic() - started),
                }
                curve.write(json.dumps(row) + "\n")
                curve.flush()
                losses.clear()
                save(net, output / "weights.safetensors")


def _network(settings: Settings, initial: Path | None, diameter: float) -> CellposeUNet:
    net = CellposeUNet(settings.widths)
    if initial is not None:
        net.load_state_dict({name: value.float() for name, value in load_file(initial).items()})
    net.diam_mean.fill_(diameter)
    net.diam_labels.fill_(diameter)
    return net


def flow_loss(net: CellposeUNet, batch: Batch, device: str) -> Tensor:
    """Half the mean squared error of five-fold flows, plus cross-entropy of the foreground."""
    images, targets = (part.to(device, memory_format=torch.channels_last) for part in batch)
    with torch.autocast(device, torch.bfloat16):
        outputs = net(images)
    outputs = outputs.float()
    flows = functional.mse_loss(outputs[:, :2], 5 * targets[:, :2]) / 2
    foreground = functional.binary_cross_entropy_with_logits(outputs[:, 2], targets[:, 2])
    return flows + foreground


@torch.no_grad()
def evaluate(net: CellposeUNet, batches: list[Batch], device: str) -> float:
    """Mean loss over fixed batches."""
    net.eval()
    return float(np.mean([flow_loss(net, batch, device).item() for batch in batches]))


def save(net: CellposeUNet, path: Path) -> None:
    """Write the weights with half precision; counters and diameters keep their type."""
    state = {
        name: (value.half() if value.ndim > 0 and value.is_floating_point() else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in net.state_dict().items()
    }
    save_file(state, path, metadata={"architecture": "cellpose-unet"})


def _validation(held: list[list[Sample]], shares: list[float], settings: Settings) -> list[Batch]:
    stream = _batches(crops(held, shares, settings.crop, settings.seed + 1), settings.batch)
    return [next(stream) for _ in range(8)]


def _batches(stream: Iterator[tuple[Floats, Floats]], size: int) -> Iterator[Batch]:
    while True:
        images, targets = zip(*(next(stream) for _ in range(size)), strict=True)
        yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(targets))


def _ahead(stream: Iterator[Batch]) -> Iterator[Batch]:
    """Make batches in a thread, so that the network never waits for them."""
    ready: queue.Queue[Batch] = queue.Queue(maxsize=8)

    def fill() -> None:
        for batch in stream:
            ready.put(batch)

    threading.Thread(target=fill, daemon=True).start()
    while True:
        yield ready.get()
