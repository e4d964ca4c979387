"""What can be converted: an array with named axes that reads boxes, wherever it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.errors import ImageError
from bigseg.grid import Box
from bigseg.io.ome import AXES


@dataclass(frozen=True)
class Source:
    """One array to convert. It stays open as long as the context that gave it."""

    name: str
    """Path, for messages."""
    axes: str
    """One letter per axis as stored; other letters than t, c, z, y, x are not understood yet."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Box], NDArray[Any]]
    """Voxels of a box over `axes`."""
    scale: dict[str, float] = field(default_factory=dict)
    """Size of a voxel along the axes for which it is known."""
    units: dict[str, str] = field(default_factory=dict)
    channels: tuple[str, ...] = ()


def named(source: Source, axes: str | None) -> Source:
    """`source` with the axes that the user names, or with its own if they are understood.

    Raises
    ------
    ImageError
        If axes are unknown, too few or too many, or the voxels are no numbers.
    """
    if source.dtype.kind not in "biuf":
        raise ImageError(
            f"{source.name} holds values of type {source.dtype}; "
            "bigseg needs integers, floats or booleans."
        )
    axes = source.axes if axes is None else axes.lower()
    if len(axes) != len(source.shape):
        raise ImageError(
            f"{source.name} has {len(source.shape)} axes, shape {source.shape}; "
            f"'{axes}' names {len(axes)}."
        )
    if not set(axes) <= set(AXES) or len(set(axes)) < len(axes) or not {"y", "x"} <= set(axes):
        raise ImageError(
            f"The axes of {source.name}, shape {source.shape}, are '{axes}', which is not "
            f"understood; name them, in their order, by letters of {', '.join(AXES)}, "
            "for example --axes zyx."
        )
    return replace(source, axes=axes)
