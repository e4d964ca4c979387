"""Tracks as the Cell Tracking Challenge writes them: `L B E P`, present in every frame.

Its tracks may not miss a frame, so a track that does ends there, and goes on as a new one whose
parent it is; unless the gap is filled first (`bigseg.core.tracking.filling`), which scores better.
"""

from __future__ import annotations

import numpy as np

from bigseg.core.tracking.descent import previous
from bigseg.core.tracking.graph import Rows
from bigseg.core.tracking.lineage import Ints, LineageError, Lineages


def challenge_tracks(found: Lineages) -> tuple[Ints, Rows]:
    """Label of each detection, and the lines of the text file.

    Returns
    -------
    label : (n,) int
        From 1, in the order of the first detection.
    rows : (tracks, 4) int
        Label, first frame, last frame, parent (0 for none).

    Raises
    ------
    LineageError
        If objects merge, for which the format has no words.
    """
    _refuse_merges(found)
    before = previous(found)
    rows = np.arange(len(before))
    unbroken = (before >= 0) & (found.frame - found.frame[before] == 1)
    head = np.where(unbroken, before, rows)
    while True:  # each round doubles how far back is seen
        further = head[head]
        if np.array_equal(further, head):
            break
        head = further
    heads, label = np.unique(head, return_inverse=True)
    label = label.astype(np.int64) + 1
    begin = found.frame[heads].astype(np.int64)
    end = begin.copy()
    np.maximum.at(end, label - 1, found.frame)
    parent = np.zeros(len(heads), np.int64)
    links = found.links[label[found.links[:, 0]] != label[found.links[:, 1]]]
    parent[label[links[:, 1]] - 1] = label[links[:, 0]]
    return label, np.stack([np.arange(1, len(heads) + 1), begin, end, parent], axis=1)


def _refuse_merges(found: Lineages) -> None:
    child, parents = np.unique(found.joints[:, 1], return_counts=True)
    if (parents > 1).any():
        track = child[parents > 1][0]
        sources = found.joints[found.joints[:, 1] == track, 0]
        raise LineageError(
            f"Tracks {sources[0]} and {sources[1]} merge into {track}, which a CTC folder cannot "
            "say (one parent at most); write GEFF instead."
        )
