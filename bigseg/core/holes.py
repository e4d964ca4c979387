"""Fill the holes of objects, all at once.

A hole is a piece of background that touches one object only and not the edge of the array. Pieces
are made of the runs of background along x, joined over faces (4 neighbours in 2D, 6 in 3D), so
the work after one scan depends on the number of runs, not of voxels.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Volume = NDArray[np.uint32]
Ints = NDArray[np.int64]

OPEN = -1
"""Instead of an id: touches the edge of the array or a second object."""


def fill_holes(labels: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Give each hole to the object around it.

    Parameters
    ----------
    labels : (y, x) or (z, y, x) uint32
        Ids, 0 = background.

    Returns
    -------
    (y, x) or (z, y, x) uint32
        A new array. A cavity between two objects, or one that the array cuts, stays background.
    """
    volume = np.ascontiguousarray(labels).reshape((1,) * (3 - labels.ndim) + labels.shape)
    starts, stops, lines = _runs(volume)
    pieces = _join(starts, stops, lines, volume.shape[1], labels.ndim == 3)
    owners = _owners(volume, starts, stops, lines, pieces, labels.ndim == 3)
    return _fill(volume, starts, stops, lines, owners[pieces]).reshape(labels.shape)


@njit(cache=True, nogil=True)
def _runs(volume: Volume) -> tuple[NDArray[np.int32], NDArray[np.int32], Ints]:
    """Runs of background: first x, the x after the last, and where each line's runs begin."""
    deep, high, wide = volume.shape
    lines = np.zeros(deep * high + 1, np.int64)
    n = 0
    for z in range(deep):
        for y in range(high):
            before = np.uint32(1)
            for x in range(wide):
                n += before != 0 and volume[z, y, x] == 0
                before = volume[z, y, x]
            lines[z * high + y + 1] = n
    starts = np.empty(n, np.int32)
    stops = np.empty(n, np.int32)
    n = 0
    for z in range(deep):
        for y in range(high):
            x = 0
            while x < wide:
                if volume[z, y, x] == 0:
                    starts[n] = x
                    while x < wide and volume[z, y, x] == 0:
                        x += 1
                    stops[n] = x
                    n += 1
                x += 1
    return starts, stops, lines


@njit(cache=True, nogil=True)
def _root(parents: Ints, run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


@njit(cache=True, nogil=True)
def _join(
    starts: NDArray[np.int32], stops: NDArray[np.int32], lines: Ints, high: int, solid: bool
) -> Ints:
    """Piece of each run: the first of the runs that are joined to it."""
    parents = np.arange(len(starts))
    for line in range(1, len(lines) - 1):
        if line % high:
            _join_lines(starts, stops, lines, line, line - 1, parents)
        if solid and line >= high:
            _join_lines(starts, stops, lines, line, line - high, parents)
    for run in range(len(parents)):
        parents[run] = _root(parents, run)
    return parents


@njit(cache=True, nogil=True)
def _join_lines(
    starts: NDArray[np.int32],
    stops: NDArray[np.int32],
    lines: Ints,
    a: int,
    b: int,
    parents: Ints,
) -> None:
    """Join the runs of two lines that lie side by side."""
    i, j = lines[a], lines[b]
    while i < lines[a + 1] and j < lines[b + 1]:
        if starts[i] < stops[j] and starts[j] < stops[i]:
            one, other = _root(parents, i), _root(parents, j)
            parents[max(one, other)] = min(one, other)
        if stops[i] < stops[j]:
            i += 1
        else:
            j += 1


@njit(cache=True, nogil=True)
def _owners(
    volume: Volume,
    starts: NDArray[np.int32],
    stops: NDArray[np.int32],
    lines: Ints,
    pieces: Ints,
    solid: bool,
) -> Ints:
    """Object that surrounds each piece, or OPEN."""
    deep, high, wide = volume.shape
    owners = np.zeros(len(pieces), np.int64)
    for line in range(len(lines) - 1):
        z, y = line // high, line % high
        edge = y in (0, high - 1) or (solid and z in (0, deep - 1))
        for run in range(lines[line], lines[line + 1]):
            if edge or starts[run] == 0 or stops[run] == wide:
                owners[pieces[run]] = OPEN
    for line in range(len(lines) - 1):
        z, y = line // high, line % high
        for run in range(lines[line], lines[line + 1]):
            piece = pieces[run]
            if owners[piece] != OPEN:
                owner = _meet(owners[piece], volume[z, y, starts[run] - 1])
                owner = _meet(owner, volume[z, y, stops[run]])
                for x in range(starts[run], stops[run]):
                    owner = _meet(_meet(owner, volume[z, y - 1, x]), volume[z, y + 1, x])
                    if solid:
                        owner = _meet(_meet(owner, volume[z - 1, y, x]), volume[z + 1, y, x])
                owners[piece] = owner
    return owners


@njit(cache=True, nogil=True)
def _meet(owner: int, neighbour: int) -> int:
    """Owner of a piece that has `owner` so far (0 = none yet) and touches `neighbour`."""
    if neighbour == 0 or neighbour == owner:
        return owner
    return int(neighbour) if owner == 0 else OPEN


@njit(cache=True, nogil=True)
def _fill(
    volume: Volume,
    starts: NDArray[np.int32],
    stops: NDArray[np.int32],
    lines: Ints,
    owners: Ints,
) -> Volume:
    """Copy of the volume in which each run that has an owner is the owner's."""
    filled = volume.copy()
    high = volume.shape[1]
    for line in range(len(lines) - 1):
        for run in range(lines[line], lines[line + 1]):
            if owners[run] > 0:
                filled[line // high, line % high, starts[run] : stops[run]] = owners[run]
    return filled
