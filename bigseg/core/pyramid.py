"""Shrink images and labels by whole factors, so that blocks shrunk apart fit together."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.grid import Box, Index
from bigseg.types import Labels


def pyramid_factors(shape: Index, spacing: tuple[float, ...], smallest: int = 256) -> list[Index]:
    """Factors from each level to the next until the image is at most `smallest` wide.

    Axes with coarse voxels wait until the others have caught up, so voxels tend to cubes.

    Parameters
    ----------
    shape, spacing
        Of the finest level, (z, y, x).
    smallest
        A level whose y and x are at most this is the last.
    """
    levels: list[Index] = []
    while max(shape[-2:]) > smallest:
        finest = min(s for s, n in zip(spacing, shape, strict=True) if n > 1)
        factors = tuple(
            2 if n > 1 and s < 2 * finest else 1 for n, s in zip(shape, spacing, strict=True)
        )
        levels.append(factors)
        shape = shrunk(shape, factors)
        spacing = tuple(s * f for s, f in zip(spacing, factors, strict=True))
    return levels


def shrunk(shape: Index, factors: Index) -> Index:
    """Shape after shrinking; an incomplete last window still gives a voxel."""
    return tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))


def factors_between(fine: Index, coarse: Index) -> Index:
    """Whole factors that come closest to leading from one shape to the other."""
    return tuple(max(1, round(f / max(c, 1))) for f, c in zip(fine, coarse, strict=True))


def parent_box(box: Box, factors: Index, shape: Index) -> Box:
    """Voxels of the finer level, of `shape`, that a box of the coarser level is made of."""
    return tuple(
        slice(b.start * f, min(b.stop * f, n)) for b, f, n in zip(box, factors, shape, strict=True)
    )


def downsample_mean(block: NDArray[Any], factors: Index) -> NDArray[Any]:
    """Mean of each window of `factors` voxels; integers are rounded, booleans by majority.

    Parameters
    ----------
    block : array of any number of axes
    factors : one whole number per axis

    Returns
    -------
    array of the same dtype, ceil(n / f) long along each axis
    """
    small = block.dtype.kind in "bui" and block.dtype.itemsize <= 2 and prod(factors) <= 4096
    dtype = np.int32 if small else np.float64  # sums of 4096 16-bit values fit in 32 bits
    total = block
    for axis, factor in enumerate(factors):
        if factor > 1:
            total = _window_sums(total, axis, factor, dtype)
    counts = _window_counts(block.shape, factors)
    mean = total / counts
    if block.dtype.kind == "b":
        return np.asarray(mean >= 0.5)
    if block.dtype.kind in "ui":
        mean = np.floor(mean + 0.5)
    return mean.astype(block.dtype)


def _window_sums(
    array: NDArray[Any], axis: int, factor: int, dtype: type[np.generic]
) -> NDArray[Any]:
    moved = np.moveaxis(array, axis, 0)
    total = moved[::factor].astype(dtype)
    for offset in range(1, factor):
        part = moved[offset::factor]
        total[: len(part)] += part
    return np.moveaxis(total, 0, axis)


def _window_counts(shape: Index, factors: Index) -> NDArray[np.float64]:
    """Number of voxels in each window, broadcastable: windows at the far ends may be cut."""
    counts = np.ones((1,) * len(shape))
    for axis, (n, f) in enumerate(zip(shape, factors, strict=True)):
        along = np.minimum(f, n - f * np.arange(-(-n // f))).astype(np.float64)
        counts = counts * along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return counts


def downsample_labels(block: Labels, factors: Index) -> Labels:
    """Most frequent id of each window; between equals an object wins against background.

    No id appears that was not in the window, and the same window gives the same id whatever
    block it is in.

    Parameters
    ----------
    block : (z, y, x) unsigned integers
    factors : one whole number per axis

    Returns
    -------
    (z, y, x) array of the same dtype, ceil(n / f) long along each axis
    """
    if max(factors) == 1:
        return block.copy()
    out = np.empty(shrunk(block.shape, factors), block.dtype)
    _modes(np.ascontiguousarray(block), out, np.array(factors))
    return out


@njit(cache=True, nogil=True)
def _modes(block: Any, out: Any, factors: Any) -> None:
    window = np.empty(factors.prod(), block.dtype)
    depth, height, width = block.shape
    fz, fy, fx = factors
    for k in range(out.shape[0]):
        for j in range(out.shape[1]):
            for i in range(out.shape[2]):
                n = 0
                for z in range(k * fz, min(k * fz + fz, depth)):
                    for y in range(j * fy, min(j * fy + fy, height)):
                        for x in range(i * fx, min(i * fx + fx, width)):
                            window[n] = block[z, y, x]
                            n += 1
                out[k, j, i] = _mode(window, n)


@njit(cache=True, nogil=True)
def _mode(window: Any, n: int) -> Any:
    best, votes = window[0], 0
    for a in range(n):
        if votes > 0 and window[a] == best:
            continue
        count = 0
        for b in range(n):
            count += window[b] == window[a]
        if count > votes or (count == votes and best == 0):
            best, votes = window[a], count
        if 2 * votes > n:
            break
    return best
