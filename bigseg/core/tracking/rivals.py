"""Objects of several segmentations of the same frames: which are the same, and which compete.

Two objects compete if they share more than a border drawn a little differently; of a *set* of
objects that all compete with each other at most one is real. Sets are as large as can be (cliques),
as linear programs are tightest then. Objects that are alike, and that compete with nobody else of
each other's segmentation, are one object: the earlier segmentation's stands for both, so that
segmentations that agree cost no more than one.

What becomes of those that are not chosen is part of the story in `costs`: a drawing of an object
that is there in another form is *explained* by it, as far as that covers it (`claims`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.candidates import Candidates, taken
from bigseg.core.tracking.costs import Nodes
from bigseg.core.tracking.detections import Bools, Detections, Floats, Ints
from bigseg.core.tracking.program import solve

SHARED = 0.1
"""Objects compete if they share more than this of the smaller: two outlines of a tissue cut each
other's neighbours by some voxels everywhere, and still they can be combined."""
ALIKE = 0.8
"""Intersection over union from which two are drawings of the same: their centres and sizes then
differ less than those of one cell in successive frames do."""


@dataclass(frozen=True, slots=True)
class Rivals:
    """What the objects of a frame are to each other; rows of its table."""

    same: Ints
    """(n,) row of the object that stands for each; mostly itself."""
    conflicts: Ints
    """(m, 2) row, number of a set; see `Detections.conflicts`."""
    claim: Floats
    """(n,) see `Detections.claim`."""


def compete(
    source: NDArray[np.integer], size: NDArray[np.integer], pairs: Ints, shared: Ints
) -> Rivals:
    """Find what the objects of a frame are to each other.

    Parameters
    ----------
    source
        (n,) number of the segmentation of each object, ascending.
    size
        (n,) voxels.
    pairs
        (m, 2) rows of objects that share voxels, those of the earlier segmentation first.
    shared
        (m,) how many they share.
    """
    rivals = shared > SHARED * size[pairs].min(axis=1) if len(pairs) else np.zeros(0, np.bool_)
    pairs, shared = pairs[rivals], shared[rivals]
    same = _same(source, size, pairs, shared)
    stands = (same[pairs] == pairs).all(axis=1)
    pairs, shared = pairs[stands], shared[stands]
    return Rivals(same, _sets(pairs), claims(source, pairs, shared))


def _same(
    source: NDArray[np.integer], size: NDArray[np.integer], pairs: Ints, shared: Ints
) -> Ints:
    """Row of the first object that is alike, if neither has another rival there."""
    same = np.arange(len(source))
    if not len(pairs):
        return same
    union = size[pairs].sum(axis=1) - shared
    sources = int(source[-1]) + 1
    towards = pairs * sources + source[pairs[:, ::-1]]
    count = np.bincount(towards.ravel(), minlength=len(source) * sources)
    alike = (shared >= ALIKE * union) & (count[towards] == 1).all(axis=1)
    found = pairs[alike]
    for a, b in found[np.lexsort((found[:, 0], found[:, 1]))].tolist():
        if same[a] == a and same[b] == b:
            same[b] = a
    return same


def _sets(pairs: Ints) -> Ints:
    """Cover all pairs with cliques, each as large as can be."""
    near: dict[int, set[int]] = {}
    for a, b in pairs.tolist():
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    covered: set[tuple[int, int]] = set()
    found: list[tuple[int, int]] = []
    number = 0
    for a, b in sorted(map(tuple, pairs.tolist())):
        if (a, b) in covered:
            continue
        clique = [a, b]
        for other in sorted(near[a] & near[b]):
            if all(other in near[one] for one in clique):
                clique.append(other)
        covered.update((p, q) for p in clique for q in clique if p < q)
        found += [(one, number) for one in sorted(clique)]
        number += 1
    return np.array(found, np.int64).reshape(-1, 2)


def claims(source: NDArray[np.integer], pairs: Ints, shared: Ints) -> Floats:
    """How many objects' worth each explains if it is real: itself, and rivals as it covers them.

    Where k segmentations have drawn something, each drawing is worth 1/k, so that a place where
    nothing is real costs about what one false object does. What covers a rival from the same
    segmentation shares it: two halves explain the whole as fully as the whole explains them.
    """
    claim = np.ones(len(source))
    if not len(pairs):
        return claim
    one, other = np.concatenate([pairs, pairs[:, ::-1]]).T
    both = np.concatenate([shared, shared]).astype(np.float64)
    # How much of `other` the segmentation of `one` covers.
    sources = int(source[-1]) + 1
    _, key = np.unique(other * sources + source[one], return_inverse=True)
    seen = np.bincount(other[np.unique(key, return_index=True)[1]], minlength=len(source))
    worth = 1 / (1 + seen)
    part = both / np.bincount(key, both)[key]
    return worth + np.bincount(one, part * worth[other], minlength=len(source))


def compatible(worth: Floats, conflicts: Ints) -> Bools:
    """Which remain if of each set the best is kept, one after the other.

    Parameters
    ----------
    worth
        (n,) the lower, the better; of equals the first.
    conflicts
        (m, 2) row, number of a set.
    """
    keep = np.ones(len(worth), np.bool_)
    members: dict[int, list[int]] = {}
    sets: dict[int, list[int]] = {}
    for row, group in conflicts.tolist():
        members.setdefault(group, []).append(row)
        sets.setdefault(row, []).append(group)
    for row in sorted(sets, key=lambda r: (worth[r], r)):
        if keep[row]:
            keep[list({r for group in sets[row] for r in members[group]} - {row})] = False
    return keep


def decided(c: Candidates, n: Nodes, conflicts: Ints | None, seconds: float) -> Bools:
    """Which are real of those that compete, by all that has to do with them and nothing else.

    For links that are found frame by frame, which cannot see what rivals are worth.

    Parameters
    ----------
    c, n
        Candidates, and costs of the detections.
    conflicts
        (m, 2) row, number of a set.
    seconds
        For an integer program, where one is needed.
    """
    member = np.zeros(len(n.appear), np.bool_)
    if conflicts is None or not len(conflicts):
        return ~member
    member[conflicts[:, 0]] = True
    near = member.copy()
    for _ in range(2):  # who could be linked to rivals, and whom they could be linked to instead
        links, births = near[c.source] | near[c.target], near[c.mother]
        births = births | near[c.daughters].any(axis=1)
        around = taken(c, links, births)
        for rows in (around.source, around.target, around.mother, around.daughters):
            near[rows] = True
    return ~member | solve(around, n, conflicts, seconds).real


def settled(keep: Bools, worth: Floats, conflicts: Ints | None) -> Bools:
    """Which remain of those kept: parts that see different halves of a set may both keep one."""
    if conflicts is None or not len(conflicts):
        return keep
    left = conflicts[keep[conflicts[:, 0]]]
    return keep & compatible(worth, left)


def explained(real: Bools, conflicts: Ints | None) -> Bools:
    """Which are not real because another drawing of them is."""
    found = np.zeros(len(real), np.bool_)
    if conflicts is not None and len(conflicts):
        row, group = conflicts.T
        found[row[np.isin(group, group[real[row]])]] = True
    return found & ~real


def unrivalled(d: Detections) -> Detections:
    """Return detections as one segmentation would have them: the first, and what only others have.

    First guesses are made of these; with all, everything would look twice as crowded.
    """
    if d.conflicts is None:
        return d
    keep = compatible(np.zeros(len(d)), d.conflicts)
    return replace(d.take(np.flatnonzero(keep)), conflicts=None, claim=None)


def numbered(conflicts: list[Ints], rows: list[int]) -> Ints:
    """Sets of several frames as one table, given how many rows each frame has."""
    first, sets = np.cumsum([0, *rows]), 0
    found = [np.zeros((0, 2), np.int64)]
    for (start, _), part in zip(pairwise(first.tolist()), conflicts, strict=True):
        found.append(part + np.array([start, sets]))
        sets += int(part[:, 1].max(initial=-1)) + 1
    return np.concatenate(found)
