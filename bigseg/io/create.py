"""Create planned OME-Zarr images: empty arrays first, then the metadata that make them one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, ZstdCodec
from zarr.errors import ContainsArrayError

from bigseg import files
from bigseg.errors import OutputExists
from bigseg.io.ome import Image, Level, describe
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
    if not is_there(plan):
        create_arrays(plan)
        publish(plan)


def create_arrays(plan: Image, *, labels: bool = False) -> None:
    """Create the empty arrays of all levels; without `publish` they are no image yet.

    Arrays that are there already as planned are kept, those of another kind are refused.
    """
    for level in plan.levels:
        _create_array(plan, level, plain=labels)


def publish(
    plan: Image,
    extra: dict[str, Any] | None = None,
    windows: Sequence[tuple[float, float]] = (),
) -> None:
    """Write the group metadata that make planned arrays an image.

    Parameters
    ----------
    extra
        More NGFF metadata, such as `image-label`.
    windows
        Of each named channel, the intensities that viewers show as black and as full colour.
    """
    more = {**_omero(plan, windows), **(extra or {})}
    if plan.version == "0.5":
        attributes = {"ome": {"version": "0.5", "multiscales": [_multiscale(plan)], **more}}
        write_group(plan.url, 3, attributes)
    else:
        multiscale = {"version": "0.4", **_multiscale(plan)}
        write_group(plan.url, 2, {"multiscales": [multiscale], **more})


def is_there(plan: Image) -> bool:
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
    three = plan.version == "0.5"
    if read_node(url) is None:
        with contextlib.suppress(ContainsArrayError):  # another task may do so at this moment
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
                # zarr v2 would part the numbers in a chunk's name by dots, which NGFF forbids
                chunk_key_encoding=None if three else {"name": "v2", "separator": "/"},
                config={"write_empty_chunks": False},
            )
            return
    there = open_array(
        url, format=plan.zarr_format
    )  # of that task, or of a process that was killed here
    found = (there.shape, there.chunks, there.shards, there.dtype)
    if found != (level.shape, level.chunks, level.shards, plan.dtype):
        raise OutputExists(f"{url} exists already and differs from what would be written.")


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


_COLOURS = ("00FF00", "FF00FF", "0000FF", "FFFF00", "00FFFF", "FF0000")
_NAMED = {"red": "FF0000", "green": "00FF00", "blue": "0000FF"}


def _omero(plan: Image, windows: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """How viewers show the channels; nothing if they have no names."""
    if not plan.channels:
        return {}
    top = float(np.iinfo(plan.dtype).max) if plan.dtype.kind in "ui" else 1.0
    windows = windows or [(0.0, top)] * len(plan.channels)
    channels = []
    for number, (label, (start, end)) in enumerate(zip(plan.channels, windows, strict=True)):
        usual = _COLOURS[number % len(_COLOURS)] if len(plan.channels) > 1 else "FFFFFF"
        window = {"min": min(0.0, start), "max": max(top, end), "start": start, "end": end}
        colour = _NAMED.get(label.lower(), usual)
        channels.append({"label": label, "color": colour, "window": window, "active": True})
    return {"omero": {"channels": channels}}
