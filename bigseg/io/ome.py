"""Read OME-Zarr image metadata, NGFF 0.4 and 0.5, into plain values.

Follows the OME-NGFF specifications 0.4 (zarr v2) and 0.5 (zarr v3), https://ngff.openmicroscopy.org.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bigseg import files, opened
from bigseg.errors import ImageError, NotFound
from bigseg.io.store import Array, Node, ZarrFormat, open_array, read_node

Version = Literal["0.4", "0.5"]
AXES = ("t", "c", "z", "y", "x")
"""Every axis bigseg knows, in its canonical order."""


@dataclass(frozen=True)
class Level:
    """One resolution of an image; tuples have one entry per axis of the image."""

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    """Smallest unit that can be read."""
    shards: tuple[int, ...] | None
    """Smallest unit that can be written, if it holds several chunks."""
    scale: tuple[float, ...]
    """Size of a voxel in the units of the image."""
    translation: tuple[float, ...]
    """Position of the centre of the first voxel."""

    @property
    def unit(self) -> tuple[int, ...]:
        """Shape of one stored object: blocks that are multiples of it never share an object."""
        return self.shards or self.chunks


@dataclass(frozen=True)
class Image:
    """An OME-Zarr image (or label image) as its metadata describes it."""

    url: str
    version: Version
    axes: tuple[str, ...]
    units: dict[str, str]
    """Unit of each axis that has one, as UDUNITS-2 name: micrometer, second, …"""
    levels: tuple[Level, ...]
    dtype: np.dtype[Any]
    """As stored, byte order included."""
    channels: tuple[str, ...] = ()
    """Names from the omero metadata; empty if there are none."""
    name: str = ""

    def level(self, number: int) -> Level:
        """Return one level by its number, 0 being the finest."""
        if 0 <= number < len(self.levels):
            return self.levels[number]
        there = ", ".join(f"{i} {level.shape}" for i, level in enumerate(self.levels))
        raise NotFound(f"{self.url} has no level {number}; it has {there}.")

    def channel(self, wanted: str | int) -> int:
        """Return the number of a channel that is given by number or name."""
        count = self.levels[0].shape[self.axes.index("c")] if "c" in self.axes else 1
        if isinstance(wanted, str) and wanted in self.channels:
            return self.channels.index(wanted)
        number = int(wanted) if str(wanted).isdecimal() else -1
        if 0 <= number < count:
            return number
        names = f" ({', '.join(self.channels)})" if self.channels else ""
        raise NotFound(
            f"{self.url} has no channel {wanted!r}; it has channels 0 to {count - 1}{names}."
        )

    @property
    def zarr_format(self) -> ZarrFormat:
        return 3 if self.version == "0.5" else 2


def describe(url: str) -> Image:
    """Read what the metadata say about the image at `url`; no voxel is read.

    Parameters
    ----------
    url : str
        Local path or fsspec URL of an OME-Zarr image or label image.

    Raises
    ------
    NotFound
        If nothing is there, or a level that the metadata name is missing.
    ImageError
        If what is there is no image; the message says what it is instead.
    """
    return opened.once(url, ("image",), lambda: _described(url))


def _described(url: str) -> Image:
    version, attributes = multiscale_attributes(url, image_node(url))
    return parse(url, version, attributes)


def image_node(url: str) -> Node:
    """Return the zarr group at `url`, or say why there is none."""
    node = read_node(url)
    if node is None and files.is_local(url) and not files.local_path(url).exists():
        raise NotFound(f"There is nothing at {url}.")
    if node is None:
        raise ImageError(
            f"{url} is not a zarr (no zarr.json, .zgroup or .zarray in it); "
            "'bigseg convert' makes OME-Zarr of TIFF, PNG, npy and other formats."
        )
    if node.kind == "array":
        raise ImageError(_plain_array(url))
    return node


def multiscale_attributes(url: str, node: Node) -> tuple[Version, dict[str, Any]]:
    """Return the NGFF version of a group and the attributes that hold its `multiscales`."""
    ome = node.attributes.get("ome")
    attributes = ome if isinstance(ome, dict) else node.attributes
    if not attributes.get("multiscales"):
        raise ImageError(_something_else(url, attributes))
    first = _multiscale(url, attributes)
    found = str(attributes.get("version", "0.5") if ome else first.get("version", "0.4"))
    if found == "0.5" and node.format == 3:
        return "0.5", attributes
    if found == "0.4" and not ome and node.format == 2:
        return "0.4", attributes
    raise ImageError(
        f"{url} says it is NGFF {found} in zarr v{node.format}; "
        "bigseg reads NGFF 0.4 in zarr v2 and 0.5 in zarr v3."
    )


def parse(url: str, version: Version, attributes: dict[str, Any]) -> Image:
    """Turn NGFF attributes into an `Image`, opening the arrays of all levels."""
    first = _multiscale(url, attributes)
    axes, units = _axes(url, first)
    datasets = first.get("datasets") or []
    if not datasets:
        raise ImageError(f"The multiscales metadata of {url} name no datasets.")
    arrays = _arrays(url, [str(d.get("path", "")) for d in datasets], version)
    whole = _transform(url, first, len(axes))
    levels = []
    for dataset, (path, array) in zip(datasets, arrays.items(), strict=True):
        if array.ndim != len(axes):
            raise ImageError(
                f"Level '{path}' of {url} has {array.ndim} dimensions, "
                f"but the metadata name {len(axes)} axes ({', '.join(axes)})."
            )
        scale, translation = _chain(_transform(url, dataset, len(axes)), whole)
        levels.append(Level(path, array.shape, array.chunks, array.shards, scale, translation))
    dtype = _dtype(url, next(iter(arrays.values())))
    name = str(first.get("name") or url.rstrip("/").rsplit("/", 1)[-1])
    return Image(url, version, axes, units, tuple(levels), dtype, _channels(attributes), name)


def _plain_array(url: str) -> str:
    array = open_array(url)
    parent, _, name = url.rstrip("/").rpartition("/")
    try:
        group = read_node(parent) if parent else None
    except ImageError:
        group = None
    found = f"{url} is a plain zarr array {array.shape} {array.dtype} without axes"
    if group is not None and "multiscales" in (group.attributes.get("ome") or group.attributes):
        return f"{found}; it belongs to the image {parent}: give that and level '{name}'."
    return f"{found}; 'bigseg convert {url} OUT.zarr --axes …' makes an OME-Zarr image of it."


def _something_else(url: str, attributes: dict[str, Any]) -> str:
    """Sentence for a zarr group that is no image."""
    if isinstance(plate := attributes.get("plate"), dict):
        wells = [str(w.get("path")) for w in plate.get("wells", []) if isinstance(w, dict)]
        example = files.join(url, wells[0] if wells else "A/1", "0")
        return f"{url} is a plate (HCS); name one image of it, for example {example}."
    if isinstance(well := attributes.get("well"), dict):
        fields = [str(w.get("path")) for w in well.get("images", []) if isinstance(w, dict)]
        return f"{url} is a well; name one image of it: {', '.join(fields)}."
    if isinstance(labels := attributes.get("labels"), list):
        there = ", ".join(map(str, labels)) or "none so far"
        return f"{url} is a group of label images; name one of them: {there}."
    if "bioformats2raw.layout" in attributes:
        return f"{url} holds a series of images; name one of them, for example {url}/0."
    members = [name for name in files.names(url) if not name.startswith(".")]
    there = ", ".join(name for name in members if name != "zarr.json") or "nothing"
    return (
        f"{url} is a zarr group without multiscales metadata, so no OME-Zarr image; "
        f"it holds {there}."
    )


def _multiscale(url: str, attributes: dict[str, Any]) -> dict[str, Any]:
    """First multiscale: the one the specification makes the default."""
    found = attributes["multiscales"]
    if isinstance(found, list) and isinstance(found[0], dict):
        return dict(found[0])
    raise ImageError(f"The multiscales metadata of {url} must be a list of objects, not {found!r}.")


def _axes(url: str, multiscale: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    found = multiscale.get("axes")
    if not isinstance(found, list) or not all(isinstance(axis, dict) for axis in found):
        raise ImageError(f"The multiscales metadata of {url} have no list of axes with names.")
    names = tuple(str(axis.get("name")) for axis in found)
    known = len(set(names)) == len(names) and set(names) <= set(AXES)
    if not known or not {"y", "x"} <= set(names):
        raise ImageError(
            f"The axes of {url} are {', '.join(names)}; "
            f"bigseg needs y and x, knows {', '.join(AXES)}, and each only once."
        )
    return names, {str(axis["name"]): str(axis["unit"]) for axis in found if axis.get("unit")}


def _arrays(url: str, paths: list[str], version: Version) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    missing = []
    for path in paths:
        try:
            arrays[path] = open_array(files.join(url, path), format=3 if version == "0.5" else 2)
        except NotFound:
            missing.append(path)
    if missing:
        raise NotFound(
            f"The metadata of {url} name level(s) {', '.join(missing)}, which are missing; "
            f"these exist: {', '.join(arrays) or 'none'}."
        )
    return arrays


_Transform = tuple[tuple[float, ...], tuple[float, ...]]


def _transform(url: str, holder: dict[str, Any], ndim: int) -> _Transform:
    """Scale and translation of one list of coordinateTransformations."""
    scale, translation = (1.0,) * ndim, (0.0,) * ndim
    for step in holder.get("coordinateTransformations") or []:
        kind = step.get("type")
        if kind == "identity":
            continue
        values = step.get(kind)
        if kind not in ("scale", "translation") or not isinstance(values, list):
            raise ImageError(
                f"A coordinate transformation of {url} is {step!r}; "
                "bigseg reads scale and translation with their values in place."
            )
        if len(values) != ndim:
            raise ImageError(f"The {kind} {values} of {url} must have {ndim} values, one per axis.")
        one = tuple(map(float, values))
        step_of = (one, (0.0,) * ndim) if kind == "scale" else ((1.0,) * ndim, one)
        scale, translation = _chain((scale, translation), step_of)
    return scale, translation


def _chain(first: _Transform, then: _Transform) -> _Transform:
    """Apply `first`, then `then`."""
    scale = tuple(a * b for a, b in zip(first[0], then[0], strict=True))
    moved = zip(first[1], *then, strict=True)
    return scale, tuple(a * s + b for a, s, b in moved)


def _dtype(url: str, array: Array) -> np.dtype[Any]:
    dtype = np.dtype(array.dtype)
    if dtype.kind in "biuf":
        return dtype
    kind = {"c": "complex numbers", "U": "strings", "S": "strings", "T": "strings"}
    raise ImageError(
        f"{url} holds {kind.get(dtype.kind, 'values')} ({dtype}); "
        "bigseg needs integers, floats or booleans."
    )


def _channels(attributes: dict[str, Any]) -> tuple[str, ...]:
    omero = attributes.get("omero")
    found = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(found, list) or not all(isinstance(c, dict) for c in found):
        return ()
    names = tuple(str(c.get("label") or i) for i, c in enumerate(found))
    return names if any(c.get("label") for c in found) else ()
