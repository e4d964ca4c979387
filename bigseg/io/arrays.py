"""Images as lazy, labelled arrays for people."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from bigseg import files
from bigseg.io.labels import find_labels
from bigseg.io.ome import Image, describe
from bigseg.io.store import open_array


def open_image(url: str, level: int = 0) -> xr.DataArray:
    """Open one level of an OME-Zarr image; voxels are read when they are needed.

    Parameters
    ----------
    url : str
        Local path or fsspec URL.
    level : int
        0 is the finest.

    Returns
    -------
    DataArray around a dask array, with the image's own axes; the coordinates are positions in the
    image's units (``array.y.attrs["units"]``), along c the names of the channels.

    Raises
    ------
    NotFound, ImageError
        See `bigseg.io.ome.describe`.
    """
    return _lazy(describe(url), level)


def open_labels(url: str, level: int = 0) -> xr.DataArray:
    """Open one level of a label image, as `open_image` does.

    Parameters
    ----------
    url : str
        A label image (`IMAGE/labels/NAME`), or an image that has exactly one.
    level : int
        0 is the finest.
    """
    return _lazy(describe(find_labels(url)), level)


def _lazy(image: Image, number: int) -> xr.DataArray:
    level = image.level(number)
    array = open_array(files.join(image.url, level.path), format=image.zarr_format)
    native = image.dtype.newbyteorder("=")
    data = da.from_array(array, chunks=level.unit, inline_array=True).astype(native)
    coords = {axis: _coordinate(image, number, axis) for axis in image.axes}
    attrs = {"url": image.url, "level": number, "ngff_version": image.version}
    return xr.DataArray(data, coords, image.axes, name=image.name, attrs=attrs)


def _coordinate(image: Image, number: int, axis: str) -> xr.Variable:
    level = image.level(number)
    at = image.axes.index(axis)
    length = level.shape[at]
    values: Any = level.translation[at] + level.scale[at] * np.arange(length)
    if axis == "c":
        values = image.channels if len(image.channels) == length else np.arange(length)
    attrs = {"units": image.units[axis]} if axis in image.units else {}
    return xr.Variable((axis,), np.asarray(values), attrs)
