"""Run the network over overlapping tiles; keep its maps in eight bits, or exactly for parity.

Blocks of this stage come from the network's tiles and the shape of the image alone, never from the
blocks that label and write, so that predictions do not depend on how the rest is cut. Inside a
block tiles blend; at its faces each side has `halo` voxels of context.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.intensity import rescale
from bigseg.core.planes import (
    ORIENTATIONS,
    Range,
    needed_for,
    positions,
    predict_volume,
    resample,
)
from bigseg.core.representations import Name, count_maps, has_vectors, pack
from bigseg.core.tiles import TileFunction, Tiling, predict_planes, round_up, with_flips
from bigseg.grid import Block, Box, Grid, Index
from bigseg.io.region import Region
from bigseg.io.scratch import create_scratch, scratch
from bigseg.io.volume import Volume
from bigseg.nets import weights
from bigseg.nets.functions import is_function
from bigseg.stages import windows
from bigseg.stages.normalize import Sight, look, ranges
from bigseg.stages.restore import Plane, restore, source_box
from bigseg.stages.totals import totals
from bigseg.types import Facts, Floats, StageSpec

if TYPE_CHECKING:
    from bigseg.nets.network import Ensemble

Triple = tuple[float, float, float]
Bools = NDArray[np.bool_]

BORDER = 8
"""Pixels of zeros beyond the faces of the image. Without them a network takes the face for the end
of what it was shown, not of the object: flows of objects at the face then lead out of the image."""

SLAB = 32
"""Planes that are rescaled at once."""
EMPTY = -100.0
"""What float32 maps hold where the image is constant: a logit that no threshold is below."""


class Spec(StageSpec):
    """What the network is run on, and how planes are cut for it."""

    run: str
    image: str
    level: int
    channels: tuple[int, ...]
    sight: Sight = Sight()
    window: Index | None = None
    """(z, y, x) of windows that have intensity ranges of their own; None: one range for many."""
    intensity: tuple[float, float] | None = None
    """Values that become 0 and 1; None: what `normalize` found."""
    invert: bool = False
    restore: Plane | None = None
    """How a restoring network is shown the image on its way, if there is one."""
    shape: Index
    """(t, z, y, x)."""
    block: Index
    """(t, z, y, x), multiples of 16 where the axis is longer."""
    halo: Index
    """Context on each side of a block, voxels."""
    ndim: Literal[2, 3]
    models: tuple[str, ...]
    """Names, paths or URLs of networks, whose outputs are averaged."""
    digests: tuple[str, ...]
    """SHA-256 of each."""
    representation: Name = "flows"
    outputs: int = 3
    """Maps that each network makes of a tile."""
    flips: bool = False
    """Whether mirror images of each tile are averaged."""
    scale: Triple
    """Pixels of the network per voxel, (z, y, x)."""
    tile: int
    margin: int
    fixed: bool = False
    """Whether the network takes tiles of exactly this size only."""
    region: Region | None = None
    """Where objects are looked for; tiles that see nothing of it are not computed."""
    published: bool = False
    """Whether planes are resized, padded and cut as in Cellpose, predicted and kept in float32."""

    @property
    def grid(self) -> Grid:
        return Grid(self.shape, self.block, self.halo)

    @property
    def wants_gpu(self) -> bool:
        return True

    @property
    def tiling(self) -> Tiling:
        return Tiling(self.tile, self.margin, self.fixed, self.published)

    @property
    def maps(self) -> int:
        """Maps that are kept of each voxel."""
        return count_maps(self.representation, self.outputs, self.ndim)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is kept: eight bits move a weak object now and then, which parity must not."""
        return np.dtype(np.float32 if self.published else np.int8)


def predictions_url(run: str) -> str:
    """Where predictions are: `Spec.dtype`, (t, k, z, y, x), see `core.representations`."""
    return files.join(run, "scratch", "predictions")


def check(spec: Spec) -> None:
    """Refuse weights that fit no network."""
    # Those that are bundled are tested, and functions were loaded when they were described.
    own = [m for m in spec.models if m not in weights.bundled() and not is_function(m)]
    if spec.restore is not None:
        own.append(spec.restore.model)
    if own:
        # Imported here: PyTorch takes a second and 200 MB of every process, and only those that
        # predict need it.
        from bigseg.nets import network

        for model in own:
            network.check(weights.locate(model))


def load(spec: Spec) -> Ensemble:
    """The networks, built once per process."""
    from bigseg.nets import network  # see `check`

    return network.load_all(spec.models, spec.digests, spec.representation, spec.published)


def prepare(spec: Spec) -> None:
    """Create the scratch array; a block is a whole number of its chunks."""
    t, *space = spec.shape
    shape, background = (t, spec.maps, *space), EMPTY if spec.published else 0
    create_scratch(predictions_url(spec.run), shape, chunks(spec), spec.dtype, background)


def chunks(spec: Spec) -> Index:
    """Chunks of the scratch array: blocks, halved until halos read little more than they need.

    Objects of planes are found plane by plane, so planes are stored one by one, too.
    """
    most = 512 if spec.ndim == 2 else 64
    edges = []
    for length in spec.block[1:] if spec.ndim == 3 else (1, *spec.block[2:]):
        while length > most and length % 2 == 0:
            length //= 2
        edges.append(length)
    return (1, spec.maps, *edges)


def read(spec: Spec, block: Block) -> Floats | None:
    """Normalised image of a block with its context: (c, z, y, x).

    None where it is constant, or where nothing is looked for.
    """
    return None if _is_outside(spec, block) else read_image(spec, block.read)


def _is_outside(spec: Spec, block: Block) -> bool:
    """Whether nothing is looked for in a block."""
    return spec.region is not None and not spec.region.touches(block.write)


def read_image(spec: Spec, box: Box) -> Floats | None:
    """Normalised voxels of a (t, z, y, x) box: (c, z, y, x); None where they are constant."""
    wide = source_box(spec.restore, box) if spec.restore else box
    data = look(Volume.open(spec.image, spec.level), wide, spec.channels, spec.sight)
    if all((channel == channel.flat[0]).all() for channel in data):
        return None
    scaled = _rescaled(spec, wide, data)
    if spec.invert:
        np.subtract(1, scaled, out=scaled)
    return restore(spec.restore, scaled, box) if spec.restore else scaled


def _rescaled(spec: Spec, box: Box, data: NDArray[Any]) -> Floats:
    """Map what is dark to 0 and what is bright to 1: (c, z, y, x)."""
    if spec.window is not None:
        return windows.rescaled(spec.run, spec.window, spec.shape, box, data)
    scaled = np.empty(data.shape, np.float32)
    for channel, values in enumerate(data):
        for planes, limits in _ranges(spec, box, channel):
            for slab in _slabs(range(len(values))[planes]):  # so that no second block is held
                scaled[channel, slab] = rescale(values[slab], *limits)
    return scaled


def _slabs(planes: range) -> Iterator[slice]:
    """Some planes at a time."""
    for first in range(planes.start, planes.stop, SLAB):
        yield slice(first, min(first + SLAB, planes.stop))


def _ranges(spec: Spec, box: Box, channel: int) -> Iterator[tuple[slice, tuple[float, float]]]:
    """Planes of a box that share an intensity range, and the range."""
    if spec.intensity is not None:
        yield slice(None), spec.intensity
        return
    found, (frames, depth) = ranges(spec.run), spec.shape[:2]
    t, z = box[0].start, box[1]
    if len(found) <= frames:
        yield slice(None), found[t if len(found) > 1 else 0][channel]
        return
    for plane in range(z.start, z.stop):
        here = plane - z.start
        yield slice(here, here + 1), found[t * depth + plane][channel]


def block(spec: Spec, block: Block, data: Floats | None) -> Facts:
    """Predict one block and store it."""
    return _predict(spec, block, data)


def _predict(spec: Spec, block: Block, data: Floats | None) -> Facts:
    kept = int(np.prod([w.stop - w.start for w in block.write]))
    if data is None:
        skipped = _is_outside(spec, block)
        none = {"kept": kept, "computed": 0, "network_seconds": 0.0}
        return none | {"empty": not skipped, "skipped": skipped}
    loaded = load(spec)
    net = Counting(loaded, max(loaded.pixels // spec.tile**2, 1))
    wanted = None if spec.region is None else spec.region.read(block.write)
    field = (predict_2d if spec.ndim == 2 else predict_3d)(spec, net, data, block, wanted)
    packed = pack(spec.representation, field, spec.ndim, exact=spec.published)
    if wanted is not None:
        packed[:, ~wanted] = EMPTY if spec.published else 0
    t, *space = block.write
    scratch(predictions_url(spec.run))[(t, slice(None), *space)] = packed[None]
    views = (1 if spec.ndim == 2 else len(ORIENTATIONS)) * (4 if spec.flips else 1)
    worked = kept * views * float(np.prod(spec.scale) if spec.ndim == 3 else spec.scale[1] ** 2)
    return {
        "kept": kept,
        "redundancy_kept": worked,
        "computed": net.pixels,
        "network_seconds": round(net.seconds, 4),
        "batch": net.batch,
        "empty": False,
        "skipped": False,
    }


def leave_out(spec: Spec, block: Block) -> Facts:
    """Leave a block as empty as it was created, but for planes that can be read.

    Planes are predicted only if it was the image that failed: a network might fail here as well.
    """
    t, *space = block.write
    empty = EMPTY if spec.published else 0
    scratch(predictions_url(spec.run))[(t, slice(None), *space)] = empty
    kept = int(np.prod([w.stop - w.start for w in block.write]))
    none = {"kept": kept, "computed": 0, "network_seconds": 0.0, "empty": True}
    planes = list(_planes(block)) if spec.ndim == 2 else []
    if len(planes) < 2 or _readable(spec, block):
        return none
    seen = [_predict(spec, plane, read(spec, plane)) for plane in planes if _readable(spec, plane)]
    return none | totals(seen, ("computed", "network_seconds", "redundancy_kept"))


def _planes(block: Block) -> Iterator[Block]:
    """Each plane of a block."""
    t, z, *_ = block.write
    for n in range(z.start, z.stop):
        boxes = ((t, slice(n, n + 1), *box[2:]) for box in (block.read, block.write))
        yield Block(block.index, *boxes)


def _readable(spec: Spec, block: Block) -> bool:
    try:
        read(spec, block)
    except Exception:  # each store and codec has exceptions of its own
        return False
    return True


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how many pixels the network computed for each one that was kept."""
    names = ("redundancy_kept", "computed", "network_seconds", "empty", "skipped")
    sums = totals(facts, names)
    worked, computed = sums["redundancy_kept"], sums["computed"]
    return {
        "tile_redundancy": round(computed / worked, 3) if worked else 0.0,
        "network_pixels": computed,
        "network_seconds": round(sums["network_seconds"], 2),
        "empty_blocks": sums["empty"],
        "skipped_blocks": sums["skipped"],
        "batch": max((fact.get("batch", 0) for fact in facts), default=0),
    }


class Counting:
    """A network that counts what it is asked for."""

    def __init__(self, net: TileFunction, batch: int) -> None:
        self.net = net
        self.batch = batch
        """Tiles per call."""
        self.pixels = 0
        self.seconds = 0.0

    def __call__(self, tiles: Floats) -> Floats:
        started = time.perf_counter()
        outputs = self.net(tiles)
        self.seconds += time.perf_counter() - started
        self.pixels += tiles.shape[0] * tiles.shape[2] * tiles.shape[3]
        return outputs


def predict_2d(
    spec: Spec, net: Counting, data: Floats, block: Block, wanted: Bools | None = None
) -> Floats:
    """Outputs for each plane: (k, z, y, x) of the block's own voxels, or of those wanted."""
    planes = np.moveaxis(data, 0, 1)  # (z, c, y, x)
    for axis, scale in ((2, spec.scale[1]), (3, spec.scale[2])):
        planes = _to_network(spec, planes, axis, scale)
    extra = _borders(spec, block, (1, *planes.shape[2:]))[1:]
    wide = np.pad(planes, ((0, 0), (0, 0), *extra))
    chosen = None
    if wanted is not None:
        chosen = np.pad(_needed(wanted, block, (0, *planes.shape[2:])), ((0, 0), *extra))
    turned = _turned(spec, net)
    outputs = predict_planes(turned, wide, spec.tiling, spec.outputs, net.batch, chosen)
    (top, _), (left, _) = extra
    outputs = outputs[:, :, top : top + planes.shape[2], left : left + planes.shape[3]]
    for axis, number in ((2, 2), (3, 3)):
        outputs = _from_network(outputs, axis, block, number)
    field = np.moveaxis(outputs, 1, 0)
    return _in_voxels(field, spec.scale[1:]) if spec.representation == "flows" else field


def predict_3d(
    spec: Spec, net: Counting, data: Floats, block: Block, wanted: Bools | None = None
) -> Floats:
    """Flow z, y, x, if there are flows, and logits, (k, z, y, x), of the block's own voxels."""
    volume = data
    for axis, scale in enumerate(spec.scale, 1):
        volume = _to_network(spec, volume, axis, scale)
    core = [_core(volume.shape[axis], block, axis) for axis in (1, 2, 3)]
    extra = _borders(spec, block, volume.shape[1:])
    z, y, x = ((a + n, b + n) for (a, b), (n, _) in zip(core, extra, strict=True))

    turned = _turned(spec, net)

    def predict(planes: Floats, chosen: Bools | None = None) -> Floats:
        return predict_planes(turned, planes, spec.tiling, spec.outputs, net.batch, chosen)

    lengths = volume.shape
    chosen = None if wanted is None else np.pad(_needed(wanted, block, lengths[1:]), extra)
    volume = np.pad(volume, ((0, 0), *extra))
    flows = has_vectors(spec.representation)
    field = predict_volume(
        predict, volume, (z, y, x), outputs=spec.outputs, vectors=flows, wanted=chosen
    )
    del volume
    own = np.empty((len(field), *(box.stop - box.start for box in block.write[1:])), np.float32)
    for number, part in enumerate(field):  # one by one: copies of all would take more
        for axis in (1, 2, 3):
            part = _from_network(part, axis - 1, block, axis, core[axis - 1], lengths[axis])
        own[number] = part
    return _in_voxels(own, spec.scale) if flows else own


def _needed(wanted: Bools, block: Block, lengths: tuple[int, ...]) -> Bools:
    """Pixels of the network that the wanted voxels (z, y, x) of a block are made from.

    `lengths` are those of what the network is shown; axes of length 0 are not resized.
    """
    for axis, length in enumerate(lengths):
        if length:
            at = _centres(length, block, axis + 1)
            wanted = needed_for(wanted, axis, at, length)
    return wanted


def _turned(spec: Spec, net: Counting) -> TileFunction:
    """The network, or its mean over mirror images."""
    return with_flips(net, has_vectors(spec.representation)) if spec.flips else net


def _in_voxels(field: Floats, scale: tuple[float, ...]) -> Floats:
    """Count steps in voxels: a network's step is equally long along all axes, voxels may not be."""
    for axis, one in enumerate(scale):
        if one != scale[-1]:
            field[axis] *= scale[-1] / one
    return field


def _borders(spec: Spec, block: Block, pixels: tuple[int, ...]) -> list[tuple[int, int]]:
    """Zeros to add before and after along z, y, x, where the image ends.

    `pixels` are the lengths of what the network is shown; Cellpose fills them up to multiples of
    16 on both sides.
    """
    if spec.published:
        missing = [round_up(n) - n for n in pixels]
        return [(BORDER + n // 2, BORDER + (n + 1) // 2) for n in missing]
    return [
        (BORDER * (box.start == 0), BORDER * (box.stop == n))
        for box, n in zip(block.read[1:], spec.shape[1:], strict=True)
    ]


def _to_network(spec: Spec, array: Floats, axis: int, scale: float) -> Floats:
    """Resize an axis from voxels to pixels of the network."""
    length = array.shape[axis]
    wanted = max(int(length * scale) if spec.published else round(length * scale), 1)
    return resample(array, axis, positions(0, wanted, length / wanted))


def _core(length: int, block: Block, number: int) -> Range:
    """Pixels of the network that the block's own voxels lie between."""
    at = _centres(length, block, number)
    return max(int(np.floor(at[0])), 0), min(int(np.ceil(at[-1])) + 1, length)


def _centres(length: int, block: Block, number: int) -> NDArray[np.float64]:
    """Centres of the block's own voxels in pixels of the network, along a (t, z, y, x) axis."""
    read, own = block.read[number], block.crop[number]
    step = length / (read.stop - read.start)
    return positions(own.start * step, own.stop - own.start, step)


def _from_network(
    array: Floats, axis: int, block: Block, number: int, core: Range | None = None, length: int = 0
) -> Floats:
    """Resize an axis back to the block's own voxels."""
    start = core[0] if core else 0
    return resample(array, axis, _centres(length or array.shape[axis], block, number) - start)
