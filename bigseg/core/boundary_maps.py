"""Maps of boundaries and of affinities, from whatever network, as eight bits.

Everything that is counted of a map is then an integer, so it adds up exactly over blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.errors import ImageError
from bigseg.types import Floats

Eight = NDArray[np.uint8]
"""0: surely inside an object; 255: surely a boundary."""
Offset = tuple[int, int, int]
"""Voxels (z, y, x) from a voxel to the one that an affinity is about."""

DIRECT: tuple[Offset, ...] = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))
"""Offsets of affinities between direct neighbours, in the order that most networks have."""
_SLACK = 1e-3
"""How far beyond 0 and 1 a network that interpolates may be."""


def eight_bits(values: NDArray[Any]) -> Eight:
    """Probabilities as eight bits: uint8 as it is, floats from 0..1.

    Parameters
    ----------
    values
        Any shape; uint8, 0 to 255, or floats, 0 to 1.

    Raises
    ------
    ImageError
        Another type, or a value that is no probability.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "f":
        raise ImageError(
            f"the maps hold {values.dtype}; probabilities are uint8, 0 to 255, or floats, 0 to 1: "
            "convert them."
        )
    low, high = (float(f(initial=0)) for f in (values.min, values.max))
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        raise ImageError(
            f"the maps hold values from {low:.6g} to {high:.6g}; floats must be probabilities, "
            "0 to 1 and not nan: divide, or pass them through a sigmoid."
        )
    scaled = np.rint(np.asarray(values, np.float32) * 255)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def boundary_of_affinities(affinities: Eight, offsets: Sequence[Offset]) -> Floats:
    """Probability that a voxel is boundary: 1 minus its mean affinity to direct neighbours.

    Each affinity counts for both of its voxels, so that boundaries lie between objects and not in
    one of them.

    Parameters
    ----------
    affinities : (k, z, y, x)
        255: surely one object.
    offsets
        Of each channel; those that are no direct neighbours count only where there are no others.

    Returns
    -------
    (z, y, x) float32
    """
    direct = [k for k, offset in enumerate(offsets) if sum(map(abs, offset)) == 1]
    chosen = direct or range(len(offsets))
    total = np.zeros(affinities.shape[1:], np.float32)
    for k in chosen:
        total += affinities[k]
        total += _at_other_end(affinities[k], offsets[k])
    return np.asarray(1 - total / (2 * 255 * len(chosen)), np.float32)


def _at_other_end(affinity: Eight, offset: Offset) -> Eight:
    """What the voxel at minus the offset says; one's own where there is none."""
    moved = affinity.copy()
    here, there = [], []
    for step, n in zip(offset, affinity.shape, strict=True):
        here.append(slice(max(step, 0), n + min(step, 0)))
        there.append(slice(max(-step, 0), n - max(step, 0)))
    moved[tuple(here)] = affinity[tuple(there)]
    return moved
