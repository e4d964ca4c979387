"""The semantic class of each object: what most of its voxels are.

Voxels take the class of the largest logit, as in the semantic networks of Cellpose-SAM
(Pachitariu et al. 2025, bioRxiv, doi 10.1101/2025.04.28.651001). Their votes are counted by
object. Counts are integers, so those of one object's parts in several blocks add up exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.errors import ImageError
from bigseg.types import Labels

Votes = NDArray[np.int64]
"""(n, classes) voxels of each object, of each class; row i is of id i + 1, class 0 background."""


@njit(cache=True, nogil=True)
def _from_map(labels, classes, votes):  # type: ignore[no-untyped-def]
    """Count votes; the first class outside the columns of `votes`, or -1."""
    for i in range(labels.size):
        if labels[i]:
            found = np.int64(classes[i])
            if found < 0 or found >= votes.shape[1]:
                return i
            votes[np.int64(labels[i]) - 1, found] += 1
    return -1


@njit(cache=True, nogil=True)
def _from_logits(labels, logits, votes):  # type: ignore[no-untyped-def]
    """Count votes; background voxels are never compared."""
    for i in range(labels.size):
        if labels[i]:
            best = 0
            for k in range(1, logits.shape[0]):
                if logits[k, i] > logits[best, i]:
                    best = k
            votes[np.int64(labels[i]) - 1, best] += 1


def count_votes(
    labels: Labels, logits: NDArray[np.floating[Any] | np.integer[Any]], count: int | None = None
) -> Votes:
    """Count the classes of each object's voxels, given logits.

    Parameters
    ----------
    labels
        (z, y, x) or (y, x) ids 1..n of the voxels that are to be counted, each once: those that
        a block writes, without its halo.
    logits
        (classes, …) with the axes of `labels`; any scale, also quantised. Equal logits are the
        lower class.
    count
        n, if more than the largest id in `labels`.

    Returns
    -------
    (n, classes) int64

    Raises
    ------
    ImageError
        The shapes do not fit each other.
    """
    if logits.shape[1:] != labels.shape or not len(logits):
        raise ImageError(
            f"class logits of shape {logits.shape} do not fit labels of shape {labels.shape}; "
            f"expected (classes, {', '.join(map(str, labels.shape))})."
        )
    votes = _none(labels, len(logits), count)
    _from_logits(labels.reshape(-1), logits.reshape(len(logits), -1), votes)
    return votes


def count_mapped_votes(
    labels: Labels, classes: NDArray[np.integer[Any]], n_classes: int, count: int | None = None
) -> Votes:
    """Count the classes of each object's voxels, given each voxel's class (0 = background).

    Parameters and result as of `count_votes`, but `classes` has the shape of `labels`.

    Raises
    ------
    ImageError
        The shapes differ, or a class is not one of 0 .. `n_classes` - 1.
    """
    if classes.shape != labels.shape:
        raise ImageError(
            f"a class map of shape {classes.shape} does not fit labels of shape {labels.shape}."
        )
    votes = _none(labels, n_classes, count)
    strange = _from_map(labels.reshape(-1), classes.reshape(-1), votes)
    if strange >= 0:
        raise ImageError(
            f"the class map holds class {classes.flat[strange]}, "
            f"but there are only classes 0 to {n_classes - 1}."
        )
    return votes


def _none(labels: Labels, n_classes: int, count: int | None) -> Votes:
    n = int(labels.max()) if labels.size else 0
    return np.zeros((max(n, count or 0), n_classes), np.int64)


def combine_votes(blocks: Iterable[Votes], final_id: NDArray[Any], n_classes: int) -> Votes:
    """Add the votes of block objects into one row per final object.

    Parameters
    ----------
    blocks
        Votes of each block, in the order of nodes; read one at a time.
    final_id
        (rows of all blocks,) final id of each row, 1..N; 0 drops the row.
    n_classes
        Number of classes.

    Returns
    -------
    (N, classes) int64

    Raises
    ------
    ImageError
        There are more or fewer rows than final ids: blocks are missing or were labelled again.
    """
    total = np.zeros((int(final_id.max()) + 1 if len(final_id) else 1, n_classes), np.int64)
    seen = 0
    for votes in blocks:
        ids = final_id[seen : seen + len(votes)]
        seen += len(votes)
        if len(ids) == len(votes):
            np.add.at(total, ids.astype(np.int64), votes)
    if seen != len(final_id):
        raise ImageError(
            f"the blocks have votes of {seen} objects but {len(final_id)} final ids were made; "
            "blocks are missing or were labelled again: merge again."
        )
    return total[1:]


def majority(votes: Votes, *, background: bool = True) -> NDArray[np.int64]:
    """Class of each object: that of most of its voxels, the lowest of equals.

    Parameters
    ----------
    votes
        (n, classes)
    background
        Whether voxels of class 0 vote. If they do, an object that is mostly background is
        background, and should be removed. The published evaluation of Cellpose-SAM lets them not
        vote (it takes those voxels off the objects), so that only objects without any other
        class are background.

    Returns
    -------
    (n,) int64
        Class of each id from 1 on; 0 is background, also where an id has no voxels.
    """
    counted = votes if background else np.where(np.arange(votes.shape[1]) > 0, votes, 0)
    found: NDArray[np.int64] = counted.argmax(1)
    return found
