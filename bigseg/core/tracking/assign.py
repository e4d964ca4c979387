"""Fast linking: the best moves between successive frames, then what they leave over.

First each pair of frames by itself: the moves of the most gain (a sparse assignment, exact). Then
divisions, gaps and false detections, by what each would still gain, the best first (greedy).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from bigseg.core.tracking.candidates import Candidates
from bigseg.core.tracking.costs import Nodes
from bigseg.core.tracking.detections import Bools, Floats, Ints
from bigseg.core.tracking.program import Chosen

Frames = NDArray[np.int32]


def solve(c: Candidates, n: Nodes, frame: Frames, conflicts: Ints | None = None) -> Chosen:
    """Choose links and divisions.

    Parameters
    ----------
    c, n
        Candidates, and costs of the detections.
    frame
        (detections,) ascending.
    conflicts
        (m, 2) detection, set: of a set the one remains whose links gain most.
    """
    size = len(frame)
    links, divisions = _choose(c, frame, np.ones(size, np.bool_))
    real = np.ones(size, np.bool_)
    if conflicts is not None and len(conflicts):
        real = _compatible(c, links, divisions, conflicts, size)
        links, divisions = _choose(c, frame, real)
    linked = np.zeros(size, np.bool_)
    for rows in (c.source[links], c.target[links], c.mother[divisions], c.daughters[divisions]):
        linked[rows] = True
    saved = n.appear + n.disappear - n.false
    real &= linked | (saved <= 0)
    counted = real & (saved > 0)
    if conflicts is not None:
        counted[conflicts[:, 0]] = real[conflicts[:, 0]]
    value = float(c.gain[links].sum() + c.born[divisions].sum() + saved[counted].sum())
    return Chosen(links, divisions, real, value, -np.inf, 0)


def _choose(c: Candidates, frame: Frames, real: Bools) -> tuple[Bools, Bools]:
    """Moves by assignment, then the rest by what it gains."""
    usable = real[c.source] & real[c.target]
    next_to = (frame[c.target] - frame[c.source] == 1) & usable
    links = _moves(c, frame, next_to)
    onward = np.full(len(frame), -1, np.int64)
    onward[c.source[links]] = np.flatnonzero(links)
    taken = np.zeros(len(frame), np.bool_)
    taken[c.target[links]] = True
    fits = real[c.mother] & real[c.daughters].all(1)
    gaps = np.flatnonzero(usable & ~next_to)
    born = _left_over(c, onward, taken, gaps, np.flatnonzero(fits), links)
    return links, born


def onward(c: Candidates, frame: Frames) -> Ints:
    """Row that each detection moves to, by moves alone, then row that it came from; -1 for none."""
    links = _moves(c, frame, np.ones(len(c.source), np.bool_))
    rows = np.full(2 * len(frame), -1, np.int64)
    rows[c.source[links]] = c.target[links]
    rows[len(frame) + c.target[links]] = c.source[links]
    return rows


def _moves(c: Candidates, frame: Frames, usable: Bools) -> Bools:
    """Which of the usable moves are best, each pair of frames by itself."""
    links = np.zeros(len(c.source), np.bool_)
    near = np.flatnonzero(usable)
    bounds = np.flatnonzero(np.diff(frame[c.source[near]], prepend=-1, append=-1))
    for first, last in pairwise(bounds):
        rows = near[first:last]
        links[rows[_assign(c.source[rows], c.target[rows], c.gain[rows])]] = True
    return links


def _assign(source: Ints, target: Ints, gain: Floats) -> Ints:
    """Rows of the pairs of least total gain, each source and target at most once."""
    sure = np.zeros(len(source), np.bool_)
    left = _certain(source, target, gain, source.max() + 1, target.max() + 1, sure)
    found, rest = np.flatnonzero(sure), np.flatnonzero(left)
    if not len(rest):
        return found
    contested = _matched(source[rest], target[rest], gain[rest])
    return np.concatenate([found, rest[contested]])


@njit(cache=True, nogil=True)
def _certain(source, target, gain, sources, targets, sure):  # type: ignore[no-untyped-def]
    """Mark in `sure` pairs that are in a best assignment; return which are still to be decided.

    A pair is, if it gains at least as much as both of its ends could with others: whatever they
    do in an assignment without it, the pair is no worse instead. What it takes is gone for others,
    and so on, until nothing is certain any more.
    """
    left = np.ones(len(source), np.bool_)
    out, into = np.empty((sources, 2)), np.empty((targets, 2))
    again = True
    while again:
        again = False
        out[:] = 0
        into[:] = 0
        for k in range(len(source)):
            if left[k]:
                _second(out[source[k]], gain[k])
                _second(into[target[k]], gain[k])
        for k in range(len(source)):
            best, next_out = out[source[k]]
            least, next_in = into[target[k]]
            # 1: an end was taken in this round.
            if not left[k] or best > 0 or least > 0 or best < gain[k] or least < gain[k]:
                continue
            if gain[k] <= next_out + next_in:
                sure[k] = True
                again = True
                out[source[k], 0] = into[target[k], 0] = 1
        for k in range(len(source)):
            if out[source[k], 0] > 0 or into[target[k], 0] > 0:
                left[k] = False
    return left


@njit(cache=True, nogil=True, inline="always")
def _second(two, value):  # type: ignore[no-untyped-def]
    """Keep the two least."""
    if value < two[0]:
        two[1] = two[0]
        two[0] = value
    elif value < two[1]:
        two[1] = value


def _matched(source: Ints, target: Ints, gain: Floats) -> Ints:
    """The same where nothing is certain: a sparse assignment of all."""
    sources, i = np.unique(source, return_inverse=True)
    targets, j = np.unique(target, return_inverse=True)
    # A column of its own for each source stands for no move. Weights of 0 would be no edges.
    alone = np.arange(len(sources))
    shift = 1 - gain.min()
    weights = np.r_[gain + shift, np.full(len(alone), shift)]
    shape = (len(sources), len(targets) + len(sources))
    places = (np.r_[i, alone], np.r_[j, len(targets) + alone])
    matrix = sparse.csr_array((weights, places), shape=shape)
    row, column = min_weight_full_bipartite_matching(matrix)
    wanted = np.full(len(sources), -1, np.int64)
    wanted[row] = column
    return np.flatnonzero(wanted[i] == j)


def _left_over(
    c: Candidates, onward: Ints, taken: Bools, gaps: Ints, births: Ints, links: Bools
) -> Bools:
    """Add gaps to `links`, and turn moves into divisions; return which divisions."""
    divisions = np.zeros(len(c.mother), np.bool_)
    order, change = _worth(c, onward, taken, gaps, births)
    order = order[np.argsort(change, kind="stable")]
    ends = (c.source, c.target, c.mother, c.daughters)
    _take(order, (gaps, births), ends, (onward, taken), (links, divisions))
    return divisions


def _worth(
    c: Candidates, onward: Ints, taken: Bools, gaps: Ints, births: Ints
) -> tuple[Ints, Floats]:
    """What each gap and each division would change now; numbers of those that help."""
    open_gap = (onward[c.source[gaps]] < 0) & ~taken[c.target[gaps]]
    move = onward[c.mother[births]]
    has = move >= 0
    pair = c.daughters[births]
    kept = np.where(has, c.target[np.maximum(move, 0)] if len(c.target) else -1, -1)
    instead = np.where(has, c.gain[np.maximum(move, 0)] if len(c.gain) else 0.0, 0.0)
    free = ~taken[pair] | (pair == kept[:, None])
    change = c.born[births] - instead
    usable = free.all(1) & (change < 0)
    numbers = np.r_[np.flatnonzero(open_gap), len(gaps) + np.flatnonzero(usable)]
    return numbers, np.r_[c.gain[gaps[open_gap]], change[usable]]


@njit(cache=True, nogil=True)
def _take(order, numbers, ends, used, chosen):  # type: ignore[no-untyped-def]
    """Accept what still fits, in this order. `onward` is -1 where open, -2 where divided."""
    gaps, births = numbers
    onward, taken = used
    links, divisions = chosen
    source, target, mother, daughters = ends
    for number in order:
        if number < len(gaps):
            k = gaps[number]
            if onward[source[k]] == -1 and not taken[target[k]]:
                onward[source[k]] = k
                taken[target[k]] = True
                links[k] = True
            continue
        k = births[number - len(gaps)]
        move = onward[mother[k]]
        if move == -2:
            continue
        kept = target[move] if move >= 0 else -1
        one, two = daughters[k]
        if (taken[one] and one != kept) or (taken[two] and two != kept):
            continue
        if move >= 0:
            links[move] = False
            taken[kept] = False
        onward[mother[k]] = -2
        taken[one] = taken[two] = True
        divisions[k] = True


def _compatible(c: Candidates, links: Bools, divisions: Bools, conflicts: Ints, size: int) -> Bools:
    """Of each set of conflicts keep the detection whose links gain most, one after the other."""
    worth = np.zeros(size)
    np.add.at(worth, c.source[links], c.gain[links])
    np.add.at(worth, c.target[links], c.gain[links])
    np.add.at(worth, c.mother[divisions], c.born[divisions])
    np.add.at(worth, c.daughters[divisions].ravel(), np.repeat(c.born[divisions] / 2, 2))
    real = np.ones(size, np.bool_)
    members: dict[int, list[int]] = {}
    sets: dict[int, list[int]] = {}
    for row, group in conflicts.tolist():
        members.setdefault(group, []).append(row)
        sets.setdefault(row, []).append(group)
    for row in sorted(sets, key=lambda r: (worth[r], r)):
        if real[row]:
            rivals = {r for group in sets[row] for r in members[group]} - {row}
            real[list(rivals)] = False
    return real
