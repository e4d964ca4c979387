"""Is it valid NGFF? ome-zarr-models judges, and rules of our own catch what it misses."""

from __future__ import annotations

import warnings
from math import isfinite
from typing import Any

import zarr
from ome_zarr_models.v04.image import Image as Image04
from ome_zarr_models.v04.image_label import ImageLabel as ImageLabel04
from ome_zarr_models.v05.image import Image as Image05
from pydantic import ValidationError

from bigseg import files
from bigseg.errors import BigsegError
from bigseg.io.labels import label_names
from bigseg.io.ome import Image, describe, image_node, multiscale_attributes
from bigseg.io.store import open_array, open_store
from bigseg.io.units import SPACE, TIME, standard_unit


def validate(url: str) -> list[str]:
    """Say what is wrong with the OME-Zarr image or label image at `url`, a sentence each.

    Checks metadata against NGFF 0.4 or 0.5, the arrays that they name, and the image's labels.
    No voxel is read.
    """
    try:
        node = image_node(url)
        version, attributes = multiscale_attributes(url, node)
        image = describe(url)
    except BigsegError as error:
        return [str(error)]
    model = {"0.4": Image04, "0.5": Image05}[version]
    is_labels = "image-label" in attributes
    if is_labels and version == "0.4":
        model = ImageLabel04
    labels = _labels(image) + (_integers(image) if is_labels else [])
    library = _library(image, model)
    if labels:  # said better than by the library, which says it of the group as a whole
        library = [problem for problem in library if problem.startswith("multiscales")]
    return [
        *library,
        *_scales(image),
        *_units(image),
        *_separators(image),
        *_channels(image),
        *labels,
    ]


def _library(image: Image, model: Any) -> list[str]:
    group = zarr.open_group(open_store(image.url), mode="r", zarr_format=image.zarr_format)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.from_zarr(group)
        except Exception as error:  # the library raises whatever its parts raise
            return _sentences(error)
    return [str(warning.message) for warning in caught]


def _sentences(error: BaseException) -> list[str]:
    while not isinstance(error, ValidationError) and error.__cause__ is not None:
        error = error.__cause__
    if not isinstance(error, ValidationError):
        return [f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"]
    found = []
    for one in error.errors():
        place = ".".join(map(str, one["loc"]))
        message = one["msg"].removeprefix("Value error, ")
        found.append(f"{place}: {message}" if place else message)
    return found


def _scales(image: Image) -> list[str]:
    return [
        f"Level '{level.path}' has a scale of {size} along {axis}; it must be above 0."
        for level in image.levels
        for axis, size in zip(image.axes, level.scale, strict=True)
        if not (isfinite(size) and size > 0)
    ]


def _units(image: Image) -> list[str]:
    found = []
    for axis, unit in image.units.items():
        allowed = {"t": TIME, "c": frozenset({unit})}.get(axis, SPACE)
        if unit not in allowed:
            better = standard_unit(unit)
            instead = f"; NGFF calls it '{better}'" if better in allowed else ""
            found.append(f"Axis {axis} has the non-standard unit '{unit}'{instead}.")
    return found


def _separators(image: Image) -> list[str]:
    if image.version != "0.4":
        return []
    found = []
    for level in image.levels:
        metadata = open_array(files.join(image.url, level.path), format=2).metadata
        separator = getattr(metadata, "dimension_separator", "/")
        if separator != "/":
            found.append(
                f"Level '{level.path}' separates the numbers of its chunks by '{separator}'; "
                "NGFF 0.4 wants '/'."
            )
    return found


def _channels(image: Image) -> list[str]:
    if not image.channels:
        return []
    count = image.levels[0].shape[image.axes.index("c")] if "c" in image.axes else 1
    if len(image.channels) == count:
        return []
    return [f"The omero metadata name {len(image.channels)} channels, the image has {count}."]


def _integers(labels: Image) -> list[str]:
    if labels.dtype.kind in "ui":
        return []
    return [f"Labels must be integers; {labels.url} holds {labels.dtype}."]


def _labels(image: Image) -> list[str]:
    try:
        names = label_names(image.url)
    except BigsegError as error:
        return [str(error)]
    found = []
    for name in names:
        try:
            labels = describe(files.join(image.url, "labels", name))
        except BigsegError as error:
            found.append(str(error))
            continue
        found += _integers(labels) + _fit(image, labels, name)
    return found


def _fit(image: Image, labels: Image, name: str) -> list[str]:
    found = []
    if len(labels.levels) != len(image.levels):
        found.append(
            f"Labels '{name}' have {len(labels.levels)} levels, the image has {len(image.levels)}."
        )
    length = dict(zip(image.axes, image.levels[0].shape, strict=True))
    for axis, n in zip(labels.axes, labels.levels[0].shape, strict=True):
        if n not in (1, length.get(axis, 1)):
            found.append(
                f"Labels '{name}' are {n} voxels long along {axis}, "
                f"the image {length.get(axis, 1)}."
            )
    return found
