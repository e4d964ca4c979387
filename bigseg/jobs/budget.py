"""How much memory a worker needs, reckoned before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod

from bigseg import files
from bigseg.errors import SpecError
from bigseg.grid import Index
from bigseg.nets import weights
from bigseg.nets.functions import is_function
from bigseg.plans.steps import Step
from bigseg.stages import label, predict

PROCESS = 450_000_000
"""Bytes of a worker that has loaded the libraries and a small network."""
SMALL = 30_000_000
"""Bytes of the weights of a small network."""


def worker_bytes(steps: Sequence[Step]) -> tuple[str, int]:
    """Step that needs most memory, and how much one worker needs for it."""
    needs = [(_predict_bytes(s.spec), s.name) for s in steps if isinstance(s.spec, predict.Spec)]
    needs += [(_label_bytes(s.spec), s.name) for s in steps if isinstance(s.spec, label.Spec)]
    most, name = max(needs)
    return name, PROCESS + most


def check_memory(
    need: tuple[str, int], workers: int, available: int, remedy: str = "a smaller --block"
) -> None:
    """Refuse blocks that do not fit in memory.

    Parameters
    ----------
    need
        Step that needs most memory, and the bytes that one worker needs for it.
    workers
        Blocks that are computed at the same time on this machine.
    available
        Bytes of memory.
    remedy
        What to do about it, besides fewer workers.

    Raises
    ------
    SpecError
        With what is needed and what to change.
    """
    name, each = need
    if each * workers > available:
        raise SpecError(
            f"Step '{name}' needs about {each / 1e9:.1f} GB of memory for each of {workers} "
            f"worker(s), but {available / 1e9:.1f} GB are available; use fewer --workers, "
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
    return _weights_bytes(spec.models) + images + fields + packed


def _weights_bytes(models: Sequence[str]) -> int:
    """Networks as they are read, in single precision, beyond what `PROCESS` holds already."""
    files_of = [weights.locate(model) for model in models if not is_function(model)]
    return max(sum(files.size(url) for url in files_of) - SMALL, 0)


def _label_bytes(spec: label.Spec) -> int:
    """Packed and unpacked predictions, labels and their copies, walks of the foreground."""
    voxels = prod(_read_shape(spec.block, spec.halo, spec.shape))
    maps = (8 if spec.parity else 5) * (spec.ndim + 1)  # as they are, or in eight bits
    return voxels * (maps + 20)
