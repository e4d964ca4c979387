"""Small pieces of an assignment, solved by trying: what a linear program has to be built for else.

A piece is moves and divisions that share ends. Ways in are decided one after the other, each by its
best candidate first; what the ways that are left could gain at most says where to turn back (branch
and bound). Pieces of fast linking have some ten candidates, and take microseconds.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from bigseg.core.tracking.detections import Bools, Floats, Ints

MOST_STEPS = 5000
"""A piece that takes more is left to the linear program, which then takes less time."""
_CLOSE = 1e-9


def solved(
    ends: tuple[Ints, Ints, Ints], gain: Floats, piece: Ints, size: int
) -> tuple[Bools, Bools]:
    """Choose the best candidates of each piece.

    Parameters
    ----------
    ends
        (n,) each: way out, way in, and second way in (-1 for moves); rows of the detections.
    gain
        (n,) below 0 for what helps.
    piece
        (n,) number of the piece; candidates of different pieces share no end. Below 0: left alone.
    size
        How many detections there are.

    Returns
    -------
    chosen, done
        (n,) each: what is in the best choice, and which belong to pieces that are solved.
    """
    order = np.lexsort((gain, piece))
    order = order[np.searchsorted(piece[order], 0) :]
    starts = np.flatnonzero(np.r_[True, np.diff(piece[order]) > 0]) if len(order) else order
    return _each(ends, gain, order, np.r_[starts, len(order)], size)  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)
def _each(ends, gain, order, starts, size):  # type: ignore[no-untyped-def]
    """Solve the pieces, candidates `order[starts[k] : starts[k + 1]]`, best ones first."""
    out, one, two = ends
    chosen, done = np.zeros(len(gain), np.bool_), np.zeros(len(gain), np.bool_)
    number = np.empty(size, np.int64)
    taken = np.zeros(size, np.bool_)
    for k in range(len(starts) - 1):
        rows = order[starts[k] : starts[k + 1]]
        ways = _numbered(rows, one, two, number)
        first, rows, second = _by_way(rows, one, two, number, ways)
        picked = _best(first, rows, second, out, gain, taken)
        if len(picked) == ways:
            done[rows] = True
            chosen[picked[picked >= 0]] = True
    return chosen, done


@njit(cache=True, nogil=True)
def _numbered(rows, one, two, number):  # type: ignore[no-untyped-def]
    """Number the ways in of a piece as they come; return how many there are."""
    for row in rows:
        number[one[row]] = -1
        if two[row] >= 0:
            number[two[row]] = -1
    ways = 0
    for row in rows:
        for end in (one[row], two[row]):
            if end >= 0 and number[end] < 0:
                number[end] = ways
                ways += 1
    return ways


@njit(cache=True, nogil=True)
def _by_way(rows, one, two, number, ways):  # type: ignore[no-untyped-def]
    """Candidates by the first of their ways in: bounds, rows, and the other way (-1 for none)."""
    first = np.zeros(ways + 2, np.int64)
    low, high = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    for k, row in enumerate(rows):
        a, b = number[one[row]], -1
        if two[row] >= 0:
            b = number[two[row]]
            a, b = min(a, b), max(a, b)
        low[k], high[k] = a, b
        first[a + 2] += 1
    first = np.cumsum(first)
    sorted_rows, second = np.empty_like(rows), np.empty(len(rows), np.int64)
    for k, row in enumerate(rows):
        place = first[low[k] + 1]
        first[low[k] + 1] += 1
        sorted_rows[place], second[place] = row, high[k]
    return first[: ways + 1], sorted_rows, second


@njit(cache=True, nogil=True)
def _best(first, rows, second, out, gain, taken):  # type: ignore[no-untyped-def]
    """Row of the best candidate of each way in, -1 for none; nothing if it takes too long."""
    ways = len(first) - 1
    rest = _most(first, rows, second, gain)
    used, here = np.zeros(ways, np.bool_), (rows, second, out, gain)
    at, pick, found = first.copy(), np.full(ways + 1, -1), np.full(ways, -1)
    value, least, steps, w = 0.0, 0.0, 0, 0
    while w >= 0 and steps <= MOST_STEPS:
        steps += 1
        value -= _mark(pick[w], w, here, used, taken, False)
        pick[w] = -1
        if w == ways and value < least:
            least = value
            found[:] = pick[:-1]
        if w == ways or at[w] > first[w + 1] or value + rest[w] >= least - _CLOSE:
            w -= 1
            continue
        k = at[w]
        at[w] += 1
        if k < first[w + 1]:
            if used[w] or taken[out[rows[k]]] or (second[k] >= 0 and used[second[k]]):
                continue
            value += _mark(k, w, here, used, taken, True)
            pick[w] = k
        w += 1
        at[w] = first[w]
    for k in pick:
        if k >= 0:
            taken[out[rows[k]]] = False
    return np.where(found < 0, -1, rows[found]) if w < 0 else found[:0]


@njit(cache=True, nogil=True)
def _mark(k, way, candidates, used, taken, there):  # type: ignore[no-untyped-def]
    """Take candidate `k`, if there is one, or give it back; return what it gains."""
    rows, second, out, gain = candidates
    if k < 0:
        return 0.0
    taken[out[rows[k]]] = used[way] = there
    if second[k] >= 0:
        used[second[k]] = there
    return gain[rows[k]]


@njit(cache=True, nogil=True)
def _most(first, rows, second, gain):  # type: ignore[no-untyped-def]
    """What each way in and all after it could gain at most; daughters share a division's gain."""
    ways = len(first) - 1
    rest = np.zeros(ways + 1)
    for way in range(ways):
        for k in range(first[way], first[way + 1]):
            share = gain[rows[k]]
            if second[k] >= 0:
                share /= 2
                rest[second[k]] = min(rest[second[k]], share)
            rest[way] = min(rest[way], share)
    for way in range(ways - 1, -1, -1):
        rest[way] += rest[way + 1]
    return rest
