"""Blocks of an image in and out, whatever axes it has."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import ImageError, NotFound
from bigseg.grid import Box
from bigseg.io.ome import AXES, Image, Level, describe
from bigseg.io.store import Array, open_array
from bigseg.io.units import ratio


@dataclass(frozen=True)
class Volume:
    """One level of an image, addressed by the canonical axes (t, c, z, y, x).

    Axes that the image lacks have length 1. It holds no open file, so it can be sent to workers;
    the array opens where it is first used.
    """

    image: Image
    number: int
    """Which level of the image."""

    @classmethod
    def open(cls, url: str, level: int = 0) -> Volume:
        """Read the metadata of one level of the image at `url`.

        Raises
        ------
        NotFound
            If there is no image, or it has no such level.
        ImageError
            If it is no image, or voxels have no positive size.
        """
        image = describe(url)
        scale = image.level(level).scale
        for axis, size in zip(image.axes, scale, strict=True):
            if not (isfinite(size) and size > 0) and axis != "c":
                raise ImageError(
                    f"The metadata of {url} give the voxels a size of {size} along {axis}; "
                    "correct the scale in its coordinateTransformations."
                )
        return cls(image, level)

    @property
    def level(self) -> Level:
        return self.image.levels[self.number]

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes as stored."""
        return self.image.axes

    @property
    def units(self) -> dict[str, str]:
        return self.image.units

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(t, c, z, y, x)."""
        length = dict(zip(self.axes, self.level.shape, strict=True))
        t, c, z, y, x = (length.get(axis, 1) for axis in AXES)
        return t, c, z, y, x

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Size of a voxel, (z, y, x), in the image's unit of x; 1 along an axis it lacks."""
        size = dict(zip(self.axes, self.level.scale, strict=True))
        z, y, x = (
            size.get(axis, 1.0) * ratio(self.units.get(axis), self.units.get("x")) for axis in "zyx"
        )
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what `read` gives: that of the image in this machine's byte order."""
        return self.image.dtype.newbyteorder("=")

    @property
    def unit(self) -> tuple[int, int, int, int]:
        """Shape (t, z, y, x) of one stored object; tasks must write multiples of it."""
        unit = dict(zip(self.axes, self.level.unit, strict=True))
        t, z, y, x = (unit.get(axis, 1) for axis in "tzyx")
        return t, z, y, x

    def read(self, box: Box, channels: tuple[int, ...] = (0,)) -> NDArray[Any]:
        """Voxels of `box` in the given channels.

        Parameters
        ----------
        box : four slices (t, z, y, x)
        channels : numbers of channels, in the order wanted

        Returns
        -------
        (t, c, z, y, x) array in this machine's byte order
        """
        self._inside(box)
        for channel in channels:
            self._channel(channel)
        first, last = channels[0], channels[-1]
        if "c" not in self.axes or channels == tuple(range(first, last + 1)):
            data = self._get(box, slice(first, last + 1))
            return data if "c" in self.axes else np.repeat(data, len(channels), axis=1)
        return np.concatenate([self._get(box, slice(c, c + 1)) for c in channels], axis=1)

    def write(self, box: Box, array: NDArray[Any], channel: int = 0) -> None:
        """Store the voxels of `box`, which holds stored objects (see `unit`) whole.

        No two tasks ever touch the same object, so none can lose what another wrote; and nothing
        has to be read before.

        Parameters
        ----------
        box : four slices (t, z, y, x)
        array : (t, z, y, x)
            Its values must fit the dtype of the image.
        channel : int
            Where they go if the image has channels.

        Raises
        ------
        ImageError
            If the box cuts stored objects, or the values do not fit.
        """
        self._inside(box)
        self._channel(channel)
        self._whole(box)
        expected = tuple(s.stop - s.start for s in box)
        if array.shape != expected:
            raise ImageError(
                f"An array {array.shape} cannot be written to {self.image.url} where "
                f"(t, z, y, x) = {expected} voxels are expected."
            )
        order = [AXES.index(axis) for axis in self.axes]
        lacking = tuple(i for i, axis in enumerate(AXES) if axis not in self.axes)
        five = _fitting(array, self.image)[:, None]
        kept = sorted(order)
        data = five.squeeze(lacking).transpose([kept.index(i) for i in order])
        self._writable[self._slices(box, slice(channel, channel + 1))] = data

    def __getstate__(self) -> dict[str, Any]:
        return {"image": self.image, "number": self.number}

    @cached_property
    def _array(self) -> Array:
        return open_array(self._url, format=self.image.zarr_format)

    @cached_property
    def _writable(self) -> Array:
        return open_array(self._url, format=self.image.zarr_format, write=True, whole=True)

    @property
    def _url(self) -> str:
        return files.join(self.image.url, self.level.path)

    def _get(self, box: Box, channels: slice) -> NDArray[Any]:
        """Voxels as (t, c, z, y, x)."""
        try:
            data = np.asarray(self._array[self._slices(box, channels)])
        except (RuntimeError, ValueError, EOFError) as error:  # what the codecs raise
            raise ImageError(
                f"{self._url} cannot be read at (t, z, y, x) = {box} ({error}); "
                "the stored chunk is damaged."
            ) from error
        order = sorted(range(len(self.axes)), key=lambda i: AXES.index(self.axes[i]))
        lacking = tuple(i for i, axis in enumerate(AXES) if axis not in self.axes)
        return np.expand_dims(data.transpose(order), lacking).astype(self.dtype, copy=False)

    def _slices(self, box: Box, channels: slice) -> Box:
        t, z, y, x = box
        by = dict(zip(AXES, (t, channels, z, y, x), strict=True))
        return tuple(by[axis] for axis in self.axes)

    def _inside(self, box: Box) -> None:
        t, _, z, y, x = self.shape
        if not all(0 <= s.start < s.stop <= n for s, n in zip(box, (t, z, y, x), strict=True)):
            raise ImageError(
                f"The box {box} is empty or reaches beyond (t, z, y, x) = {(t, z, y, x)} "
                f"of {self.image.url}."
            )

    def _whole(self, box: Box) -> None:
        channels = dict(zip(self.axes, self.level.unit, strict=True)).get("c", 1)
        t, _, z, y, x = self.shape
        edges = zip(box, self.unit, (t, z, y, x), strict=True)
        if channels > 1 or any(s.start % u or (s.stop % u and s.stop != n) for s, u, n in edges):
            raise ImageError(
                f"The box {box} cuts stored objects of {self._url}, which hold {self.unit} voxels "
                f"(t, z, y, x) of {channels} channel(s); tasks write whole ones only."
            )

    def _channel(self, number: int) -> None:
        if not 0 <= number < self.shape[1]:
            raise NotFound(
                f"{self.image.url} has no channel {number}; "
                f"it has channels 0 to {self.shape[1] - 1}."
            )


def _fitting(array: NDArray[Any], image: Image) -> NDArray[Any]:
    """`array` in the dtype of the image; an error if a value would change."""
    if np.can_cast(array.dtype, image.dtype) or array.size == 0:
        return array
    cast = array.astype(image.dtype)
    if not (cast == array).all():
        raise ImageError(
            f"Values up to {array.max()} cannot be written to {image.url}, "
            f"which holds {image.dtype}."
        )
    return cast
