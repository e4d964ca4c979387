"""How much memory a worker needs, reckoned before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any

import numpy as np

from bigseg import files
from bigseg.errors import SpecError
from bigseg.grid import Index
from bigseg.io.pyramid import PARENT
from bigseg.nets import weights
from bigseg.nets.functions import is_function
from bigseg.plans.steps import Step
from bigseg.run.cluster import Room
from bigseg.stages import background, label, merge, normalize, predict, pyramid, windows, write
from bigseg.types import StageSpec

PROCESS = 450_000_000
"""Bytes of a worker that has loaded the libraries and a small network."""
SMALL = 30_000_000
"""Bytes of the weights of a small network."""
ACTIVATIONS, CALL = 640, 3 << 16
"""Bytes that a small network holds of each pixel, and pixels that it is shown at once."""
HISTOGRAM = 4 << 20
"""Bytes of a histogram of a channel, and of what it is added up from."""


def worker_bytes(steps: Sequence[Step]) -> tuple[str, int]:
    """Step that needs most memory, and how much one worker needs for it."""
    needs = [(need, name) for name, need in step_bytes(steps).items()]
    most, name = max(needs)
    return name, most


def step_bytes(steps: Sequence[Step]) -> dict[str, int]:
    """Memory of a worker in each step: what follows the block, and the process."""
    return {step.name: PROCESS + _block_bytes(step.spec) for step in steps}


def _block_bytes(spec: StageSpec) -> int:
    for kind, reckon in RECKONED:
        if isinstance(spec, kind):
            return int(reckon(spec))
    return 0


def check_memory(need: tuple[str, int], room: Room, remedy: str = "a smaller --block") -> None:
    """Refuse blocks that do not fit in memory.

    Parameters
    ----------
    need
        Step that needs most memory, and the bytes that one worker needs for it.
    room
        Blocks that are computed at the same time, and the memory that they share.
    remedy
        What to do about it, besides fewer workers.

    Raises
    ------
    SpecError
        With what is needed and what to change.
    """
    name, each = need
    if room.memory is not None and each * room.workers > room.memory:
        raise SpecError(
            f"Step '{name}' needs about {each / 1e9:.1f} GB of memory for each of {room.workers} "
            f"worker(s), but {room.memory / 1e9:.1f} GB are available; use fewer --workers, "
            f"or {remedy}."
        )


def _read_shape(block: Index, halo: Index, shape: Index) -> list[int]:
    return [min(b + 2 * h, n) for b, h, n in zip(block, halo, shape, strict=True)][1:]


def _predict_bytes(spec: predict.Spec) -> int:
    """Weights, normalised image, fields at the network's scale and the image's, packed result."""
    read = _read_shape(spec.block, spec.halo, spec.shape)
    scaled = [ceil(n * s) for n, s in zip(read, spec.scale, strict=True)]
    channels, outputs = len(spec.channels), spec.maps
    images = (2 * prod(read) + prod(scaled)) * 4 * channels
    fields = (prod(scaled) + prod(spec.block)) * 4 * outputs
    packed = prod(spec.block) * outputs * spec.dtype.itemsize
    at_once = min(prod(scaled), max(spec.tile**2, CALL)) * ACTIVATIONS
    return _weights_bytes(spec.models) + images + fields + packed + at_once


def _weights_bytes(models: Sequence[str]) -> int:
    """Networks as they are read, in single precision, beyond what `PROCESS` holds already."""
    files_of = [weights.locate(model) for model in models if not is_function(model)]
    return max(sum(files.size(url) for url in files_of) - SMALL, 0)


def _label_bytes(spec: label.Spec) -> int:
    """Packed and unpacked predictions, labels and their copies, walks of the foreground."""
    voxels = prod(_read_shape(spec.block, spec.halo, spec.shape))
    maps = (8 if spec.parity else 5) * (spec.ndim + 1)  # as they are, or in eight bits
    return voxels * (maps + 20)


def _counting_bytes(spec: normalize.Spec | windows.Spec) -> int:
    """Voxels, filtered ones if they are, and their sort keys; a histogram of each channel."""
    kept = 4 if isinstance(spec, windows.Spec) or not spec.sight.plain else 0
    width = np.dtype(spec.dtype).itemsize if isinstance(spec, normalize.Spec) else 8
    voxels = prod(_read_shape(spec.block, (0, 0, 0, 0), spec.shape)) * len(spec.channels)
    return voxels * (3 * width + kept) + len(spec.channels) * HISTOGRAM


def _background_bytes(spec: background.Spec) -> int:
    """A frame of the coarse level, in several precisions."""
    return prod(spec.shape[1:]) * (8 * len(spec.channels) + 24)


def _merge_bytes(spec: merge.Spec) -> int:
    """Both opinions about the zones of a block, and what they are made of."""
    own = spec.opinions
    sides = [min(b, n) for b, n in zip(own.block[1:], own.shape[1:], strict=True)]
    grown = [n + 2 * band for n, band in zip(sides, own.band[1:], strict=True)]
    return 24 * (prod(grown) - prod(sides))


def _write_bytes(spec: write.Spec) -> int:
    """Labels before and after, as they are read, relabelled and compressed."""
    own = spec.opinions
    return 20 * prod(min(b, n) for b, n in zip(own.block, own.shape, strict=True))


def _pyramid_bytes(spec: pyramid.Spec) -> int:
    """Labels of a piece of the finer level, and of the level that is made."""
    own = prod(min(b, n) for b, n in zip(spec.block, spec.shape, strict=True))
    return 12 * (own + min(own * prod(spec.factors), PARENT))


RECKONED: tuple[tuple[type, Callable[[Any], int]], ...] = (
    (normalize.Spec, _counting_bytes),
    (windows.Spec, _counting_bytes),
    (background.Spec, _background_bytes),
    (predict.Spec, _predict_bytes),
    (label.Spec, _label_bytes),
    (merge.Spec, _merge_bytes),
    (write.Spec, _write_bytes),
    (pyramid.Spec, _pyramid_bytes),
)
"""What each kind of step holds of a block; the others hold tables."""
