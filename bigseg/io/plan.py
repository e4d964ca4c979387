"""Plan OME-Zarr images as values: their levels, chunks and shards. Nothing is read or written."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
from numpy.typing import DTypeLike

from bigseg.core.pyramid import factors_between, pyramid_factors, shrunk
from bigseg.errors import ImageError
from bigseg.grid import Index
from bigseg.io.ome import AXES, Image, Level, Version

TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
"""What NGFF calls the kind of each axis."""


def plan_image(
    url: str,
    axes: tuple[str, ...],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    scale: tuple[float, ...],
    block: Index,
    version: Version = "0.5",
) -> Image:
    """Plan an image with all its levels; nothing is written.

    Units, channels and name are those of `dataclasses.replace(plan, units=…)`.

    Parameters
    ----------
    url : str
        Where it will be.
    axes, shape, scale
        Of the finest level, one entry per axis, in any order that NGFF allows.
    dtype
        Any integer, float or boolean type.
    block : (z, y, x)
        What one task writes: a shard of zarr v3, a multiple of the chunk of zarr v2.
    version : "0.4" or "0.5"
    """
    _check_axes(url, axes)
    space = [a for a in "zyx" if a in axes]
    at = [axes.index(a) for a in space]
    steps = pyramid_factors(tuple(shape[i] for i in at), tuple(scale[i] for i in at))
    levels = [_level("0", axes, shape, block, version, scale, (0.0,) * len(axes))]
    for number, step in enumerate(steps, 1):
        by = dict(zip(space, step, strict=True))
        factors = tuple(by.get(a, 1) for a in axes)
        levels.append(_below(levels[-1], str(number), factors, axes, block, version))
    name = url.rstrip("/").rsplit("/", 1)[-1]
    return Image(url, version, axes, {}, tuple(levels), np.dtype(dtype).newbyteorder("="), (), name)


def plan_labels(
    source: Image, url: str, dtype: DTypeLike, block: Index, *, level: int = 0
) -> Image:
    """Plan the label image of `source`: same axes but for channels, same levels; no I/O.

    NGFF wants as many levels as the image has. Labels of a coarser `level` therefore go on with
    levels of their own where those of the image end.

    Parameters
    ----------
    source : Image
        What was segmented.
    url, dtype
        Of the label image.
    block : (z, y, x)
        What one task writes.
    level : int
        Level of the image that was segmented; it becomes level 0 of the labels.
    """
    keep = [i for i, axis in enumerate(source.axes) if axis != "c"]
    axes = tuple(source.axes[i] for i in keep)
    source.level(level)
    levels: list[Level] = []
    for number in range(len(source.levels)):
        path = str(number)
        there = source.levels[level + number :][:1]
        mirrored = [_mirror(path, one, keep, axes, block, source.version) for one in there]
        if not levels or (mirrored and _fits(levels[-1].shape, mirrored[0].shape)):
            levels += mirrored
        else:
            last = levels[-1]
            factors = tuple(
                2 if a in "yx" and n > 1 else 1 for a, n in zip(axes, last.shape, strict=True)
            )
            if mirrored:
                factors = factors_between(last.shape, mirrored[0].shape)
            levels.append(_below(last, path, factors, axes, block, source.version))
    units = {axis: unit for axis, unit in source.units.items() if axis in axes}
    name = url.rstrip("/").rsplit("/", 1)[-1]
    return Image(
        url, source.version, axes, units, tuple(levels), np.dtype(dtype).newbyteorder("="), (), name
    )


def with_version(plan: Image, version: Version, block: Index) -> Image:
    """`plan` in the other NGFF version: chunks and shards follow."""
    levels = tuple(
        _level(one.path, plan.axes, one.shape, block, version, one.scale, one.translation)
        for one in plan.levels
    )
    return replace(plan, version=version, levels=levels)


def _check_axes(url: str, axes: tuple[str, ...]) -> None:
    order = [list(TYPES.values()).index(TYPES[a]) for a in axes if a in TYPES]
    known = set(axes) <= set(AXES) and len(set(axes)) == len(axes)
    if known and order == sorted(order) and {"y", "x"} <= set(axes):
        return
    raise ImageError(
        f"Axes {', '.join(axes)} are not possible for {url}: NGFF wants t, then c, then z, y, x, "
        "of which y and x are needed."
    )


def _level(
    path: str,
    axes: tuple[str, ...],
    shape: tuple[int, ...],
    block: Index,
    version: Version,
    scale: tuple[float, ...],
    translation: tuple[float, ...],
) -> Level:
    chunks, shards = storage_shapes(axes, shape, block, version)
    return Level(path, shape, chunks, shards, scale, translation)


def _mirror(
    path: str, one: Level, keep: list[int], axes: tuple[str, ...], block: Index, version: Version
) -> Level:
    shape, scale, move = (
        tuple(values[i] for i in keep) for values in (one.shape, one.scale, one.translation)
    )
    return _level(path, axes, shape, block, version, scale, move)  # type: ignore[arg-type]


def _fits(fine: Index, coarse: Index) -> bool:
    """Whether `coarse` is `fine` shrunk by whole factors, incomplete windows kept or dropped."""
    factors = factors_between(fine, coarse)
    return all(
        c in (n // f, -(-n // f)) and c > 0 for n, f, c in zip(fine, factors, coarse, strict=True)
    )


def _below(
    above: Level, path: str, factors: Index, axes: tuple[str, ...], block: Index, version: Version
) -> Level:
    """Next coarser level; its first voxel's centre is that of the window it is made of."""
    scale = tuple(s * f for s, f in zip(above.scale, factors, strict=True))
    moves = zip(above.translation, above.scale, factors, strict=True)
    move = tuple(t + s * (f - 1) / 2 for t, s, f in moves)
    return _level(path, axes, shrunk(above.shape, factors), block, version, scale, move)


def storage_shapes(
    axes: tuple[str, ...], shape: tuple[int, ...], block: Index, version: Version
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunk and shard of an array that tasks write in blocks of (z, y, x).

    Chunks are about 64³ in 3D and 512² in 2D, and divide the block evenly.
    """
    length = dict(zip(axes, shape, strict=True))
    size = {a: min(b, length.get(a, 1)) for a, b in zip("zyx", block, strict=True)}
    whole = {a: b >= length.get(a, 1) for a, b in zip("zyx", block, strict=True)}
    depth = size["z"]
    wide = 512 if depth == 1 else 256 if depth <= 8 else 128 if depth <= 32 else 64
    chunk, shard = {"t": 1, "c": 1}, {"t": 1, "c": 1}
    for axis, b in zip("zyx", block, strict=True):
        want = 64 if axis == "z" else wide
        chunk[axis] = min(want, size[axis]) if whole[axis] else _divisor(b, want)
        shard[axis] = chunk[axis] * ceil(size[axis] / chunk[axis])
    chunks = tuple(chunk[a] for a in axes)
    shards = tuple(shard[a] for a in axes)
    return chunks, shards if version == "0.5" and shards != chunks else None


def _divisor(length: int, want: int) -> int:
    """Divisor of `length` that is nearest to `want`, or `length` if all are far from it."""
    divisors = [d for d in range(1, length + 1) if length % d == 0 and want <= 4 * d <= 8 * want]
    return min(divisors, key=lambda d: max(d / want, want / d), default=length)
