"""TIFF files: their axes and voxel sizes as ImageJ, OME and others write them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from bigseg.errors import ImageError
from bigseg.grid import Box
from bigseg.io.source import Source
from bigseg.io.units import standard_unit

SUFFIXES = (".tif", ".tiff", ".lsm", ".btf", ".tf8")
_WHOLE_PAGE = 64 * 2**20
"""Pages up to this many bytes are decoded at once, which is faster than strip by strip."""


@contextmanager
def opened_tiff(path: str, scene: str | None = None) -> Iterator[Source]:
    """Open one image (series) of a TIFF file; planes are decoded when they are read.

    Parameters
    ----------
    path : str
        Local path.
    scene : str or None
        Number of the series; needed only if there are several.

    Raises
    ------
    ImageError
        If it is no TIFF, is damaged, or holds several images and none is chosen.
    """
    try:
        file = tifffile.TiffFile(path)
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read as TIFF: {error}.") from error
    with file:
        number = _series(path, file, scene)
        series = file.series[number]
        page_bytes = int(np.prod(series.keyframe.shape)) * series.dtype.itemsize
        mode = "page" if page_bytes <= _WHOLE_PAGE else "strile"
        store = series.aszarr(level=0, chunkmode=mode)
        try:
            array: Any = zarr.open_array(store, mode="r")
            scale, units, channels = _metadata(file, number)
            if not channels and series.axes.endswith("S") and series.shape[-1] == 3:
                channels = ("red", "green", "blue")
            yield Source(
                path,
                _axes(series.axes),
                tuple(series.shape),
                np.dtype(series.dtype),
                lambda box: _decoded(path, array, box),
                scale,
                units,
                channels,
            )
        finally:
            store.close()


def _decoded(path: str, array: Any, box: Box) -> NDArray[Any]:
    try:
        return np.asarray(array[box])
    except Exception as error:  # each codec has exceptions of its own
        remedy = "the file is damaged"
        if "imagecodecs" in str(error):
            remedy = "its compression needs a package: pip install imagecodecs"
        raise ImageError(f"{path} cannot be decoded ({error}); {remedy}.") from error


def _series(path: str, file: Any, scene: str | None) -> int:
    count = len(file.series)
    if scene is None and count == 1:
        return 0
    if scene is not None and scene.isdecimal() and int(scene) < count:
        return int(scene)
    there = ", ".join(f"#{i} {s.axes} {s.shape}" for i, s in enumerate(file.series))
    raise ImageError(f"{path} holds {count} images ({there}); name one, for example '{path}#0'.")


def _axes(axes: str) -> str:
    """Samples (red, green, blue) are channels, unless there are channels besides."""
    lower = axes.lower()
    return lower.replace("s", "c") if "c" not in lower else lower


_Metadata = tuple[dict[str, float], dict[str, str], tuple[str, ...]]


def _metadata(file: Any, number: int) -> _Metadata:
    """Voxel size, units and channel names."""
    if file.is_ome and file.ome_metadata:
        return _from_ome(file.ome_metadata, number)
    if file.is_imagej and file.imagej_metadata:
        return _from_imagej(file.imagej_metadata, file.pages[0].tags)
    if file.is_lsm and file.lsm_metadata:
        return _from_lsm(file.lsm_metadata)
    return {}, {}, ()


def _from_ome(text: str, number: int) -> _Metadata:
    try:
        images = ElementTree.fromstring(text).findall("{*}Image")
    except ElementTree.ParseError:
        return {}, {}, ()
    pixels = images[number].find("{*}Pixels") if number < len(images) else None
    if pixels is None:
        return {}, {}, ()
    scale, units = {}, {}
    places = {
        "z": "PhysicalSizeZ",
        "y": "PhysicalSizeY",
        "x": "PhysicalSizeX",
        "t": "TimeIncrement",
    }
    for axis, key in places.items():
        size = float(pixels.get(key) or 0)
        unit = standard_unit(pixels.get(f"{key}Unit") or ("s" if axis == "t" else "µm"))
        if size > 0 and unit:
            scale[axis], units[axis] = size, unit
    names = tuple(channel.get("Name") or "" for channel in pixels.findall("{*}Channel"))
    return scale, units, names if any(names) else ()


def _from_imagej(metadata: dict[str, Any], tags: Any) -> _Metadata:
    scale: dict[str, float] = {}
    unit = standard_unit(str(metadata.get("unit", "")).replace("\\u00B5", "µ"))
    spacing = float(metadata.get("spacing") or 0)
    if unit or spacing > 0:  # else the resolution is that of a screen
        for axis, tag in (("y", "YResolution"), ("x", "XResolution")):
            pixels, length = tags[tag].value if tag in tags else (0, 1)
            if pixels > 0:
                scale[axis] = length / pixels
        if spacing > 0:
            scale["z"] = spacing
    units = dict.fromkeys(scale, unit) if unit else {}
    if float(metadata.get("finterval") or 0) > 0:
        scale["t"], units["t"] = float(metadata["finterval"]), "second"
    return scale, units, ()


def _from_lsm(metadata: dict[str, Any]) -> _Metadata:
    """Zeiss LSM: sizes in meters, times in seconds."""
    places = {"z": "VoxelSizeZ", "y": "VoxelSizeY", "x": "VoxelSizeX"}
    found = {axis: 1e6 * float(metadata.get(key) or 0) for axis, key in places.items()}
    scale = {axis: size for axis, size in found.items() if size > 0}
    units = dict.fromkeys(scale, "micrometer")
    if float(metadata.get("TimeInterval") or 0) > 0:
        scale["t"], units["t"] = float(metadata["TimeInterval"]), "second"
    return scale, units, ()
