"""Steps between the predictions and the label image: what blocks say, and what becomes of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import product
from math import ceil, prod
from sys import maxsize

from bigseg.grid import Index
from bigseg.io.ome import Image
from bigseg.io.plan import plan_labels
from bigseg.io.series import Series
from bigseg.io.volume import Volume
from bigseg.plans.counts.images import image_store, level_store, parents, shown
from bigseg.plans.counts.traffic import (
    Boxes,
    Counted,
    Share,
    Spans,
    Store,
    Traffic,
    boxes_of,
    traffic,
    voxels,
)
from bigseg.stages import (
    detect,
    label,
    merge,
    pyramid,
    regions,
    stack,
    supervoxels,
    write,
    write_slices,
    write_tiles,
    write_tracks,
)
from bigseg.stages.opinions import Opinions

Touched = list[tuple[int, int]]
"""Pieces of stored objects that each of some intervals touches, and their voxels, along an axis."""


def labelling(spec: label.Spec, share: Share) -> Counted:
    """Predictions, or the image itself, become the labels of blocks."""
    boxes = boxes_of(spec.grid, halo=spec.halo)
    if spec.function is not None:
        reads = traffic(shown(spec.function), boxes, share.labelled)
    elif share.predictions is not None:
        reads = traffic(share.predictions, boxes, share.labelled)
    else:  # a part of a run
        reads = Traffic("predictions", 0, 0)
    written = _opinions_written(spec, share.labelled)
    return Counted(voxels(boxes) * share.labelled, (reads,), (written,))


def flooding(spec: supervoxels.Spec, share: Share) -> Counted:
    """Maps become pieces."""
    boxes = boxes_of(spec.grid, halo=spec.halo)
    return Counted(
        float(voxels(boxes)), (traffic(_maps(spec), boxes),), (_opinions_written(spec, 1.0),)
    )


def touching(spec: regions.Spec, share: Share) -> Counted:
    """Pieces and maps of a block, and as much of the next ones as contacts reach."""
    pieces, reach = spec.pieces, regions.reach(spec.pieces)
    boxes = boxes_of(spec.grid, halo=reach)
    own, edges = boxes_of(spec.grid), opinion_pieces(pieces)
    requests = raw = 0
    for step in (0, 0, 0), *_neighbours(pieces.ndim):
        touched = [
            list(_reached(spans, wide, s, edge))
            for spans, wide, s, edge in zip(own[1:], boxes[1:], step, edges, strict=True)
        ]
        requests += _requests(touched) * len(own[0])
        raw += 4 * _voxels(touched) * len(own[0])
    reads = Traffic("opinions", requests, raw), traffic(_maps(pieces), boxes)
    return Counted(float(voxels(boxes)), reads)


def _reached(own: Spans, wide: Spans, step: int, edge: int) -> Iterator[tuple[int, int]]:
    """Pieces of a neighbour's own box that a block's wider one touches, along one axis."""
    for number, (start, stop) in enumerate(wide):
        if 0 <= number + step < len(own):
            theirs = own[number + step]
            yield _inner(theirs, max(start, theirs[0]), min(stop, theirs[1]), edge)


def merging(spec: merge.Spec, share: Share) -> Counted:
    """Both opinions about every zone that two blocks have in common."""
    opinions = spec.opinions
    kept, pieces = boxes_of(opinions.grid, halo=opinions.band), opinion_pieces(opinions)
    work = requests = raw = 0
    for step in _neighbours(opinions.ndim):
        pairs = [list(_zones(spans, s)) for spans, s in zip(kept[1:], step, strict=True)]
        frames = len(kept[0])
        work += frames * prod(sum(b - a for _, _, a, b in axis) for axis in pairs)
        for side in (0, 1):
            touched = [
                [_inner(pair[:2][side], pair[2], pair[3], edge) for pair in axis]
                for axis, edge in zip(pairs, pieces, strict=True)
            ]
            requests += _requests(touched) * frames
            raw += 4 * _voxels(touched) * frames
    read = Traffic("opinions", ceil(requests * share.labelled), ceil(raw * share.labelled))
    return Counted(work * share.labelled, (read, *_flows_at_faces(spec, share)))


def writing(spec: write.Spec, share: Share) -> Counted:
    """What blocks say of their own voxels becomes the label image."""
    opinions = spec.opinions
    own = boxes_of(opinions.grid)
    read = _opinions_read(opinions, own, share.labelled)
    written = traffic(level_store(labels_of(spec), 0, "labels"), own, share.labelled)
    return Counted(float(voxels(own)), (read,), (written,))


def stacking(spec: stack.Spec, share: Share) -> Counted:
    """Labels of own planes, and of those within reach above."""
    t, z, y, x = boxes_of(spec.grid)
    above = [(a, min(b + spec.reach, spec.flat.shape[1])) for a, b in z]
    boxes = t, above, y, x
    return Counted(float(voxels(boxes)), (_opinions_read(spec.flat, boxes),))


def filling(spec: write_slices.Spec, share: Share) -> Counted:
    """The label image of a volume; what is read again around its gaps is not known before."""
    own = boxes_of(spec.grid)
    written = traffic(level_store(labels_of(spec.written), 0, "labels"), own)
    return Counted(float(voxels(own)), (_opinions_read(spec.flat, own),), (written,))


def shrinking(spec: pyramid.Spec, share: Share) -> Counted:
    """A coarser level of a label image."""
    plan, name = _shrunk(spec.write, share)
    own = boxes_of(spec.grid)
    finer = traffic(level_store(plan, spec.number - 1, name), parents(own, spec.finer, spec.shape))
    coarse = traffic(level_store(plan, spec.number, name), own)
    return Counted(float(prod(spec.finer)), (finer,), (coarse,))


def _shrunk(
    written: write.Spec | write_tiles.Spec | write_tracks.Spec, share: Share
) -> tuple[Image, str]:
    """Label image whose levels are made, and what it is called here."""
    if isinstance(written, write_tiles.Spec):
        return write_tiles.planned_image(written, 1), "labels"
    if isinstance(written, write_tracks.Spec):
        return write_tracks.planned_image(written, 1, series(written.found, share)), "tracks"
    return labels_of(written), "labels"


def labels_of(written: write.Spec) -> Image:
    """Label image of a run."""
    z, y, x = written.opinions.block[1:]
    image = Volume.open(written.image, written.level).image
    return plan_labels(image, written.target, "uint32", (z, y, x), level=written.level)


def series(found: detect.Spec, share: Share, source: int = 0) -> Series:
    """Labels that are tracked, which the run itself may have to make."""
    one = found.sources[source]
    made = share.made.get(one.labels) if one.made else None
    if made is None:
        return detect.series_of(found, source)
    return Series(one.labels, (), found.shape, one.unit, found.spacing, made.units, made)


def _maps(spec: supervoxels.Spec) -> Store:
    return image_store(Volume.open(spec.maps.image, spec.maps.level), spec.maps.channels)


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


def _opinions_read(spec: Opinions, wanted: Boxes, share: float = 1.0) -> Traffic:
    """Parts of the opinions of blocks about their own voxels that boxes need."""
    kept, own = boxes_of(spec.grid, halo=spec.band), boxes_of(spec.grid)
    pieces = (1, *opinion_pieces(spec))
    touched: list[Touched] = []
    for seen, ours, spans, edge in zip(kept, own, wanted, pieces, strict=True):
        found = []
        for start, stop in spans:
            first = bisect_right(ours, (start, maxsize)) - 1
            for box, (a, b) in zip(seen[first:], ours[first:], strict=True):
                if a >= stop:
                    break
                found.append(_inner(box, max(a, start), min(b, stop), edge))
        touched.append(found)
    return Traffic("opinions", ceil(_requests(touched) * share), ceil(4 * _voxels(touched) * share))


def _requests(touched: Sequence[Touched]) -> int:
    return prod(sum(count for count, _ in axis) for axis in touched)


def _voxels(touched: Sequence[Touched]) -> int:
    return prod(sum(length for _, length in axis) for axis in touched)


def _flows_at_faces(spec: merge.Spec, share: Share) -> tuple[Traffic, ...]:
    """Predictions of the two layers at every face, if flows are compared there."""
    if spec.flows is None or share.predictions is None:
        return ()
    store, own = share.predictions, boxes_of(spec.grid)
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
