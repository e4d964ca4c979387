"""Pieces so small that each is likely to be of one object: watersheds of maps, block by block.

The watershed floods from the inmost voxels between boundaries. A seed depends on what is within
`reach` of it, and no normalisation looks at the whole block, so two blocks that both see a seed
with its surroundings agree on it to the voxel: it is named by where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from bioimage_cpp.segmentation import mutex_watershed
from numpy.typing import NDArray
from scipy import ndimage

from bigseg.core.boundary_maps import Offset, boundary_of_affinities
from bigseg.core.flood import flood
from bigseg.core.instances import compact
from bigseg.errors import ImageError
from bigseg.types import Floats

Seeds = NDArray[np.int64]
"""(n,) flat index of a voxel of each region's seed; -1: it has none."""
_DEPTH = 0.2
"""Share of depth in what is flooded; the rest is the boundary itself. Where there is none to see,
floods then meet half-way."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How pieces grow."""

    threshold: float = 0.5
    """Probability from which a voxel is boundary."""
    sigma: float = 1.0
    """Of the Gaussian that smooths depth and boundary, voxels."""
    min_size: int = 50
    """Smaller pieces are shared out among their neighbours, voxels."""
    slices: bool = False
    """Whether pieces are of one plane, for planes far apart."""
    reach: float = 16.0
    """Depth beyond which all is equally deep, in voxels along x."""
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Voxel lengths along z, y, x, in those of x."""


def watershed_pieces(boundary: Floats, growth: Growth) -> tuple[NDArray[np.uint32], Seeds]:
    """Distance-transform watershed (Beier et al., 2017, doi:10.1038/nmeth.4151).

    Parameters
    ----------
    boundary : (z, y, x) float32
        Probability of a boundary, 0 to 1.
    growth
        How pieces grow.

    Returns
    -------
    labels : (z, y, x) uint32
        1 to n; 0 only where all is boundary.
    seeds : (n,) int64
        First voxel of each piece's seed, in C order.
    """
    parts = boundary[:, None] if growth.slices else boundary[None]
    labels = np.zeros(boundary.shape, np.uint32)
    rows = labels[:, None] if growth.slices else labels[None]
    seeds: list[Seeds] = []
    count = 0
    for number, part in enumerate(parts):
        found, at = _flooded(part, growth)
        found[found > 0] += np.uint32(count)
        rows[number] = found
        seeds.append(at + number * part.size)
        count += len(at)
    return labels, np.concatenate(seeds) if seeds else np.zeros(0, np.int64)


def mutex_pieces(
    affinities: NDArray[np.uint8], offsets: Sequence[Offset], growth: Growth
) -> tuple[NDArray[np.uint32], Seeds]:
    """Mutex watershed (Wolf et al., 2018, doi:10.1007/978-3-030-01225-0_34) of affinities.

    Parameters
    ----------
    affinities : (k, z, y, x) uint8
        255: surely one object.
    offsets
        Of each channel. Those of direct neighbours attract, the others repel.
    growth
        Only `min_size` and `slices` matter; in slices, offsets along z are left out.

    Returns
    -------
    labels : (z, y, x) uint32
        1 to n.
    seeds : (n,) int64
        All -1: these pieces have no seeds.

    Raises
    ------
    ImageError
        No offset is a direct neighbour's, or none is longer.
    """
    used = [k for k, offset in enumerate(offsets) if not (growth.slices and offset[0])]
    near = [k for k in used if sum(map(abs, offsets[k])) == 1]
    far = [k for k in used if k not in near]
    if not near or not far:
        raise ImageError(
            f"a mutex watershed needs affinities of direct neighbours and of farther ones, and the "
            f"offsets are {[tuple(o) for o in offsets]}; use the method watershed, or give the "
            "offsets of all channels."
        )
    parts = np.moveaxis(affinities, 1, 0)[:, :, None] if growth.slices else affinities[None]
    labels = np.zeros(affinities.shape[1:], np.uint32)
    rows = labels[:, None] if growth.slices else labels[None]
    steps = [offsets[k] for k in near + far]
    count = 0
    for number, part in enumerate(parts):
        found = _mutex(part[near + far], steps, len(near), growth.min_size)
        most = int(found.max(initial=0))
        rows[number] = np.where(found > 0, found + np.uint32(count), 0)
        count += most
    return labels, np.full(count, -1, np.int64)


def _mutex(
    affinities: NDArray[np.uint8], offsets: Sequence[Offset], near: int, min_size: int
) -> NDArray[np.uint32]:
    values = affinities.astype(np.float32) / np.float32(255)
    # Attraction is strong where affinities are, repulsion where they are not.
    values[near:] = 1 - values[near:]
    found = mutex_watershed(values, [tuple(o) for o in offsets], near).astype(np.uint32)
    height = boundary_of_affinities(affinities[:near], offsets[:near])
    return compact(_without_small(found, height, min_size))[0]


def _flooded(boundary: Floats, growth: Growth) -> tuple[NDArray[np.uint32], Seeds]:
    """Pieces of one volume, or of a plane of a single z."""
    inside = boundary < growth.threshold
    if inside.all():
        depth = np.full(boundary.shape, growth.reach, np.float32)
    else:
        depth = ndimage.distance_transform_edt(inside, sampling=growth.spacing)
        depth = np.minimum(depth, growth.reach).astype(np.float32)
    depth = _smooth(depth, growth)
    summits = (depth == ndimage.maximum_filter(depth, size=_window(boundary.shape))) & inside
    seeds = _labelled(summits)
    height = (1 - _DEPTH) * _smooth(boundary, growth) + _DEPTH * (1 - depth / growth.reach)
    labels = _without_small(flood(height, seeds), height, growth.min_size)
    labels, former = compact(labels)
    first = np.full(int(seeds.max(initial=0)) + 1, -1, np.int64)
    places = np.flatnonzero(seeds)[::-1]
    first[seeds.reshape(-1)[places]] = places
    return labels, first[former]


def _window(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple(min(n, 3) for n in shape)


def _smooth(values: Floats, growth: Growth) -> Floats:
    """Gaussian of so many voxels along x, and as long along the other axes."""
    sigma = [
        growth.sigma / length if n > 1 else 0.0
        for n, length in zip(values.shape, growth.spacing, strict=True)
    ]
    return np.asarray(ndimage.gaussian_filter(values, sigma, truncate=3.0), np.float32)


def _labelled(mask: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Connected voxels, over corners as well."""
    return np.asarray(ndimage.label(mask, np.ones((3, 3, 3)))[0], np.uint32)


def _without_small(labels: NDArray[np.uint32], height: Floats, min_size: int) -> NDArray[np.uint32]:
    """Flood the places of small pieces from the others."""
    voxels = np.bincount(labels.reshape(-1))
    small = voxels < min_size
    if not small[1:].any() or small[1:].all():
        return labels
    return flood(height, np.where(small[labels], np.uint32(0), labels))
