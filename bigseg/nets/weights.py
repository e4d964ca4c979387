"""Weights: where a name leads, and what a file says of its network. Needs no PyTorch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files as package_files

from bigseg import files
from bigseg.errors import NotFound, WeightsError
from bigseg.nets.architectures import Architecture, recognise
from bigseg.nets.tensors import read_shapes, read_tensors

DIAMETER = 30.0
"""Pixels that objects are resized to where a file says nothing, as in Cellpose."""


@dataclass(frozen=True)
class Model:
    """What is known of a network before it is built."""

    url: str
    digest: str
    """SHA-256 of the file."""
    architecture: Architecture
    channels: int
    outputs: int
    diameter: float
    """Diameter, in pixels, that images are rescaled to."""
    usual_diameter: float
    """Diameter of the objects it was trained on, assumed when none is given."""


def bundled() -> dict[str, str]:
    """Names of the models in the package, and their paths."""
    folder = package_files("bigseg") / "models"
    found = [entry for entry in folder.iterdir() if entry.name.endswith(".safetensors")]
    return {entry.name.removesuffix(".safetensors"): str(entry) for entry in found}


def locate(model: str) -> str:
    """URL of the weights that a name, path or URL means.

    Raises
    ------
    NotFound
        If it is none of them; the message lists the names.
    """
    known = bundled()
    if model in known:
        return known[model]
    if files.exists(model):
        return files.absolute(model)
    raise NotFound(
        f"Model '{model}' is neither a file nor a bundled model; "
        f"give a path, a URL, or one of: {', '.join(sorted(known))}."
    )


def digest(model: str) -> str:
    """SHA-256 of the weights, which identifies them whatever their path."""
    return hashlib.sha256(files.get(locate(model))).hexdigest()


@lru_cache(maxsize=4)
def describe(model: str) -> Model:
    """Say what network a name, path or URL means, without building it.

    Raises
    ------
    NotFound
        If there is no such model.
    WeightsError
        If the file is not one of weights, or of no known network.
    """
    url = locate(model)
    shapes = read_shapes(url)
    architecture = recognise(shapes, url)
    try:
        channels, outputs = architecture.channels(shapes), architecture.outputs(shapes)
    except KeyError as error:
        raise WeightsError(f"{url} lacks the key {error} of a {architecture.name}.") from error
    stored = [name for name in ("diam_mean", "diam_labels") if name in shapes]
    values = read_tensors(url, stored) if architecture.tile is None else {}
    diameter, usual = (
        float(values[name].flat[0]) if name in values else DIAMETER
        for name in ("diam_mean", "diam_labels")
    )
    return Model(url, digest(model), architecture, channels, outputs, diameter, usual)
