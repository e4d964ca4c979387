"""Fast linking: the best of each pair of frames by itself, then what that leaves open.

Between two frames moves and divisions compete; most of them are certain (`certain`), and only what
is left is a program, small and in many pieces. Who has no link there may have one over missed
frames, so that costs less than an end or a start. Then ends that are open are closed, by gaps,
daughters or not at all: all links that were found stay in, so that one of them may go where its end
is no object.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from bigseg.core.tracking import pieces, program
from bigseg.core.tracking.candidates import Candidates, join, taken
from bigseg.core.tracking.costs import Nodes
from bigseg.core.tracking.detections import Bools, Floats, Ints
from bigseg.core.tracking.program import Chosen

BATCH = 2000
"""Candidates of a program, about."""


def solve(c: Candidates, n: Nodes, open_ended: Nodes, seconds: float) -> Candidates:
    """Choose among candidates between successive frames only.

    Parameters
    ----------
    c, n
        Candidates, and costs of the detections.
    open_ended
        The same, if who has no link to the next frame may be missed there.
    seconds
        For a program, where one is needed.
    """
    ends, starts = n.disappear - open_ended.disappear, n.appear - open_ended.appear
    c = Candidates(
        c.source, c.target, c.gain + ends[c.source] + starts[c.target],
        c.mother, c.daughters, c.born + ends[c.mother] + starts[c.daughters].sum(axis=1),
    )  # fmt: skip
    c = taken(c, c.gain < 0, c.born < 0)
    return _best(c, np.zeros(len(n.appear)), seconds)


def open_ends(near: Candidates, real: Bools) -> tuple[Bools, Bools]:
    """Which detections may have a gap after them, and which before, once `near` is chosen.

    Those `real` without a way out, and without a way in; daughters, too, as one of two may be
    somebody else, who was missed for some frames.
    """
    out, into = real.copy(), real.copy()
    out[near.source] = out[near.mother] = False
    into[near.target] = False
    return out, into


def with_gaps(
    near: Candidates, c: Candidates, gaps: Candidates, n: Nodes, real: Bools, seconds: float
) -> tuple[Candidates, Chosen]:
    """Close what is open where that is worth it, and say what the outcome is.

    Parameters
    ----------
    near
        What was chosen between successive frames.
    c
        What it was chosen from.
    gaps
        Candidates between `open_ends`.
    real
        (n,) False for those that others are instead; see `rivals.decided`.
    n, seconds
        As for `solve`.

    Returns
    -------
    candidates, chosen
        All of these candidates are chosen.
    """
    size = len(n.appear)
    found = _best(join([_still(near, c, size), gaps]), _doubted(near, n), seconds)
    return found, _outcome(found, n, real)


def _still(near: Candidates, c: Candidates, size: int) -> Candidates:
    """Of `c`, what was chosen, and what leaves it as it is but for open ends.

    Each comes from where it came from, or a daughter from nowhere.
    """
    origin = np.full(size, -1)
    origin[near.target] = near.source
    origin[near.daughters] = near.mother[:, None]
    goes = np.zeros(size, np.bool_)
    goes[near.source] = goes[near.mother] = True
    same = origin[c.daughters] == c.mother[:, None]
    born = (same | (origin[c.daughters] < 0)).all(axis=1)
    born &= same.any(axis=1) | ~goes[c.mother]
    open_before = (origin[c.target] < 0) & ~goes[c.source]
    return taken(c, (origin[c.target] == c.source) | open_before, born)


def _doubted(near: Candidates, n: Nodes) -> Floats:
    """What it costs to keep each detection that may be false; of those linked on both sides, 0."""
    out, into = np.zeros((2, len(n.appear)), np.bool_)
    out[near.source] = out[near.mother] = True
    into[near.target] = into[near.daughters] = True
    return np.where(out & into, 0, np.maximum(n.appear + n.disappear - n.false, 0))


def _outcome(c: Candidates, n: Nodes, real: Bools) -> Chosen:
    """What it is to have chosen all candidates; what has no link and is too dear is rejected."""
    linked = np.zeros(len(real), np.bool_)
    for rows in (c.source, c.target, c.mother, c.daughters):
        linked[rows] = True
    saved = n.appear + n.disappear - n.false
    real = real & (linked | (saved <= 0))
    counted = real & (saved > 0)
    value = float(c.gain.sum() + c.born.sum() + saved[counted].sum())
    every = np.ones(len(c.source), np.bool_), np.ones(len(c.mother), np.bool_)
    return Chosen(*every, real, value, -np.inf, 0)


def _best(c: Candidates, doubted: Floats, seconds: float) -> Candidates:
    """The best of moves and divisions, each way taken at most once.

    Whose ends are doubted, (detections,), costs that besides, once.
    """
    sure = np.zeros(len(c.gain), np.bool_), np.zeros(len(c.born), np.bool_)
    ends, doubted = (c.source, c.target, c.mother, c.daughters), doubted.copy()
    left = certain(ends, c.gain, c.born, doubted, sure)
    if not left[0].any() and not left[1].any():
        return taken(c, sure[0], sure[1])
    rest = taken(c, *left)
    chosen, done = _tried(rest, doubted)
    numbers = np.flatnonzero(left[0]), np.flatnonzero(left[1])
    for k in (0, 1):
        sure[k][numbers[k][chosen[k]]] = True
    numbers = numbers[0][~done[0]], numbers[1][~done[1]]
    batches = _batches(taken(rest, ~done[0], ~done[1]), doubted)
    orders = [np.argsort(batch, kind="stable") for batch in batches]
    last = max(int(batch.max(initial=-1)) for batch in batches) + 1
    bounds = [np.searchsorted(b[o], range(last + 1)) for b, o in zip(batches, orders, strict=True)]
    for k in range(last):
        a, b = (
            number[order[bound[k] : bound[k + 1]]]
            for number, order, bound in zip(numbers, orders, bounds, strict=True)
        )
        part = Candidates(
            c.source[a], c.target[a], c.gain[a], c.mother[b], c.daughters[b], c.born[b]
        )
        links, divisions = _program(part, doubted, seconds)
        sure[0][a[links]] = True
        sure[1][b[divisions]] = True
    return taken(c, *sure)


def _pieces(c: Candidates, doubted: Floats) -> Ints:
    """Number of the piece of each link, then of each division: what shares an end is together.

    Both ways of an end that is doubted, too.
    """
    size = len(doubted)
    out = np.concatenate([c.source, c.mother, c.mother])
    into = np.concatenate([c.target, c.daughters[:, 0], c.daughters[:, 1]])
    both = np.intersect1d(out, into)
    both = both[doubted[both] > 0]
    ends = np.concatenate([out, both]), np.concatenate([into, both]) + size
    edges = sparse.coo_array((np.ones(len(ends[0]), np.bool_), ends), shape=(2 * size,) * 2)
    _, piece = connected_components(edges, directed=False)
    return np.asarray(piece[out[: len(c.source) + len(c.mother)]], np.int64)


def _tried(c: Candidates, doubted: Floats) -> tuple[tuple[Bools, Bools], tuple[Bools, Bools]]:
    """Links and divisions that are in the best choice of small pieces, and which are decided."""
    piece = _pieces(c, doubted)
    ends = (
        np.concatenate([c.source, c.mother]),
        np.concatenate([c.target, c.daughters[:, 0]]),
        np.concatenate([np.full(len(c.target), -1), c.daughters[:, 1]]),
    )
    unsure = (doubted > 0)[ends[0]] | (doubted > 0)[ends[1]]
    unsure |= (doubted[ends[2]] > 0) & (ends[2] >= 0)
    piece[np.isin(piece, piece[unsure])] = -1
    chosen, done = pieces.solved(ends, np.concatenate([c.gain, c.born]), piece, len(doubted))
    links = len(c.source)
    return (chosen[:links], chosen[links:]), (done[:links], done[links:])


def _batches(c: Candidates, doubted: Floats) -> tuple[Ints, Ints]:
    """Number of the program for each link and each division.

    Many small programs take less time than a large one.
    """
    piece = _pieces(c, doubted)
    weight = np.bincount(piece)
    batch = (np.cumsum(weight) - weight) // BATCH
    links = len(c.source)
    return batch[piece[:links]], batch[piece[links:]]


def _program(c: Candidates, doubted: Floats, seconds: float) -> tuple[Bools, Bools]:
    """The best of a few candidates, as a linear program."""
    rows = np.concatenate([c.source, c.target, c.mother, c.daughters.ravel()])
    some, place = np.unique(rows, return_inverse=True)
    i, j, m, pair = np.split(place, np.cumsum([len(c.source), len(c.source), len(c.mother)]))
    small = Candidates(i, j, c.gain, m, pair.reshape(-1, 2), c.born)
    nothing = np.zeros(len(some))
    nodes = Nodes(doubted[some], nothing, nothing, None)
    chosen = program.solve(small, nodes, None, seconds)
    return chosen.links, chosen.divisions


@njit(cache=True, nogil=True)
def certain(ends, gain, born, doubted, sure):  # type: ignore[no-untyped-def]
    """Mark in `sure` what is in a best choice; return which are still to be decided.

    A candidate is, if it gains at least as much as all of its ends together could with others:
    whatever they do in a choice without it, it is no worse instead. What it takes is gone for
    others, and so on, until nothing is certain any more.

    Parameters
    ----------
    ends
        source, target, mother, daughters: see `Candidates`.
    gain, born
        Of links and divisions.
    doubted
        Of each detection, what it costs to be kept, if nothing certain keeps it; changed to 0 for
        those that something does.
    sure
        Of links and of divisions, False to begin with.
    """
    left = np.ones(len(gain), np.bool_), np.ones(len(born), np.bool_)
    size = len(doubted)
    gone = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    again = True
    while again:
        least = _least(ends, gain, born, size, left)
        again = _sure_links(ends, gain, least, doubted, left, gone, sure[0])
        again |= _sure_divisions(ends, born, least, doubted, left, gone, sure[1])
        _drop(ends, gone, left)
    return left


@njit(cache=True, nogil=True)
def _least(ends, gain, born, size, left):  # type: ignore[no-untyped-def]
    """The two least gains of what is left, of each way out and each way in."""
    source, target, mother, daughters = ends
    out, into = np.zeros((size, 2)), np.zeros((size, 2))
    for k in range(len(gain)):
        if left[0][k]:
            _two_least(out[source[k]], gain[k])
            _two_least(into[target[k]], gain[k])
    for k in range(len(born)):
        if left[1][k]:
            _two_least(out[mother[k]], born[k])
            _two_least(into[daughters[k, 0]], born[k])
            _two_least(into[daughters[k, 1]], born[k])
    return out, into


@njit(cache=True, nogil=True)
def _sure_links(ends, gain, least, doubted, left, gone, sure):  # type: ignore[no-untyped-def]
    source, target = ends[0], ends[1]
    found = False
    for k in range(len(gain)):
        i, j = source[k], target[k]
        if not left[0][k] or gone[0][i] or gone[1][j]:
            continue
        instead = _other(least[0][i], gain[k]) + _other(least[1][j], gain[k])
        if gain[k] + doubted[i] + doubted[j] <= instead:
            sure[k] = gone[0][i] = gone[1][j] = found = True
            doubted[i] = doubted[j] = 0
    return found


@njit(cache=True, nogil=True)
def _sure_divisions(ends, born, least, doubted, left, gone, sure):  # type: ignore[no-untyped-def]
    mother, daughters = ends[2], ends[3]
    found = False
    for k in range(len(born)):
        i, (p, q) = mother[k], daughters[k]
        if not left[1][k] or gone[0][i] or gone[1][p] or gone[1][q]:
            continue
        instead = _other(least[1][p], born[k]) + _other(least[1][q], born[k])
        instead += _other(least[0][i], born[k])
        if born[k] + doubted[i] + doubted[p] + doubted[q] <= instead:
            sure[k] = gone[0][i] = gone[1][p] = gone[1][q] = found = True
            doubted[i] = doubted[p] = doubted[q] = 0
    return found


@njit(cache=True, nogil=True)
def _drop(ends, gone, left):  # type: ignore[no-untyped-def]
    """Leave out what has lost an end."""
    source, target, mother, daughters = ends
    for k in range(len(source)):
        left[0][k] &= not (gone[0][source[k]] or gone[1][target[k]])
    for k in range(len(mother)):
        late = gone[1][daughters[k, 0]] or gone[1][daughters[k, 1]]
        left[1][k] &= not (gone[0][mother[k]] or late)


@njit(cache=True, nogil=True, inline="always")
def _two_least(two, value):  # type: ignore[no-untyped-def]
    if value < two[0]:
        two[1] = two[0]
        two[0] = value
    elif value < two[1]:
        two[1] = value


@njit(cache=True, nogil=True, inline="always")
def _other(two, value):  # type: ignore[no-untyped-def]
    """The least but for `value` itself, which is one of them."""
    return two[1] if two[0] == value else two[0]
