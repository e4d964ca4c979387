"""Fit what edges are worth to ground truth: how likely objects of two blocks are one.

A run keeps the labels of all blocks and the edges between them. Where the truth is known, an edge
is right to join two objects that lie mostly in the same true one. `core.evidence_fit` makes
coefficients of that; the file they are kept in can be given to other runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.evidence import Evidence
from bigseg.core.evidence_fit import Reliability, fit, pooled, reliability, true_objects
from bigseg.errors import ImageError, SpecError
from bigseg.io.masks import Mask, opened_mask
from bigseg.io.tables import read_table
from bigseg.run.folder import Run, open_run
from bigseg.run.ledger import Ledger
from bigseg.stages.graph import edges_url, nodes_url, read_offsets
from bigseg.stages.opinions import Opinions, keep_box, read_opinion

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Calibration:
    """Evidence that was fitted, and what it is worth."""

    evidence: Evidence
    before: Reliability
    """Of the evidence that bigseg uses unless told otherwise."""
    after: Reliability

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "evidence": self.evidence.as_dict(),
            "before": asdict(self.before),
            "after": asdict(self.after),
        }

    def text(self) -> str:
        """Say it to a person."""
        lines = [f"{self.after.edges} edges, {self.after.same} of them within one true object", ""]
        lines += [f"{name:<14}{value:>9.3f}" for name, value in self.evidence.as_dict().items()]
        lines += ["", f"{'':<20}{'defaults':>9}{'fitted':>9}"]
        for title, name in (
            ("log loss", "log_loss"),
            ("calibration error", "calibration_error"),
            ("wrong edges", "wrong"),
        ):
            lines.append(
                f"{title:<20}{getattr(self.before, name):>9.4f}{getattr(self.after, name):>9.4f}"
            )
        return "\n".join(lines)


def calibrate(run: str, truth: str) -> Calibration:
    """Fit evidence to the edges of a run whose true objects are known.

    Parameters
    ----------
    run
        Run folder; its graph must have been made (the step `merge`).
    truth
        True labels of the run's image: label image, array or mask file.

    Raises
    ------
    NotFound, SpecError, ImageError
        The run has no graph of opinions, or the truth does not fit it.
    BigsegError
        Too few edges are in doubt to fit anything.
    """
    found = open_run(files.absolute(run))
    opinions = _opinions(found)
    with opened_mask(truth) as mask:
        known, same = _judged(opinions, _fitting(mask, opinions, truth))
    evidence = fit(known, same)
    return Calibration(
        evidence, reliability(Evidence(), known, same), reliability(evidence, known, same)
    )


def _opinions(run: Run) -> Opinions:
    """Where the labels of the blocks are; refuse runs that have none, or no edges yet."""
    step = run.step("merge")
    opinions = getattr(step.spec, "opinions", None)
    if not isinstance(opinions, Opinions):
        raise SpecError(f"The run {run.url} was not labelled block by block, so nothing is fitted.")
    if Ledger.of(run, step).finished() is None:
        raise SpecError(f"The run {run.url} has not merged yet; 'bigseg run {run.url}' goes on.")
    return opinions


def _fitting(mask: Mask, opinions: Opinions, truth: str) -> Mask:
    """The truth on the run's own axes."""
    own = Mask("run", "tzyx", opinions.shape, opinions.shape, mask.read)
    fitting = mask.like(own)
    if fitting.shape != opinions.shape:
        raise ImageError(
            f"{truth} has {mask.shape} voxels, but the run labelled (t, z, y, x) = "
            f"{opinions.shape}; give the truth of the same image and level."
        )
    return fitting


def _judged(opinions: Opinions, truth: Mask) -> tuple[Columns, NDArray[np.bool_]]:
    """Evidence of all edges between objects whose truth is known, and whether they are one."""
    owners = np.concatenate([np.zeros(0, np.uint64), *_owners(opinions, truth)])
    offsets, _ = read_offsets(opinions.run, opinions.grid.counts)
    tables, same = [], []
    for block in opinions.grid:
        table = read_table(edges_url(opinions.run, block.id))
        ends = [
            owners[offsets[table[f"{side}_block"].astype(np.int64)] + table[side] - 1]
            for side in ("u", "v")
        ]
        known = (ends[0] > 0) & (ends[1] > 0)
        if known.any():
            tables.append({name: column[known] for name, column in table.items()})
            same.append((ends[0] == ends[1])[known])
    columns = pooled(tables)
    return columns, np.concatenate([np.zeros(0, bool), *same])


def _owners(opinions: Opinions, truth: Mask) -> Iterator[NDArray[np.uint64]]:
    """True object of each object of each block, in order."""
    for block in opinions.grid:
        objects = len(read_table(nodes_url(opinions.run, block.id), ["id"])["id"])
        labels = read_opinion(opinions, block)
        yield true_objects(labels, truth.read(keep_box(opinions, block))[0], objects)
