"""Create planned OME-Zarr images and label images, and keep the list of an image's labels."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, ZstdCodec

from bigseg import files
from bigseg.errors import ImageError, OutputExists
from bigseg.io.ome import Image, Level, Version, describe
from bigseg.io.plan import TYPES
from bigseg.io.store import open_array, open_store, read_node, write_group


def create_image(plan: Image) -> None:
    """Write the metadata of a planned image; its voxels are 0 until they are written.

    Repeating it is harmless: an image that is already as planned is left alone.

    Raises
    ------
    OutputExists
        If something else is there.
    """
    _create(plan, _omero(plan), plain=False)


def create_labels(plan: Image, source: str | None = "../../") -> None:
    """Write the metadata of a planned label image, and register it with its image.

    It is registered if it lies in `IMAGE/labels/`. Repeating it is harmless.

    Parameters
    ----------
    plan : Image
        With an integer dtype and without channels.
    source : str or None
        Path from the label image to the image it was made from.

    Raises
    ------
    OutputExists
        If something else is there.
    ImageError
        If the plan cannot be a label image, or lies in an image of another version.
    """
    if plan.dtype.kind not in "ui" or "c" in plan.axes:
        raise ImageError(
            f"Labels need an integer type and no channels; {plan.url} would have "
            f"{plan.dtype} and axes {', '.join(plan.axes)}."
        )
    label: dict[str, Any] = {} if plan.version == "0.5" else {"version": "0.4"}
    if source is not None:
        label["source"] = {"image": source}
    _create(plan, {"image-label": label}, plain=True)
    parent, _, name = plan.url.rstrip("/").rpartition("/")
    if parent.endswith("/labels"):
        register_labels(parent, name, plan.version)


def register_labels(folder: str, name: str, version: Version) -> None:
    """Add `name` to the list of the labels group at `folder`, keeping all that is in it."""
    with _locked(folder):
        found = label_list(folder)
        if name not in found:
            _write_label_list(folder, [*found, name], version)
    if name not in label_list(folder):
        raise ImageError(
            f"Another process changed the list of labels of {folder} at the same time; try again."
        )


def unregister_labels(folder: str, name: str) -> None:
    """Take `name` off the list of the labels group at `folder`, keeping all others."""
    with _locked(folder):
        found = label_list(folder)
        node = read_node(folder)
        if node is not None and name in found:
            found.remove(name)
            _write_label_list(folder, found, "0.5" if node.format == 3 else "0.4")


def label_list(folder: str) -> list[str]:
    """Names that the labels group at `folder` lists; empty if there is no such group."""
    node = read_node(folder)
    if node is None:
        return []
    found = (node.attributes.get("ome") or node.attributes).get("labels", [])
    if not isinstance(found, list):
        raise ImageError(f"The labels metadata of {folder} must be a list, not {found!r}.")
    return [str(name) for name in found]


def _write_label_list(folder: str, names: list[str], version: Version) -> None:
    node = read_node(folder)
    attributes = dict(node.attributes) if node else {}
    if version == "0.5":
        ome = {**attributes.get("ome", {}), "version": "0.5", "labels": names}
        write_group(folder, 3, {**attributes, "ome": ome})
    else:
        write_group(folder, 2, {**attributes, "labels": names})


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the folder against other processes of this machine, where the system can."""
    if not files.is_local(folder):
        yield
        return
    import fcntl

    path = files.local_path(folder)
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # network file systems may know no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _create(plan: Image, extra: dict[str, Any], *, plain: bool) -> None:
    if _is_there(plan):
        return
    for level in plan.levels:
        _create_array(plan, level, plain=plain)
    # The group comes last: an image exists only when all its arrays do.
    if plan.version == "0.5":
        attributes = {"ome": {"version": "0.5", "multiscales": [_multiscale(plan)], **extra}}
        write_group(plan.url, 3, attributes)
    else:
        multiscale = {"version": "0.4", **_multiscale(plan)}
        write_group(plan.url, 2, {"multiscales": [multiscale], **extra})


def _is_there(plan: Image) -> bool:
    """Whether the planned image exists; OutputExists if another thing is in its place."""
    found = None
    node = read_node(plan.url)
    if node is not None and "multiscales" in (node.attributes.get("ome") or node.attributes):
        found = describe(plan.url)
        if found == plan:
            return True
    levels = {".zgroup", *(level.path for level in plan.levels)}
    strange = [name for name in files.names(plan.url) if name not in levels]
    if found is not None or strange:
        raise OutputExists(
            f"{plan.url} exists already and differs from what would be written; "
            "choose another name or allow it to be overwritten."
        )
    return False


def _create_array(plan: Image, level: Level, *, plain: bool) -> None:
    url = files.join(plan.url, level.path)
    if read_node(url) is not None:  # left behind by a process that was killed here
        there = open_array(url)
        found = (there.shape, there.chunks, there.shards, there.dtype)
        if found == (level.shape, level.chunks, level.shards, plan.dtype):
            return
        raise OutputExists(f"{url} exists already and differs from what would be written.")
    three = plan.version == "0.5"
    zarr.create_array(
        open_store(url, read_only=False),
        shape=level.shape,
        chunks=level.chunks,
        shards=level.shards,
        dtype=plan.dtype,
        zarr_format=plan.zarr_format,
        compressors=_codec(plan.zarr_format, plain=plain),
        fill_value=0,
        dimension_names=plan.axes if three else None,
        # zarr v2 would separate the numbers of a chunk's name by dots, which NGFF does not allow
        chunk_key_encoding=None if three else {"name": "v2", "separator": "/"},
        config={"write_empty_chunks": False},
    )


def _codec(format: int, *, plain: bool) -> Any:
    """Zstandard level 1; shuffled for intensities, plain for labels, whose bytes repeat anyway."""
    if format == 3:
        return (
            ZstdCodec(level=1) if plain else BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
        )
    if plain:
        return {"id": "zstd", "level": 1}
    return {"id": "blosc", "cname": "zstd", "clevel": 1, "shuffle": 1}


def _multiscale(plan: Image) -> dict[str, Any]:
    axes = []
    for name in plan.axes:
        axis = {"name": name, "type": TYPES[name]}
        axes.append({**axis, "unit": plan.units[name]} if name in plan.units else axis)
    datasets = []
    for level in plan.levels:
        transforms: list[dict[str, Any]] = [{"type": "scale", "scale": list(level.scale)}]
        if any(level.translation):
            transforms.append({"type": "translation", "translation": list(level.translation)})
        datasets.append({"path": level.path, "coordinateTransformations": transforms})
    return {"name": plan.name, "axes": axes, "datasets": datasets}


def _omero(plan: Image) -> dict[str, Any]:
    if not plan.channels:
        return {}
    colours = ("00FF00", "FF00FF", "0000FF", "FFFF00", "00FFFF", "FF0000")
    top = float(np.iinfo(plan.dtype).max) if plan.dtype.kind in "ui" else 1.0
    window = {"min": 0.0, "max": top, "start": 0.0, "end": top}
    grey = len(plan.channels) == 1
    channels = [
        {
            "label": label,
            "color": "FFFFFF" if grey else colours[i % len(colours)],
            "window": window,
            "active": True,
        }
        for i, label in enumerate(plan.channels)
    ]
    return {"omero": {"channels": channels}}
