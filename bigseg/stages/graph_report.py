"""What the graph of a run tells its report: faces, doubtful pairs, and how it was solved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bigseg.errors import NotFound
from bigseg.grid import Box, intersection, size, within
from bigseg.io.tables import read_table, read_tables
from bigseg.run.folder import Run
from bigseg.run.ledger import Ledger
from bigseg.stages import doubtful, seams, solve
from bigseg.stages.opinions import Opinions, keep_box, read_opinion
from bigseg.types import Facts
from bigseg.view.certificate import Certificate
from bigseg.view.seams import Seams

ROWS = ("nodes", "edges", "energy", "lower_bound", "optimal", "exact")


def found_seams(run: Run, opinions: Opinions) -> Seams | None:
    """What is known of faces; None if the run has not got that far, or does not look at them."""
    totals = _finished(run, "seams")
    if not totals:
        return None
    try:
        faces, worst = (
            read_table(url) for url in (seams.seams_url(run.url), doubtful.doubtful_url(run.url))
        )
    except NotFound:
        return None

    def opinion(number: int, box: Box) -> NDArray[np.int64]:
        labels = np.full(size(box)[1:], -1, np.int64)
        block = opinions.grid[number]
        part = intersection(keep_box(opinions, block), box)
        if part is not None:
            labels[within(part, box)[1:]] = read_opinion(opinions, block, part)
        return labels

    return Seams(faces, worst, totals, opinion)


def found_certificate(run: Run) -> Certificate | None:
    """How the graph was solved; None if it is not."""
    joined = _finished(run, "components")
    if not joined or not _finished(run, "solve"):
        return None
    spec = run.step("solve").spec
    if not isinstance(spec, solve.Spec):
        return None
    urls = (solve.certificate_url(spec.run, pack) for pack in range(spec.packs))
    try:
        tables = list(read_tables(urls, ROWS))
    except NotFound:
        return None
    rows = {name: np.concatenate([table[name] for table in tables]) for name in ROWS}
    return Certificate(spec.solver, joined, rows)


def _finished(run: Run, name: str) -> Facts:
    """What a step remembered when it ended; nothing if it has not, or if there is none."""
    for step in run.steps:
        if step.name == name:
            return Ledger.of(run, step).finished() or {}
    return {}
