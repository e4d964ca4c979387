"""What the steps of a run read, write, ask of a store and hold: numbers from specifications alone.

Boxes of blocks are products of intervals, so that what a million blocks read is a product of sums
along the axes: nothing here is as long as there are blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, prod

from bigseg.core.tiles import round_up
from bigseg.grid import Grid, Index
from bigseg.io.ome import Image
from bigseg.io.plan import plan_labels
from bigseg.io.volume import Volume
from bigseg.plans.lattice import computed_along
from bigseg.plans.steps import Step
from bigseg.stages import (
    background,
    label,
    merge,
    normalize,
    predict,
    pyramid,
    supervoxels,
    windows,
    write,
)
from bigseg.stages.opinions import Opinions

Spans = list[tuple[int, int]]
"""First voxel and last + 1 of each block, along one axis."""
Boxes = tuple[Spans, ...]
"""Along t, z, y, x: blocks are the product."""


@dataclass(frozen=True)
class Store:
    """An array that steps read or write."""

    name: str
    shape: Index
    """(t, z, y, x)."""
    chunk: Index
    """Smallest piece that is read."""
    unit: Index
    """One stored object, of one or more chunks."""
    voxel_bytes: int
    """Before compression, all channels that are wanted together."""
    copies: int = 1
    """Objects side by side, where channels are stored apart."""

    @property
    def raw(self) -> int:
        """Bytes before compression."""
        return prod(self.shape) * self.voxel_bytes


@dataclass(frozen=True)
class Traffic:
    """What is read from a store, or written to it."""

    store: str
    requests: int
    raw: int
    """Bytes of the pieces that are touched, before compression."""


@dataclass(frozen=True)
class Load:
    """What a step does, in numbers."""

    name: str
    stage: str
    blocks: int
    block: Index
    work: float
    """What its time follows: pixels of the network, voxels with halo, or voxels."""
    reads: tuple[Traffic, ...] = ()
    writes: tuple[Traffic, ...] = ()
    seen: int = 0
    """Voxels where objects may stand that a block has a row about, all blocks together."""


@dataclass(frozen=True)
class Share:
    """Part of the blocks that have something to do, where a region leaves some out."""

    predicted: float = 1.0
    labelled: float = 1.0
    shown: predict.Spec | None = None
    """Where predictions come from."""


def loads_of(steps: Sequence[Step], predicted: float = 1.0, labelled: float = 1.0) -> list[Load]:
    """What each step of a run does.

    Parameters
    ----------
    steps
        As planned.
    predicted, labelled
        Share of the blocks of `predict` and `label` that are not skipped.
    """
    shown = [step.spec for step in steps if isinstance(step.spec, predict.Spec)]
    share = Share(predicted, labelled, shown[0] if shown else None)
    return [_load(step, share) for step in steps]


def image_store(volume: Volume, channels: tuple[int, ...]) -> Store:
    """Channels of one level of an image, as a store."""
    t, _, z, y, x = volume.shape
    by = dict(zip(volume.axes, volume.level.chunks, strict=True))
    chunk = tuple(by.get(axis, 1) for axis in "tzyx")
    deep = by.get("c", 1)
    copies = len({channel // deep for channel in channels})
    each = volume.dtype.itemsize * (deep * copies)
    return Store("image", (t, z, y, x), chunk, volume.unit, each, copies)


def predictions_store(spec: predict.Spec) -> Store:
    """Maps of the network."""
    _, _, *chunk = predict.chunks(spec)
    each = spec.maps * spec.dtype.itemsize
    edges = (1, *chunk)
    return Store("predictions", spec.shape, edges, edges, each)


def labels_stores(image: Image, written: write.Spec) -> list[Store]:
    """Levels of the label image."""
    z, y, x = written.opinions.block[1:]
    plan = plan_labels(image, written.target, "uint32", (z, y, x), level=written.level)
    stores = []
    for number in range(len(plan.levels)):
        volume = Volume(plan, number)
        t, _, *space = volume.shape
        by = dict(zip(volume.axes, volume.level.chunks, strict=True))
        chunk = tuple(by.get(axis, 1) for axis in "tzyx")
        stores.append(Store(f"labels {number}", (t, *space), chunk, volume.unit, 4))
    return stores


def boxes_of(grid: Grid, *, halo: Index | None = None) -> Boxes:
    """What blocks write, or, with a halo, read."""
    margin = halo or (0,) * len(grid.shape)
    found = []
    for length, edge, extra, count in zip(grid.shape, grid.block, margin, grid.counts, strict=True):
        found.append(
            [
                (max(i * edge - extra, 0), min(min((i + 1) * edge, length) + extra, length))
                for i in range(count)
            ]
        )
    return tuple(found)


def voxels(boxes: Boxes) -> int:
    """Voxels of all boxes together; what two of them share counts twice."""
    return prod(sum(stop - start for start, stop in spans) for spans in boxes)


def traffic(store: Store, boxes: Boxes, share: float = 1.0) -> Traffic:
    """Objects and bytes of a store that boxes touch."""
    objects = _touched(boxes, store.unit) * store.copies
    pieces = objects
    if store.chunk != store.unit:  # an index for each object, then the pieces that are wanted
        pieces = _touched(boxes, store.chunk) * store.copies
        objects += pieces - _whole(boxes, store) * store.copies
    raw = store.voxel_bytes
    for spans, edge, length in zip(boxes, store.chunk, store.shape, strict=True):
        raw *= sum(_covered(span, edge, length) for span in spans)
    return Traffic(store.name, ceil(objects * share), ceil(raw * share))


def _touched(boxes: Boxes, unit: Index) -> int:
    return prod(
        sum((stop - 1) // edge - start // edge + 1 for start, stop in spans)
        for spans, edge in zip(boxes, unit, strict=True)
    )


def _whole(boxes: Boxes, store: Store) -> int:
    """Pieces of objects that are wanted whole, which take a single request."""
    inner = [ceil(u / c) for u, c in zip(store.unit, store.chunk, strict=True)]
    whole = prod(
        sum(_full(span, edge, length) for span in spans)
        for spans, edge, length in zip(boxes, store.unit, store.shape, strict=True)
    )
    return whole * prod(inner)


def _full(span: tuple[int, int], edge: int, length: int) -> int:
    """Objects that lie wholly in an interval, along one axis."""
    start, stop = span
    last = ceil(stop / edge) if stop == length else stop // edge
    return max(last - ceil(start / edge), 0)


def _covered(span: tuple[int, int], edge: int, length: int) -> int:
    """Voxels of the chunks that an interval touches, along one axis."""
    start, stop = span
    return min(ceil(stop / edge) * edge, length) - start // edge * edge


def _load(step: Step, share: Share) -> Load:
    spec = step.spec
    for kind, count in COUNTS:
        if isinstance(spec, kind):
            work, reads, writes = count(spec, share)
            break
    else:
        work, reads, writes = 0.0, (), ()
    grid = spec.grid
    seen = _seen(spec) if isinstance(spec, Opinions) else 0
    return Load(step.name, step.stage, len(grid), grid.block, work, reads, writes, seen)


def _seen(spec: Opinions) -> int:
    """Voxels of what blocks have an opinion about, and half an object around it."""
    reach = [0.0] * 4
    if isinstance(spec, label.Spec):
        reach[1:] = [spec.diameter / 2 / length for length in spec.spacing]
    halo = tuple(
        ceil(band + (more if band else 0)) for band, more in zip(spec.band, reach, strict=True)
    )
    return voxels(boxes_of(spec.grid, halo=halo))


Counted = tuple[float, tuple[Traffic, ...], tuple[Traffic, ...]]


def _volume(spec: predict.Spec | normalize.Spec | windows.Spec | background.Spec) -> Store:
    return image_store(Volume.open(spec.image, spec.level), spec.channels)


def _counting(spec: normalize.Spec | windows.Spec, share: Share) -> Counted:
    reach = spec.sight.filters.reach
    boxes = boxes_of(spec.grid, halo=(0, 0, reach, reach))
    return float(voxels(boxes)), (traffic(_volume(spec), boxes),), ()


def _background(spec: background.Spec, share: Share) -> Counted:
    boxes = boxes_of(spec.grid)
    return float(voxels(boxes)), (traffic(_volume(spec), boxes),), ()


def _predict(spec: predict.Spec, share: Share) -> Counted:
    image, maps = _volume(spec), predictions_store(spec)
    boxes = boxes_of(spec.grid, halo=spec.halo)
    reads = (traffic(image, boxes, share.predicted),)
    writes = (traffic(maps, boxes_of(spec.grid), share.predicted),)
    return network_pixels(spec) * share.predicted, reads, writes


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


def _labelling(spec: label.Spec, share: Share) -> Counted:
    boxes = boxes_of(spec.grid, halo=spec.halo)
    if spec.function is not None:
        reads = traffic(_volume(spec.function), boxes, share.labelled)
    elif share.shown is not None:
        reads = traffic(predictions_store(share.shown), boxes, share.labelled)
    else:  # a part of a run
        reads = Traffic("predictions", 0, 0)
    return voxels(boxes) * share.labelled, (reads,), (_opinions_written(spec, share.labelled),)


def _pieces(spec: supervoxels.Spec, share: Share) -> Counted:
    boxes = boxes_of(spec.grid, halo=spec.halo)
    volume = Volume.open(spec.maps.image, spec.maps.level)
    reads = traffic(image_store(volume, spec.maps.channels), boxes)
    return float(voxels(boxes)), (reads,), (_opinions_written(spec, 1.0),)


def opinion_pieces(spec: Opinions) -> Index:
    """Pieces in which the opinion of a block is stored, (z, y, x)."""
    largest = (
        min(b + 2 * margin, n)
        for b, margin, n in zip(spec.block[1:], spec.band[1:], spec.shape[1:], strict=True)
    )
    return tuple(min(n, 1024 if spec.ndim == 2 else 128) for n in largest)


def _opinions_written(spec: Opinions, share: float) -> Traffic:
    kept = boxes_of(spec.grid, halo=spec.band)
    pieces = (1, *opinion_pieces(spec))
    count = prod(
        sum(ceil((stop - start) / edge) for start, stop in spans)
        for spans, edge in zip(kept, pieces, strict=True)
    )
    return Traffic("opinions", ceil(count * share), ceil(4 * voxels(kept) * share))


def _merging(spec: merge.Spec, share: Share) -> Counted:
    """Both opinions about every zone that two blocks have in common."""
    opinions = spec.opinions
    kept, pieces = boxes_of(opinions.grid, halo=opinions.band), opinion_pieces(opinions)
    work = requests = raw = 0
    for step in _neighbours(opinions.ndim):
        pairs = [
            list(_zones(spans, s)) for spans, s in zip(kept[1:], step, strict=True)
        ]  # of each axis
        frames = len(kept[0])
        zone = prod(sum(b - a for _, _, a, b in axis) for axis in pairs) * frames
        work += zone
        for side in (0, 1):
            touched = [
                [_inner(pair[:2][side], pair[2], pair[3], edge) for pair in axis]
                for axis, edge in zip(pairs, pieces, strict=True)
            ]
            requests += prod(sum(n for n, _ in axis) for axis in touched) * frames
            raw += 4 * prod(sum(v for _, v in axis) for axis in touched) * frames
    read = Traffic("opinions", ceil(requests * share.labelled), ceil(raw * share.labelled))
    return work * share.labelled, (read, *_flows_at_faces(spec, share)), ()


def _flows_at_faces(spec: merge.Spec, share: Share) -> tuple[Traffic, ...]:
    """Predictions of the two layers at every face, if flows are compared there."""
    if spec.flows is None or share.shown is None:
        return ()
    store, own = predictions_store(share.shown), boxes_of(spec.grid)
    requests = raw = 0
    for axis in (2, 3) if spec.opinions.ndim == 2 else (1, 2, 3):
        layers = list(own)
        layers[axis] = [(stop - 1, stop + 1) for _, stop in own[axis][:-1]]
        if layers[axis]:
            found = traffic(store, tuple(layers), share.labelled)
            requests, raw = requests + found.requests, raw + found.raw
    return (Traffic(store.name, requests, raw),)


def _neighbours(ndim: int) -> Iterator[Index]:
    """Steps to the later neighbours of a block, (z, y, x)."""
    axes = ((0,) if ndim == 2 else (-1, 0, 1), (-1, 0, 1), (-1, 0, 1))
    return (step for step in product(*axes) if step > (0, 0, 0))


def _zones(spans: Spans, step: int) -> Iterator[tuple[tuple[int, int], tuple[int, int], int, int]]:
    """Boxes of a block and its neighbour, along one axis, and what they have in common."""
    for number, ours in enumerate(spans):
        if 0 <= number + step < len(spans):
            theirs = spans[number + step]
            yield ours, theirs, max(ours[0], theirs[0]), min(ours[1], theirs[1])


def _inner(box: tuple[int, int], start: int, stop: int, edge: int) -> tuple[int, int]:
    """Pieces of a row that an interval touches, and their voxels."""
    first, last = (start - box[0]) // edge, (stop - 1 - box[0]) // edge
    length = min((last + 1) * edge, box[1] - box[0]) - first * edge
    return last - first + 1, length


def _writing(spec: write.Spec, share: Share) -> Counted:
    opinions = spec.opinions
    grid, pieces = opinions.grid, (1, *opinion_pieces(opinions))
    kept, own = boxes_of(grid, halo=opinions.band), boxes_of(grid)
    within = [
        [_inner(k, o[0], o[1], edge) for k, o in zip(a, b, strict=True)]
        for a, b, edge in zip(kept, own, pieces, strict=True)
    ]
    requests = prod(sum(n for n, _ in axis) for axis in within)
    raw = 4 * prod(sum(v for _, v in axis) for axis in within)
    reads = Traffic("opinions", ceil(requests * share.labelled), ceil(raw * share.labelled))
    written = Traffic("labels 0", ceil(len(grid) * share.labelled), 4 * prod(spec.opinions.shape))
    return float(voxels(own)), (reads,), (written,)


def _coarser(spec: pyramid.Spec, share: Share) -> Counted:
    factors = spec.factors
    finer = tuple(
        [(a * f, min(b * f, n)) for a, b in spans]
        for spans, f, n in zip(boxes_of(spec.grid), factors, spec.finer, strict=True)
    )
    assert isinstance(spec.write, write.Spec)  # tiles and tracks are not forecast
    stores = labels_stores(Volume.open(spec.write.image, spec.write.level).image, spec.write)
    reads = traffic(stores[spec.number - 1], finer)
    written = Traffic(f"labels {spec.number}", len(spec.grid), 4 * prod(spec.shape))
    return float(prod(spec.finer)), (reads,), (written,)


COUNTS: tuple[tuple[type, Callable[..., Counted]], ...] = (
    (normalize.Spec, _counting),
    (windows.Spec, _counting),
    (background.Spec, _background),
    (predict.Spec, _predict),
    (label.Spec, _labelling),
    (supervoxels.Spec, _pieces),
    (merge.Spec, _merging),
    (write.Spec, _writing),
    (pyramid.Spec, _coarser),
)
"""How each kind of step is counted; the others look at tables, which are small."""
