"""What each kind of step holds of a block in memory, bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any

import numpy as np

from bigseg import files
from bigseg.grid import Index, size
from bigseg.io.pyramid import PARENT
from bigseg.io.volume import Volume
from bigseg.nets import weights
from bigseg.nets.functions import is_function
from bigseg.stages import (
    background,
    detect,
    image_pyramid,
    label,
    merge,
    normalize,
    overlap,
    predict,
    pyramid,
    regions,
    restore,
    stack,
    supervoxels,
    windows,
    write,
    write_slices,
    write_tiles,
    write_tracks,
)
from bigseg.types import StageSpec

SMALL = 30_000_000
"""Bytes of the weights of a small network."""
ACTIVATIONS, CALL = 640, 3 << 16
"""Bytes that a small network holds of each pixel, and pixels that it is shown at once."""
HISTOGRAM = 4 << 20
"""Bytes of a histogram of a channel, and of what it is added up from."""


PER_VOXEL, PER_MAP = 64, 36
"""Bytes for each voxel of a block with its halo: of a watershed, and of each channel of a mutex
watershed besides."""
KEYS = 40
"""Bytes for each voxel whose contacts are counted."""
NETWORK, PER_PIXEL = 350_000_000, 48
"""Bytes of a restoring network of the published width at work on a tile; and for each pixel of a
plane at work: resized, framed, blended, and as doubles."""
LABELS, SORTED, LOOKED_UP = 12, 64, 32
"""Bytes for each voxel of planes that are read with final ids; of pairs of voxels above each other
that are counted; and of planes whose ids are replaced by those of the volume."""
PUT_TOGETHER = 40
"""Bytes for each voxel of a block that is put together from tiles."""


def block_bytes(spec: StageSpec) -> int:
    """What a worker holds of a block of a step, beyond the process."""
    for kind, reckon in RECKONED:
        if isinstance(spec, kind):
            return int(reckon(spec))
    return 0


def _read_shape(block: Index, halo: Index, shape: Index) -> list[int]:
    return [min(b + 2 * h, n) for b, h, n in zip(block, halo, shape, strict=True)][1:]


def _predict_bytes(spec: predict.Spec) -> int:
    """Weights, normalised image, fields at the network's scale and the image's, packed result."""
    read = _read_shape(spec.block, spec.halo, spec.shape)
    scaled = [ceil(n * s) for n, s in zip(read, spec.scale, strict=True)]
    channels, outputs = len(spec.channels), spec.maps
    images = (2 * prod(read) + prod(scaled)) * 4 * channels
    fields = (prod(scaled) + prod(spec.block)) * 4 * outputs
    packed = prod(spec.block) * outputs * spec.dtype.itemsize
    at_once = min(prod(scaled), max(spec.tile**2, CALL)) * ACTIVATIONS
    return _weights_bytes(spec.models) + images + fields + packed + at_once


def _weights_bytes(models: Sequence[str]) -> int:
    """Networks as they are read, in single precision, beyond what `PROCESS` holds already."""
    files_of = [weights.locate(model) for model in models if not is_function(model)]
    return max(sum(files.size(url) for url in files_of) - SMALL, 0)


def _label_bytes(spec: label.Spec) -> int:
    """Packed and unpacked predictions, labels and their copies, walks of the foreground."""
    voxels = prod(_read_shape(spec.block, spec.halo, spec.shape))
    maps = (8 if spec.parity else 5) * (spec.ndim + 1)  # as they are, or in eight bits
    return voxels * (maps + 20)


def _counting_bytes(spec: normalize.Spec | windows.Spec) -> int:
    """Voxels, filtered ones if they are, and their sort keys; a histogram of each channel."""
    kept = 4 if isinstance(spec, windows.Spec) or not spec.sight.plain else 0
    width = np.dtype(spec.dtype).itemsize if isinstance(spec, normalize.Spec) else 8
    voxels = prod(_read_shape(spec.block, (0, 0, 0, 0), spec.shape)) * len(spec.channels)
    return voxels * (3 * width + kept) + len(spec.channels) * HISTOGRAM


def _background_bytes(spec: background.Spec) -> int:
    """A frame of the coarse level, in several precisions."""
    return prod(spec.shape[1:]) * (8 * len(spec.channels) + 24)


def _merge_bytes(spec: merge.Spec) -> int:
    """Both opinions about the zones of a block, and what they are made of."""
    own = spec.opinions
    sides = [min(b, n) for b, n in zip(own.block[1:], own.shape[1:], strict=True)]
    grown = [n + 2 * band for n, band in zip(sides, own.band[1:], strict=True)]
    return 24 * (prod(grown) - prod(sides))


def _write_bytes(spec: write.Spec) -> int:
    """Labels before and after, as they are read, relabelled and compressed."""
    own = spec.opinions
    return 20 * prod(min(b, n) for b, n in zip(own.block, own.shape, strict=True))


def _pyramid_bytes(spec: pyramid.Spec) -> int:
    """Labels of a piece of the finer level, and of the level that is made."""
    own = prod(min(b, n) for b, n in zip(spec.block, spec.shape, strict=True))
    return 12 * (own + min(own * prod(spec.factors), PARENT))


def _pyramid_bytes_of_image(spec: image_pyramid.Spec) -> int:
    """Voxels of a piece of the finer level, averaged in wider numbers, and of the level."""
    own = prod(min(b, n) for b, n in zip(spec.block, spec.shape, strict=True))
    return 12 * (own + min(8 * own, PARENT))


def _pieces_bytes(spec: supervoxels.Spec) -> int:
    """A block with its halo, flooded."""
    voxels = prod(_read_shape(spec.block, spec.halo, spec.shape))
    maps = len(spec.maps.channels)
    return voxels * (PER_VOXEL + (maps * PER_MAP if spec.method == "mutex-watershed" else 2 * maps))


def _regions_bytes(spec: regions.Spec) -> int:
    """Keys of pieces and maps, as they are and compared with themselves shifted."""
    pieces = spec.pieces
    voxels = prod(_read_shape(pieces.block, regions.reach(pieces), pieces.shape))
    return voxels * (KEYS + 2 * len(pieces.maps.channels))


def _restore_bytes(spec: restore.Spec) -> int:
    """The network, a block and the next one as stored, a channel before and after."""
    inner = spec.grid.block_at(tuple(count // 2 for count in spec.grid.counts)).write
    read, written = prod(size(restore.source_box(spec.plane, inner))), prod(size(inner))
    stored = Volume.open(spec.image, spec.level).dtype.itemsize
    kept = read * (2 * stored * len(spec.channels) + 4) + written * (4 + stored)
    return NETWORK + kept + prod(size(inner)[2:]) * PER_PIXEL


def _stack_bytes(spec: stack.Spec) -> int:
    """Labels of a slab and of the planes above it, and pairs of them as they are sorted."""
    planes = min(spec.depth + spec.reach, spec.flat.shape[1])
    wide = prod(min(b, n) for b, n in zip(spec.block[2:], spec.flat.shape[2:], strict=True))
    return planes * wide * LABELS + SORTED * wide * spec.reach


def _slices_bytes(spec: write_slices.Spec) -> int:
    """Labels of planes and of the volume, as they are looked up."""
    return LOOKED_UP * prod(min(b, n) for b, n in zip(spec.block, spec.flat.shape, strict=True))


def _detect_bytes(spec: detect.Spec) -> int:
    """Labels, the same numbered from 1, and what is measured of them."""
    voxels = prod(min(b, n) for b, n in zip(spec.block, spec.shape, strict=True))
    return 24 * voxels * len(spec.sources)


def _overlap_bytes(spec: overlap.Spec) -> int:
    """Labels of two frames, and the next two as they are read ahead."""
    return _detect_bytes(spec.found)


def _tracks_bytes(spec: write_tracks.Spec) -> int:
    """Labels as they are and numbered anew."""
    return _detect_bytes(spec.found)


def _tiles_bytes(spec: write_tiles.Spec) -> int:
    """A block that is put together."""
    return PUT_TOGETHER * prod(spec.block)


RECKONED: tuple[tuple[type, Callable[[Any], int]], ...] = (
    (normalize.Spec, _counting_bytes),
    (windows.Spec, _counting_bytes),
    (background.Spec, _background_bytes),
    (predict.Spec, _predict_bytes),
    (label.Spec, _label_bytes),
    (merge.Spec, _merge_bytes),
    (write.Spec, _write_bytes),
    (pyramid.Spec, _pyramid_bytes),
    (image_pyramid.Spec, _pyramid_bytes_of_image),
    (supervoxels.Spec, _pieces_bytes),
    (regions.Spec, _regions_bytes),
    (restore.Spec, _restore_bytes),
    (stack.Spec, _stack_bytes),
    (write_slices.Spec, _slices_bytes),
    (detect.Spec, _detect_bytes),
    (overlap.Spec, _overlap_bytes),
    (write_tracks.Spec, _tracks_bytes),
    (write_tiles.Spec, _tiles_bytes),
)
"""What each kind of step holds of a block; the others hold tables."""
