"""All scores of a tracking result at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bigseg.core.tracking.graph import Graph
from bigseg.core.tracking.metrics import Found, Operations, Pairing, operations
from bigseg.core.tracking.metrics_divisions import divisions_found
from bigseg.core.tracking.metrics_links import MOST_FRAMES, links_found, steps_found
from bigseg.core.tracking.metrics_tracks import (
    branching,
    cell_cycles,
    complete_tracks,
    track_fractions,
)

TOLERANCES = (0, 1, 2, 3)
"""Frames by which a division may be off, of BC(i) and of the F1 of divisions."""


@dataclass(frozen=True, slots=True)
class TrackScores:
    """Scores of one result. Those without a value (nothing to find) are nan."""

    operations: Operations
    ct: float
    """Complete tracks (F1)."""
    tf: float
    """Track fractions."""
    cca: float
    """Cell cycle accuracy, as py-ctcmetrics has it."""
    bc: dict[int, Found]
    """Branching correctness by the frames allowed."""
    links: Found
    """Links that both have."""
    gap_links: Found
    """As `links`, but a link over frames stands for a path."""
    steps: Found
    """Steps between consecutive detections of a cell."""
    divisions: tuple[Found, ...]
    """Divisions by the frames allowed, from 0."""
    tracks: tuple[int, int]
    """Of the result, and of the truth."""
    detections: tuple[int, int]
    """Of the result, and of the truth."""
    seg: float = math.nan
    """Mean Jaccard index of true objects with those that cover most of them; needs masks."""

    def bio(self, i: int) -> float:
        """BIO(i): mean of those of CT, TF, BC(i) and CCA that have a value."""
        bc = self.bc[i]
        have = [self.ct, self.tf, bc.f1 if bc.true else math.nan, self.cca]
        have = [v for v in have if not math.isnan(v)]
        return sum(have) / len(have) if have else math.nan

    def values(self) -> dict[str, float]:
        """All scores by the names that they have in the challenge and here."""
        found = {
            "DET": self.operations.det,
            "SEG": self.seg,
            "TRA": self.operations.tra,
            "LNK": self.operations.lnk,
            "CT": self.ct,
            "TF": self.tf,
            "CCA": self.cca,
        }
        for i, bc in self.bc.items():
            found[f"BC({i})"] = bc.f1 if bc.true else math.nan
            found[f"BIO({i})"] = self.bio(i)
            found[f"OP_CLB({i})"] = (self.operations.lnk + self.bio(i)) / 2
        found["OP_CSB"] = (self.seg + self.operations.det) / 2
        found["OP_CTB"] = (self.seg + self.operations.tra) / 2
        found["edge F1"] = self.links.f1
        found["gap-aware edge F1"] = self.gap_links.f1
        found["step F1"] = self.steps.f1
        for i, divisions in enumerate(self.divisions):
            found[f"division F1({i})"] = divisions.f1
        return found

    def as_dict(self) -> dict[str, Any]:
        """Scores and counts as JSON knows them: None where there is no value."""
        counts = {
            "links": self.links,
            "gap_links": self.gap_links,
            "steps": self.steps,
            **{f"division({i})": d for i, d in enumerate(self.divisions)},
            **{f"BC({i})": found for i, found in self.bc.items()},
        }
        return {
            "scores": {k: None if math.isnan(v) else v for k, v in self.values().items()},
            "operations": asdict(self.operations) | {"AOGM": self.operations.aogm},
            "found": {
                name: {
                    "found": f.found,
                    "right": f.right,
                    "true": f.true,
                    "result": f.result,
                }
                for name, f in counts.items()
            },
            "tracks": {"result": self.tracks[0], "true": self.tracks[1]},
            "detections": {"result": self.detections[0], "true": self.detections[1]},
        }


def track_scores(
    truth: Graph,
    result: Graph,
    pairs: Pairing,
    *,
    seg: float = math.nan,
    tolerances: Sequence[int] = TOLERANCES,
    most_frames: int = MOST_FRAMES,
) -> TrackScores:
    """Score a result whose detections are matched with the truth's.

    Parameters
    ----------
    truth, result : Graph
        Of the same frames.
    pairs : Pairing
        See `bigseg.core.tracking.metrics.pairing`.
    seg : float
        SEG, if it was measured.
    tolerances : sequence of int
        The i of BC(i) and BIO(i); divisions are counted up to the largest.
    most_frames : int
        Frames that a step may take, see `steps_found`.
    """
    return TrackScores(
        operations=operations(truth, result, pairs),
        ct=complete_tracks(truth, result, pairs),
        tf=track_fractions(truth, result, pairs),
        cca=cell_cycles(truth, result),
        bc=branching(truth, result, pairs, tolerances),
        links=links_found(truth, result, pairs),
        gap_links=links_found(truth, result, pairs, gaps=True),
        steps=steps_found(truth, result, pairs, most_frames=most_frames),
        divisions=divisions_found(truth, result, pairs, max(tolerances)),
        tracks=(result.tracks, truth.tracks),
        detections=(len(result.frame), len(truth.frame)),
        seg=seg,
    )
