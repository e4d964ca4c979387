"""Steps that look at an image, or make one."""

from __future__ import annotations

from math import ceil, prod

from bigseg.core.tiles import round_up
from bigseg.grid import Index
from bigseg.io.ome import Image
from bigseg.io.shards import REQUEST
from bigseg.io.volume import Volume
from bigseg.plans.counts.traffic import (
    Boxes,
    Counted,
    Share,
    Spans,
    Store,
    boxes_of,
    traffic,
    voxels,
)
from bigseg.plans.lattice import computed_along
from bigseg.stages import background, image_pyramid, normalize, predict, restore, windows
from bigseg.storage import bucket


def image_store(volume: Volume, channels: tuple[int, ...], name: str = "image") -> Store:
    """Channels of one level of an image, as a store."""
    t, _, z, y, x = volume.shape
    by = dict(zip(volume.axes, volume.level.chunks, strict=True))
    chunk = tuple(by.get(axis, 1) for axis in "tzyx")
    deep = by.get("c", 1)
    copies = len({channel // deep for channel in channels})
    each = volume.dtype.itemsize * (deep * copies)
    joined = bucket(volume.image.url) is not None
    if joined and prod(volume.unit) * volume.dtype.itemsize * deep <= REQUEST:
        chunk = volume.unit  # what is not wanted of it costs less than another request
    return Store(name, (t, z, y, x), chunk, volume.unit, each, copies, joined)


def level_store(image: Image, number: int, name: str) -> Store:
    """All channels of one level of an image that a run makes."""
    volume = Volume(image, number)
    return image_store(volume, tuple(range(volume.shape[1])), f"{name} {number}")


def predictions_store(spec: predict.Spec) -> Store:
    """Maps of the network."""
    _, _, *chunk = predict.chunks(spec)
    each = spec.maps * spec.dtype.itemsize
    edges = (1, *chunk)
    return Store("predictions", spec.shape, edges, edges, each)


def shown(spec: predict.Spec | normalize.Spec | windows.Spec | background.Spec) -> Store:
    """What a step looks at."""
    return image_store(Volume.open(spec.image, spec.level), spec.channels)


def counting(spec: normalize.Spec | windows.Spec, share: Share) -> Counted:
    """Histograms."""
    reach = spec.sight.filters.reach
    boxes = boxes_of(spec.grid, halo=(0, 0, reach, reach))
    return Counted(float(voxels(boxes)), (traffic(shown(spec), boxes),))


def looking(spec: background.Spec, share: Share) -> Counted:
    """A coarse level, frame by frame."""
    boxes = boxes_of(spec.grid)
    return Counted(float(voxels(boxes)), (traffic(shown(spec), boxes),))


def predicting(spec: predict.Spec, share: Share) -> Counted:
    """An image becomes maps."""
    boxes = boxes_of(spec.grid, halo=spec.halo)
    reads = (traffic(shown(spec), boxes, share.predicted),)
    writes = (traffic(predictions_store(spec), boxes_of(spec.grid), share.predicted),)
    return Counted(network_pixels(spec) * share.predicted, reads, writes)


def network_pixels(spec: predict.Spec) -> float:
    """Pixels that the network computes for a whole image, overlap and padding included."""
    frames, *space = spec.shape
    views = 4 if spec.flips else 1
    along = [
        computed_along(n, b, s, spec.tiling) if not spec.published else _published_along(n, s, spec)
        for n, b, s in zip(space, spec.block[1:], spec.scale, strict=True)
    ]
    if spec.ndim == 2:
        return float(frames * space[0] * along[1] * along[2] * views)
    planes = [_planes(n, b, s) for n, b, s in zip(space, spec.block[1:], spec.scale, strict=True)]
    total = sum(planes[axis] * prod(along) / along[axis] for axis in range(3))
    return float(frames * total * views)


def _published_along(length: int, scale: float, spec: predict.Spec) -> int:
    edge, starts = spec.tiling.edges(round_up(int(length * scale)) + 2 * predict.BORDER)
    return edge * len(starts)


def _planes(length: int, block: int, scale: float) -> int:
    """Planes of the network through the voxels of all blocks, along the axis they stand on."""
    if scale == 1:
        return length
    return sum(ceil(min(block, length - start) * scale) + 1 for start in range(0, length, block))


def restoring(spec: restore.Spec, share: Share) -> Counted:
    """An image becomes another: tiles that reach over a face of blocks are computed twice."""
    own = boxes_of(spec.grid)
    pixels = float(sum(b - a for a, b in own[0]) * sum(b - a for a, b in own[1]))
    sources: list[Spans] = [*own[:2]]
    for axis, spans in zip(spec.plane.axes, own[2:], strict=True):
        pixels *= axis.edge * sum(len(axis.tiles(span)) for span in spans)
        sources.append([axis.source(span) for span in spans])
    image = image_store(Volume.open(spec.image, spec.level), spec.channels)
    made = level_store(restore.restored_image(spec), 0, "restored")
    work = pixels * len(spec.channels)
    return Counted(work, (traffic(image, tuple(sources)),), (traffic(made, own),))


def averaging(spec: image_pyramid.Spec, share: Share) -> Counted:
    """A coarser level of a restored image."""
    plan = restore.restored_image(spec.restore)
    finer = level_store(plan, spec.number - 1, "restored")
    coarse = level_store(plan, spec.number, "restored")
    reads = traffic(finer, parents(boxes_of(spec.grid), finer.shape, spec.shape))
    return Counted(float(prod(finer.shape)), (reads,), (traffic(coarse, boxes_of(spec.grid)),))


def parents(boxes: Boxes, finer: Index, coarse: Index) -> Boxes:
    """What boxes of a coarser level are made of, in the finer one."""
    factors = [ceil(n / m) for n, m in zip(finer, coarse, strict=True)]
    return tuple(
        [(a * f, min(b * f, n)) for a, b in spans]
        for spans, f, n in zip(boxes, factors, finer, strict=True)
    )
