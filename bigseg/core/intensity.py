"""Percentiles of images that do not fit in memory, from histograms that add up.

Every value is mapped to an unsigned integer key of the same order. A first pass counts the upper
16 bits of the keys; where keys are wider (32-bit integers and floats), a second pass counts the
lower 16 bits within the few bins that hold the wanted ranks. Integers up to 32 bits and float32
are therefore exact; wider types are first rounded to float32, an error below 6e-8 of the value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import DTypeLike, NDArray

from bigseg.types import Floats

BINS = 1 << 16
NOTHING = 1e-30
"""A range up to this has no inverse in float32."""
Counts = NDArray[np.int64]
Keys = NDArray[np.unsignedinteger[Any]]


def is_exact_in_one_pass(dtype: DTypeLike) -> bool:
    """Whether the keys of a type fit in the 16 bits of one pass."""
    kind = np.dtype(dtype)
    return kind.kind in "bui" and kind.itemsize <= 2


def sort_keys(values: NDArray[Any]) -> Keys:
    """Map values to unsigned keys (uint16 or uint32) of the same order.

    NaN and infinities have no key and are left out, so the result is flat.
    """
    values = values.ravel()
    if is_exact_in_one_pass(values.dtype):
        offset = 0 if values.dtype.kind in "bu" else 1 << 15
        return (values.astype(np.int32) + offset).astype(np.uint16)
    if values.dtype.kind in "ui" and values.dtype.itemsize == 4:
        bits = values.astype(values.dtype.newbyteorder("="), copy=False).view(np.uint32)
        return bits if values.dtype.kind == "u" else bits ^ np.uint32(1 << 31)
    with np.errstate(over="ignore"):
        singles = values.astype(np.float32)
    bits = singles[np.isfinite(singles)].view(np.uint32)
    # Negative floats sort backwards as integers: flip all their bits, and the sign of the others.
    return bits ^ np.where(bits >> 31, np.uint32(0xFFFFFFFF), np.uint32(1 << 31))


def value_of(key: int, dtype: DTypeLike) -> float:
    """Invert `sort_keys` for one key of a type."""
    kind = np.dtype(dtype)
    if is_exact_in_one_pass(kind):
        return float(key - (0 if kind.kind in "bu" else 1 << 15))
    if kind.kind in "ui" and kind.itemsize == 4:
        return float(key - (0 if kind.kind == "u" else 1 << 31))
    bits = key ^ (1 << 31) if key >> 31 else key ^ 0xFFFFFFFF
    return float(np.array(bits, np.uint32).view(np.float32))


@njit(cache=True, nogil=True)
def _count_upper(keys: Keys, shift: int, counts: Counts) -> None:
    for key in keys:
        counts[key >> shift] += 1


@njit(cache=True, nogil=True)
def _count_lower(keys: Keys, row_of_bin: NDArray[np.int8], counts: Counts) -> None:
    for key in keys:
        row = row_of_bin[key >> 16]
        if row >= 0:
            counts[row, key & 0xFFFF] += 1


def histogram(keys: Keys) -> Counts:
    """Count keys by their upper 16 bits: (65536,)."""
    counts = np.zeros(BINS, np.int64)
    _count_upper(keys, 8 * keys.dtype.itemsize - 16, counts)
    return counts


def fine_histogram(keys: Keys, bins: Sequence[int]) -> Counts:
    """Count 32-bit keys by their lower 16 bits, within chosen bins: (len(bins), 65536)."""
    rows = np.full(BINS, -1, np.int8)
    rows[list(bins)] = np.arange(len(bins), dtype=np.int8)
    counts = np.zeros((len(bins), BINS), np.int64)
    _count_lower(keys, rows, counts)
    return counts


def wanted_ranks(total: int, percentiles: Sequence[float]) -> list[tuple[int, int, float]]:
    """Sorted positions around each percentile and the weight of the upper one.

    This is the linear interpolation that `numpy.percentile` does.
    """
    ranks = []
    for percentile in percentiles:
        position = (total - 1) * (percentile / 100)
        low = int(position)
        ranks.append((low, min(low + 1, total - 1), position - low))
    return ranks


def bin_of_rank(counts: Counts, rank: int) -> tuple[int, int]:
    """Bin that holds the value at a sorted position, and the position within the bin."""
    cumulative = np.cumsum(counts)
    found = int(np.searchsorted(cumulative, rank, side="right"))
    return found, int(rank - (cumulative[found - 1] if found else 0))


def wanted_bins(counts: Counts, percentiles: Sequence[float]) -> list[int]:
    """Upper bins that a second pass must look into."""
    ranks = wanted_ranks(int(counts.sum()), percentiles)
    return sorted({bin_of_rank(counts, rank)[0] for low, high, _ in ranks for rank in (low, high)})


def percentiles_of(
    counts: Counts,
    percentiles: Sequence[float],
    dtype: DTypeLike,
    fine: tuple[Sequence[int], Counts] | None = None,
) -> list[float]:
    """Percentiles of all counted values, as `numpy.percentile` gives them.

    Parameters
    ----------
    counts : (65536,) int64
        Histogram of the upper bits.
    percentiles
        Wanted percentiles, 0 to 100.
    dtype
        Type of the values that were counted.
    fine
        Bins and counts of `fine_histogram`; needed for types wider than 16 bits.
    """

    def value(rank: int) -> float:
        upper, rest = bin_of_rank(counts, rank)
        if fine is None:
            return value_of(upper, dtype)
        bins, lower_counts = fine
        lower, _ = bin_of_rank(lower_counts[list(bins).index(upper)], rest)
        return value_of(upper << 16 | lower, dtype)

    return [
        _between(value(low), value(high), weight)
        for low, high, weight in wanted_ranks(int(counts.sum()), percentiles)
    ]


def _between(low: float, high: float, weight: float) -> float:
    """Interpolate as numpy does, to the last bit."""
    if weight >= 0.5:
        return high - (high - low) * (1 - weight)
    return low + (high - low) * weight


def rescale(values: NDArray[Any], low: float, high: float) -> Floats:
    """Map `low` to 0 and `high` to 1 without clipping; NaN and infinities become 0.

    A range of nothing gives 0 everywhere. Cellpose does so below 1e-3, whatever the unit; images
    of fluxes or reflectances would come out empty.
    """
    if high - low <= NOTHING:
        return np.zeros(values.shape, np.float32)
    wide = values.dtype.kind in "ui" and values.dtype.itemsize > 2
    # Large integers are not held by float32; their distance from `low` is.
    scaled = (values - np.float64(low)).astype(np.float32) if wide else values.astype(np.float32)
    if not wide:
        scaled -= np.float32(low)
    scaled *= np.float32(1 / (high - low))
    if values.dtype.kind == "f":
        np.nan_to_num(scaled, copy=False, nan=0, posinf=0, neginf=0)
    return scaled
