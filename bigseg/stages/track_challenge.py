"""Write tracked labels as a result folder of the Cell Tracking Challenge, a block per frame.

The text file comes last: it is what makes the folder a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.challenge import challenge_tracks
from bigseg.core.tracking.graph import Rows
from bigseg.core.tracking.lineage import Lineages, lineages
from bigseg.grid import Block, Grid
from bigseg.io.ctc import check_writable, write_mask, write_rows
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.stages import lineages as linked
from bigseg.stages import write_tracks
from bigseg.types import Facts, StageSpec

Ints = NDArray[np.int64]


class Spec(StageSpec):
    """Where labels come from, and where the folder is made."""

    write: write_tracks.Spec
    folder: str

    @property
    def grid(self) -> Grid:
        """A block per frame."""
        frames = self.write.found.shape[0]
        return Grid((frames, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Refuse what the format cannot say, before anything is written."""
    check_writable(_numbered(spec)[2], spec.write.found.shape[0])


def read(spec: Spec, block: Block) -> NDArray[Any]:
    """Labels of a frame, numbered by track: (z, y, x)."""
    frame = block.write[0]
    whole = (frame, *(slice(0, n) for n in spec.write.found.shape[1:]))
    labels: NDArray[Any] = Volume(write_tracks.label_image(spec.write), 0).read(whole)[0, 0]
    return labels


def block(spec: Spec, block: Block, data: NDArray[Any]) -> Facts:
    """Write the mask of a frame."""
    frames, track, rows = _numbered(spec)
    frame = block.write[0].start
    found, label = frames
    here = found == frame
    table = np.zeros(int(track.max(initial=0)) + 1, np.int64)
    table[track[here]] = label[here]
    count = write_mask(spec.folder, frame, table[data], rows, spec.write.found.shape[0])
    return {"objects": count}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Write the lines of the tracks."""
    rows = _numbered(spec)[2]
    write_rows(spec.folder, rows)
    return {
        "tracks": len(rows),
        "empty": [n for n, fact in enumerate(facts) if not fact["objects"]],
    }


def _numbered(spec: Spec) -> tuple[tuple[Ints, Ints], Ints, Rows]:
    """Frame and CTC label of each object, its track, and the lines of the tracks."""
    return _labels(spec.write.found.run, spec.write.fill_gaps)


@lru_cache(maxsize=2)
def _labels(run: str, filled: bool) -> tuple[tuple[Ints, Ints], Ints, Rows]:
    whole = _with_drawn(run) if filled else linked.read_lineages(run)[1]
    label, rows = challenge_tracks(whole)
    return (whole.frame.astype(np.int64), label), whole.track, rows


def _with_drawn(run: str) -> Lineages:
    """Lineages in which objects that were drawn count as seen; tracks keep their numbers."""
    _, found = linked.read_lineages(run)
    drawn = read_table(write_tracks.drawn_url(run))
    frame = np.concatenate([found.frame.astype(np.int64), drawn["frame"]])
    track = np.concatenate([found.track, drawn["track"]])
    order = np.lexsort((track, frame))
    frame, track = frame[order], track[order]
    by_track = np.lexsort((frame, track))
    same = track[by_track[1:]] == track[by_track[:-1]]
    along = np.stack([by_track[:-1][same], by_track[1:][same]], axis=1)
    starts = np.searchsorted(track[by_track], np.arange(1, len(found) + 1))
    stops = np.searchsorted(track[by_track], np.arange(1, len(found) + 1), "right")
    first, last = by_track[starts], by_track[stops - 1]
    parent, child = found.joints.T - 1
    links = np.concatenate([along, np.stack([last[parent], first[child]], axis=1)])
    return lineages(frame, track, links, merging=True)
