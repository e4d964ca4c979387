"""Weights: where a name leads, and what a file says of its network. Needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files as package_files
from typing import Any

from bigseg import files
from bigseg.core.representations import OUTPUTS, THRESHOLDS, Name, fits
from bigseg.errors import NotFound, WeightsError
from bigseg.nets.architectures import Architecture, Shapes, published_keys, recognise
from bigseg.nets.catalogue import cached, how_to_fetch
from bigseg.nets.functions import is_function, load_function, source_digest
from bigseg.nets.published import BUNDLED, PUBLISHED
from bigseg.nets.tensors import read_shapes, read_tensors

DIAMETER = 30.0
"""Pixels that objects are resized to where a file says nothing, as in Cellpose."""
MANY = 64
"""Channels that a function may take if it does not say how many."""


@dataclass(frozen=True)
class Model:
    """What is known of a network before it is built."""

    name: str
    """As it was asked for."""
    digest: str
    """SHA-256 of the file."""
    kind: str
    """Name of the architecture."""
    channels: int
    roles: tuple[str, ...]
    """What each channel shows, as far as its publisher says."""
    outputs: int
    representation: Name
    """What the outputs mean."""
    diameter: float
    """Diameter, in pixels, that images are rescaled to."""
    usual_diameter: float
    """Diameter of the objects it was trained on, assumed when none is given."""
    threshold: float
    """Logit of an object, as published."""
    tile: int | None = None
    """Edge of the only tiles it is shown, pixels."""
    any_channels: bool = False
    """Whether channels come in any order, and may be fewer."""
    size_model: str | None = None
    """Name of the published model that estimates the diameter for it."""


def absolute(model: str) -> str:
    """Give a path of weights a form that workers understand; names and functions stay."""
    known = is_function(model) or model in bundled() or model in PUBLISHED
    return files.absolute(model) if not known and files.exists(model) else model


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
        If it is none of them; the message lists the names, or says how to fetch the model.
    """
    known = bundled()
    if model in known:
        return known[model]
    if model in PUBLISHED:
        url = cached(model)
        if url is None:
            raise NotFound(how_to_fetch(model))
        return url
    if files.exists(model):
        return files.absolute(model)
    near = get_close_matches(model, [*known, *PUBLISHED], 3, 0.5) or sorted(known)
    raise NotFound(
        f"Model '{model}' is neither a file nor a model that bigseg knows; give a path, a URL, "
        f"module:function, or a name like {', '.join(near)} ('bigseg models' lists all)."
    )


def digest(model: str) -> str:
    """SHA-256 of the weights, which identifies them whatever their path."""
    if is_function(model):
        return source_digest(model)
    url = locate(model)
    return _sha256(url, files.stamp(url))


@lru_cache(maxsize=32)
def _sha256(url: str, stamp: str) -> str:
    """SHA-256 of a file; a gigabyte takes a second. Read again if its `stamp` is another."""
    return files.sha256(url)


def describe(model: str, representation: Name | None = None) -> Model:
    """Say what network a name, path or URL means, without building it.

    Parameters
    ----------
    model
        Name, path or URL of weights, or `package.module:function`.
    representation
        What its outputs mean; None: what its publisher says, else flows, or borders if there are
        too few outputs for flows.

    Raises
    ------
    NotFound
        If there is no such model.
    WeightsError
        If the file is not one of weights, or of no known network, or cannot mean that.
    """
    if is_function(model):
        return _describe_function(model, representation)
    return _describe_file(model, representation, files.stamp(locate(model)))


@lru_cache(maxsize=8)
def _describe_file(model: str, representation: Name | None, stamp: str) -> Model:
    """What a file of weights says; it is read again if its `stamp` is another."""
    url = locate(model)
    shapes = published_keys(read_shapes(url))
    architecture = recognise(shapes, url)
    try:
        channels, outputs = architecture.channels(shapes), architecture.outputs(shapes)
        tile = architecture.tile(shapes) if architecture.tile else None
    except KeyError as error:
        raise WeightsError(f"{url} lacks the key {error} of a {architecture.name}.") from error
    known = PUBLISHED.get(model) if model not in bundled() else None
    diameters = (known.diameter, known.diameter) if known else _diameters(url, architecture, shapes)
    meaning = representation or (known.representation if known else None)
    meaning = meaning or ("flows" if outputs != 2 else "borders")
    usual = THRESHOLDS[meaning]
    return Model(
        model,
        digest(model),
        architecture.name,
        channels,
        _roles(model, channels),
        outputs,
        meaning,
        *diameters,
        threshold=usual if known is None or known.threshold is None else known.threshold,
        tile=tile,
        any_channels=architecture.any_channels,
        size_model=known.size_model if known else None,
    )


def _roles(model: str, channels: int) -> tuple[str, ...]:
    """What the channels of a model show, if its publisher says so."""
    known = BUNDLED if model in bundled() else PUBLISHED.get(model)
    return known.channels[:channels] if known else ()


def _diameters(url: str, architecture: Architecture, shapes: Shapes) -> tuple[float, float]:
    """Diameter that images are rescaled to, and that of the training; in the file, perhaps."""
    if architecture.any_diameter:
        return DIAMETER, DIAMETER
    stored = [name for name in ("diam_mean", "diam_labels") if name in shapes]
    values = {name: float(value.flat[0]) for name, value in read_tensors(url, stored).items()}
    mean = values.get("diam_mean", DIAMETER)
    return mean, values.get("diam_labels", mean)


def _describe_function(model: str, representation: Name | None) -> Model:
    """What a function says of itself."""
    function = load_function(model)
    meaning: Any = representation or getattr(function, "representation", "flows")
    if meaning not in THRESHOLDS:
        raise WeightsError(
            f"Model '{model}' says that its representation is {meaning!r}; "
            f"it must be one of {', '.join(THRESHOLDS)}."
        )
    diameter = _number(model, "diameter", getattr(function, "diameter", 0.0))
    outputs = getattr(function, "outputs", 2 if meaning == "borders" else 3)
    tile = getattr(function, "tile", None)
    return Model(
        model,
        digest(model),
        "function",
        int(_number(model, "channels", getattr(function, "channels", MANY), 1)),
        (),
        int(_number(model, "outputs", outputs, 1)),
        meaning,
        diameter,
        diameter,
        THRESHOLDS[meaning],
        None if tile is None else int(_number(model, "tile", tile, 64)),
    )


def _number(model: str, name: str, value: Any, least: float = 0.0) -> float:
    """What a function says of itself, if that is a number, and large enough."""
    if not isinstance(value, int | float) or not value >= least:
        raise WeightsError(
            f"Model '{model}' says that its {name} is {value!r}; it must be a number from "
            f"{least:g} on."
        )
    return value


def check_representation(model: Model) -> None:
    """Refuse outputs that cannot mean what is said of them.

    Raises
    ------
    WeightsError
        With the outputs that there are, and those that are needed.
    """
    if model.representation == "labels" and model.kind != "function":
        raise WeightsError(f"Model '{model.name}' is a network; only functions make labels.")
    if not fits(model.representation, model.outputs):
        least, most = OUTPUTS[model.representation]
        many = str(least) if least == most else f"{least} to {most}" if most else f"{least} or more"
        raise WeightsError(
            f"Model '{model.name}' has {model.outputs} output(s); {model.representation} "
            f"need {many}. If it makes images, it is for 'bigseg restore' or --restore."
        )
