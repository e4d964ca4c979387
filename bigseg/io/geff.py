"""GEFF 1.x, the graph exchange format for tracks: a zarr group of nodes, edges and properties.

Written here without the package `geff`, which asks for older zarr codecs than this project uses;
tests read what is written with it, and it validates them. See https://geff-spec.readthedocs.io.

A GEFF tracklet is a track as of `bigseg.core.tracking.lineage`: it goes on over missed frames.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.tracking.lineage import Lineages
from bigseg.errors import ImageError, NotFound, OutputExists
from bigseg.io.store import ZarrFormat, open_array, open_store, read_node, write_group
from bigseg.io.track_points import Floats, Points, points

VERSION = "1.3"
LABEL = "seg_id"
"""Property that holds the label of a node in the label image."""
_PARTS = {"nodes", "edges", ".zgroup", ".zattrs", "zarr.json"}
_CHUNK = 1 << 20
_RESERVED = ("t", "z", "y", "x", LABEL, "tracklet", "lineage")


def is_geff(url: str) -> bool:
    """Whether the zarr group at `url` is a GEFF graph."""
    node = None if re.search(r"\.(csv|parquet|tif|txt)$", url) else read_node(url)
    return node is not None and "geff" in node.attributes


@dataclass(frozen=True)
class About:
    """What a graph says besides who is where and comes from whom."""

    axes: str = "zyx"
    """Axes of space to write: zyx, or yx of a plane."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Of z, y, x, where known; t is counted in frames."""
    labels: str | None = None
    """Label image that labels speak of; stored as the path that leads there from the graph."""
    nodes: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """More properties: (n,) numbers or booleans of detections."""
    edges: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """(m,) numbers or booleans of links, in the order of `Lineages.links`."""


_PLAIN = About()


def write_geff(
    url: str,
    found: Lineages,
    label: NDArray[Any],
    position: Floats,
    about: About = _PLAIN,
    *,
    zarr_format: ZarrFormat = 2,
    overwrite: bool = False,
) -> None:
    """Write lineages as GEFF; the metadata that make it a graph come last.

    Parameters
    ----------
    url : str
        Usually ending in .geff.
    found : Lineages
        Of n detections; node i is detection i.
    label : (n,) int
        Label of each node in the label image, in its frame.
    position : (n, 3) float
        z, y, x in physical units.
    about : About
        Axes, units, the label image, more properties.
    zarr_format : 2 or 3
        2 is what most readers know.
    overwrite : bool
        Whether to replace a GEFF that is there.

    Raises
    ------
    OutputExists
        If something is there, and it is no GEFF or may not be replaced.
    ImageError
        If a property has the name of another or a wrong length.
    """
    _check_properties("node", about.nodes, len(found.frame))
    _check_properties("edge", about.edges, len(found.links))
    _make_room(url, overwrite)
    column = dict(zip("zyx", position.T, strict=True))
    properties: dict[str, NDArray[Any]] = {
        "t": found.frame.astype(np.int64),
        **{axis: column[axis].astype(np.float64) for axis in about.axes},
        LABEL: np.asarray(label).astype(np.uint64),
        "tracklet": found.track.astype(np.uint64),
        "lineage": found.lineage[found.track - 1].astype(np.uint64),
        **about.nodes,
    }
    ids = np.arange(len(found.frame), dtype=np.uint64)
    for group in ("nodes", "edges", "nodes/props", "edges/props"):
        write_group(files.join(url, group), zarr_format, {})
    _put(url, "nodes/ids", ids, zarr_format)
    _put(url, "edges/ids", found.links.astype(np.uint64), zarr_format)
    for side, columns in (("nodes", properties), ("edges", about.edges)):
        for name, values in columns.items():
            write_group(files.join(url, side, "props", name), zarr_format, {})
            _put(url, f"{side}/props/{name}/values", values, zarr_format)
    metadata = {
        "geff_version": VERSION,
        "directed": True,
        "axes": [_axis(name, properties[name], about.units) for name in ("t", *about.axes)],
        "node_props_metadata": _described(properties),
        "edge_props_metadata": _described(about.edges),
        "track_node_props": {"tracklet": "tracklet", "lineage": "lineage"},
        "related_objects": _related(url, about.labels),
        "extra": {},
    }
    write_group(url, zarr_format, {"geff": metadata})


def _check_properties(what: str, columns: Mapping[str, NDArray[Any]], length: int) -> None:
    for name, values in columns.items():
        if what == "node" and name in _RESERVED:
            raise ImageError(f"A property of nodes cannot be called '{name}': that is taken.")
        if np.shape(values) != (length,) or np.asarray(values).dtype.kind not in "biuf":
            raise ImageError(
                f"Property '{name}' needs one number for each of {length} {what}s; it has the "
                f"shape {np.shape(values)} and type {np.asarray(values).dtype}."
            )


def _make_room(url: str, overwrite: bool) -> None:
    if not files.exists(url):
        return
    if not overwrite:
        raise OutputExists(f"There is something at {url}; choose another place, or overwrite it.")
    if not is_geff(url) and not _is_rest(url):
        raise OutputExists(f"{url} is no GEFF, so it is not overwritten; choose another place.")
    files.remove(url)


def _is_rest(url: str) -> bool:
    """Whether this is but the rest of a GEFF, whose writing or removing was killed."""
    node = read_node(url)
    return (node is None or not node.attributes) and _PARTS.issuperset(files.names(url))


def _put(url: str, path: str, values: NDArray[Any], zarr_format: ZarrFormat) -> None:
    chunks = (min(max(len(values), 1), _CHUNK), *values.shape[1:])
    array = zarr.create_array(
        open_store(url, read_only=False),
        name=path,
        shape=values.shape,
        chunks=chunks,
        dtype=values.dtype,
        zarr_format=zarr_format,
        overwrite=True,
    )
    array[...] = values


def _axis(name: str, values: NDArray[Any], units: Mapping[str, str]) -> dict[str, Any]:
    axis: dict[str, Any] = {"name": name, "type": "time" if name == "t" else "space"}
    unit = "frame" if name == "t" else units.get(name)
    if unit is not None:
        axis["unit"] = unit
    if len(values):
        axis |= {"min": float(values.min()), "max": float(values.max())}
    return axis


def _described(columns: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    return {
        name: {"identifier": name, "dtype": str(np.asarray(values).dtype), "varlength": False}
        for name, values in columns.items()
    }


def _related(url: str, labels: str | None) -> list[dict[str, str]] | None:
    if labels is None:
        return None
    path = files.relative(labels, url).rstrip("/")
    return [{"type": "labels", "path": path, "label_prop": LABEL}]


def read_geff(url: str) -> Points:
    """Read a graph with an axis of time and two or three of space.

    Properties that are numbers, one for each node and missing for none, come along.

    Raises
    ------
    NotFound
        If there is no GEFF.
    ImageError
        If it has no such axes, is not directed, or is of another main version.
    LineageError
        If ids are not unique, or edges name unknown ones.
    """
    node = read_node(url)
    if node is None or "geff" not in node.attributes:
        raise NotFound(f"There is no GEFF graph at {url}; it is a zarr group with the key 'geff'.")
    metadata = node.attributes["geff"]
    _check_metadata(url, metadata)
    time, space = _axes(url, metadata)
    ids = np.asarray(open_array(files.join(url, "nodes", "ids"))[...])
    edges = np.asarray(open_array(files.join(url, "edges", "ids"))[...])
    columns = _columns(url, metadata, len(ids))
    position = np.zeros((len(ids), 3))
    for axis in space:
        position[:, "zyx".index(axis["name"].lower())] = columns[axis["name"]]
    own = {time["name"], *(axis["name"] for axis in space)}
    return points(
        url,
        ids,
        columns[time["name"]],
        position,
        edges,
        units={a["name"].lower(): a["unit"] for a in [time, *space] if a.get("unit")},
        properties={name: values for name, values in columns.items() if name not in own},
    )


def _check_metadata(url: str, metadata: Any) -> None:
    version = str(metadata.get("geff_version", "?")) if isinstance(metadata, dict) else "?"
    if not version.startswith("1."):
        raise ImageError(f"{url} is GEFF {version}; versions 1.x can be read.")
    if not metadata.get("directed", False):
        raise ImageError(
            f"The graph at {url} is not directed, so it does not say what comes first."
        )


def _axes(url: str, metadata: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    axes = metadata.get("axes") or []
    time = [a for a in axes if a.get("type") == "time"]
    space = [a for a in axes if a.get("type") == "space"]
    names = sorted(str(a.get("name", "")).lower() for a in space)
    if len(time) != 1 or names not in (["x", "y"], ["x", "y", "z"]):
        there = ", ".join(f"{a.get('name')} ({a.get('type')})" for a in axes) or "none"
        raise ImageError(
            f"{url} needs an axis of time and the axes y, x or z, y, x of space; it has {there}."
        )
    return time[0], space


def _columns(url: str, metadata: dict[str, Any], length: int) -> dict[str, NDArray[Any]]:
    """Properties of nodes that are plain numbers."""
    found = {}
    for name, described in (metadata.get("node_props_metadata") or {}).items():
        place = files.join(url, "nodes", "props", name)
        if described.get("varlength") or read_node(files.join(place, "missing")) is not None:
            continue
        values = np.asarray(open_array(files.join(place, "values"))[...])
        if values.dtype.kind in "biuf" and values.shape == (length,):
            found[name] = values
    lacking = [a["name"] for a in metadata["axes"] if a["name"] not in found]
    if lacking and metadata["axes"]:
        raise ImageError(f"The nodes of {url} have no values for the axis '{lacking[0]}'.")
    return found
