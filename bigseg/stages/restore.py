"""Restore an image plane by plane: the finest level of a new image, block by block, without seams.

Tiles of the network are laid out once for the whole plane (`core.restoring`), so voxels do not
depend on how blocks are cut. Values go in normalised, as the network was trained, and come back
on the scale of the image: what was percentile 1 stays where it was, and so does percentile 99.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bigseg.core.intensity import rescale
from bigseg.core.restoring import Axis, Ranges, restore_planes, source, to_image
from bigseg.core.tiles import Tiling
from bigseg.errors import WeightsError
from bigseg.grid import Block, Box, Grid, Index, size
from bigseg.io.create import create_arrays
from bigseg.io.ome import Image, Level, describe
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.nets import weights
from bigseg.stages.normalize import ranges
from bigseg.types import Facts, Floats, StageSpec

if TYPE_CHECKING:
    from bigseg.nets.restorer import Restorer

CALL = 3 << 16
"""Pixels per call of the network: larger ones are no faster, and take more memory."""


class Plane(StageSpec):
    """How planes are shown to the network; enough to restore any part of them."""

    length: tuple[int, int]
    """(y, x) of the image, voxels."""
    pixels: tuple[int, int]
    """(y, x) of what the network sees."""
    result: tuple[int, int]
    """(y, x) of what is made of it, voxels."""
    model: str
    digest: str
    """SHA-256 of the weights."""
    tile: int = 512
    margin: int = 24

    @property
    def axes(self) -> tuple[Axis, Axis]:
        tiling = Tiling(self.tile, self.margin)
        y, x = (
            Axis(*lengths, tiling)
            for lengths in zip(self.length, self.pixels, self.result, strict=True)
        )
        return y, x


class Spec(StageSpec):
    """What is restored, and where it goes."""

    run: str
    image: str
    level: int
    channels: tuple[int, ...]
    shape: Index
    """(t, z, y, x) of the result."""
    block: Index
    """(t, z, y, x), in voxels of the result."""
    target: str
    plane: Plane
    as_stored: bool
    """Keep the type of the image and its scale of values; or store what the network gives."""

    @property
    def wants_gpu(self) -> bool:
        return True

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, (0, 0, 0, 0))


def restored_image(spec: Spec) -> Image:
    """Plan of the restored image: axes, units, channels and place are those of the original."""
    given = describe(spec.image)
    level = given.level(spec.level)
    length = dict(zip("tzyx", spec.shape, strict=True)) | {"c": len(spec.channels)}
    finer = {"y": spec.plane.length[0] / spec.shape[2], "x": spec.plane.length[1] / spec.shape[3]}
    scale = tuple(s * finer.get(a, 1.0) for a, s in zip(given.axes, level.scale, strict=True))
    plan = plan_image(
        spec.target,
        given.axes,
        tuple(length[axis] for axis in given.axes),
        given.dtype if spec.as_stored else np.float32,
        scale,
        spec.block[1:],
        given.version,
    )
    # The first voxel is smaller than that of the image where the grid is finer, not elsewhere.
    moves = zip(level.translation, level.scale, scale, strict=True)
    start = tuple(move + (new - old) / 2 for move, old, new in moves)
    names = tuple(given.channels[c] for c in spec.channels) if given.channels else ()
    levels = tuple(_moved(one, start) for one in plan.levels)
    return replace(plan, levels=levels, units=given.units, channels=names, name=given.name)


def _moved(level: Level, start: tuple[float, ...]) -> Level:
    moves = zip(level.translation, start, strict=True)
    return replace(level, translation=tuple(a + b for a, b in moves))


def check(spec: Spec) -> None:
    """Refuse weights that do not restore, or fit no network."""
    describe_restorer(spec.plane.model)
    # Imported here: PyTorch takes a second and 200 MB, and only those that restore need it.
    from bigseg.nets import network

    network.check(weights.locate(spec.plane.model))


def describe_restorer(model: str) -> weights.Model:
    """Say what is known of a restoring network, without building it.

    Raises
    ------
    NotFound
        If there is no such model.
    WeightsError
        If it does not turn one channel into one.
    """
    known = weights.describe(model)
    if (known.channels, known.outputs) != (1, 1):
        raise WeightsError(
            f"Model '{model}' cannot restore: it makes {known.outputs} map(s) of {known.channels} "
            "channel(s), and restoring makes one of one; choose a model like denoise_cyto3."
        )
    return known


def load(plane: Plane) -> Restorer:
    """The network, built once per process."""
    from bigseg.nets import restorer  # see `check`

    return restorer.load(plane.model, plane.digest)


def prepare(spec: Spec) -> None:
    """Create the arrays of all levels."""
    create_arrays(restored_image(spec))


def read(spec: Spec, block: Block) -> NDArray[Any]:
    """Voxels of the image that the block depends on: (c, z, y, x)."""
    box = source_box(spec.plane, block.write)
    data: NDArray[Any] = Volume.open(spec.image, spec.level).read(box, spec.channels)[0]
    return data


def source_box(plane: Plane, wanted: Box) -> Box:
    """Voxels (t, z, y, x) of the image that wanted voxels of the restored image depend on."""
    (y0, y1), (x0, x1) = source(plane.axes, _ranges(wanted))
    return (*wanted[:2], slice(y0, y1), slice(x0, x1))


def block(spec: Spec, block: Block, data: NDArray[Any]) -> Facts:
    """Restore one block and write it."""
    started = time.perf_counter()
    plan = restored_image(spec)
    target = Volume(plan, 0)
    for number, channel in enumerate(data):
        limits = _limits(spec, block.write, number)
        scaled = np.empty(channel.shape, np.float32)
        for plane, (low, high) in enumerate(limits):
            scaled[plane] = rescale(channel[plane], low, high)
        values: NDArray[Any] = restore(spec.plane, scaled[None], block.write)[0]
        if spec.as_stored:
            del scaled
            values = _as_stored(values, limits, plan.dtype)
        target.write(block.write, values[None], number)
    return {"restore_seconds": round(time.perf_counter() - started, 4)}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Leave a block empty."""
    plan = restored_image(spec)
    target, empty = Volume(plan, 0), np.zeros(size(block.write), plan.dtype)
    for number in range(len(spec.channels)):
        target.write(block.write, empty, number)
    return {"restore_seconds": 0.0}


def _limits(spec: Spec, box: Box, channel: int) -> list[tuple[float, float]]:
    """Intensity range of each plane of a box."""
    found, (frames, depth) = ranges(spec.run), spec.shape[:2]
    t, z = box[0].start, box[1]
    if len(found) > frames:
        return [found[t * depth + plane][channel] for plane in range(z.start, z.stop)]
    return [found[t if len(found) > 1 else 0][channel]] * (z.stop - z.start)


def _as_stored(
    restored: Floats, limits: Sequence[tuple[float, float]], dtype: DTypeLike
) -> NDArray[Any]:
    """Put values on the scale of the image, plane by plane, which takes little memory."""
    values = np.empty(restored.shape, dtype)
    for plane, (low, high) in enumerate(limits):
        values[plane] = to_image(restored[plane], low, high, dtype)
    return values


def restore(plane: Plane, data: Floats, wanted: Box) -> Floats:
    """Restore voxels of an image, as if all of it had been restored at once.

    Parameters
    ----------
    plane
        How planes are shown to the network.
    data : (c, z, y, x) float32
        Normalised voxels of `source_box(plane, wanted)`.
    wanted
        (t, z, y, x) voxels of the restored image.

    Returns
    -------
    (c, z, y, x) float32
        Restored values of the wanted voxels.
    """
    net, places = load(plane), _ranges(wanted)
    stack = data.reshape(-1, *data.shape[2:])
    batch = max(CALL // plane.tile**2, 1)
    (y0, y1), (x0, x1) = places
    restored = np.empty((len(stack), y1 - y0, x1 - x0), np.float32)
    # Few planes at a time, so that the memory for tiles does not grow with the block.
    for first in range(0, len(stack), batch):
        planes = slice(first, first + batch)
        restored[planes] = restore_planes(net, stack[planes], plane.axes, places, batch)
    return restored.reshape(*data.shape[:2], *restored.shape[1:])


def _ranges(box: Box) -> Ranges:
    return (box[2].start, box[2].stop), (box[3].start, box[3].stop)


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how long it took."""
    return {"restore_seconds": round(sum(fact["restore_seconds"] for fact in facts), 2)}
