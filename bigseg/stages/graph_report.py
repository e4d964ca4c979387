"""What the graph of a run tells its report: faces, doubtful pairs, and how it was solved."""

from __future__ import annotations

from functools import partial

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

SOLVING = {"solve": "Certificate", "volume-solve": "Certificate: planes to volumes"}
"""Steps that solve a graph, and how that is called."""
ROWS = ("nodes", "edges", "energy", "lower_bound", "optimal", "exact")


def found_seams(run: Run) -> Seams | None:
    """What is known of faces; None if the run has not got that far, or does not look at them."""
    totals = _finished(run, "seams")
    spec = run.step("seams").spec if totals else None
    if not isinstance(spec, seams.Spec) or spec.opinions is None:
        return None
    opinions, planes = spec.opinions, any(step.stage == "volumes" for step in run.steps)
    try:
        faces, worst = (
            read_table(url) for url in (seams.seams_url(run.url), doubtful.doubtful_url(run.url))
        )
    except NotFound:
        return None

    return Seams(
        grid=opinions.grid,
        faces=faces,
        worst=worst,
        totals=totals,
        opinion=partial(_opinion, opinions),
        named=not planes,
    )


def _opinion(opinions: Opinions, number: int, box: Box) -> NDArray[np.int64]:
    """What a block says of a box; see `view.seams.Seams`."""
    labels = np.full(size(box)[1:], -1, np.int64)
    block = opinions.grid[number]
    part = intersection(keep_box(opinions, block), box)
    if part is not None:
        labels[within(part, box)[1:]] = read_opinion(opinions, block, part)
    return labels


def found_certificates(run: Run) -> list[Certificate]:
    """How the graphs of a run were solved, as far as they are: one, and with slices a second."""
    steps = [(name, name.replace("solve", "components")) for name in SOLVING]
    found = (_certificate(run, *names) for names in steps)
    return [certificate for certificate in found if certificate is not None]


def _certificate(run: Run, solving: str, joining: str) -> Certificate | None:
    joined = _finished(run, joining)
    spec = run.step(solving).spec if joined and _finished(run, solving) else None
    if not isinstance(spec, solve.Spec):
        return None
    urls = (solve.certificate_url(spec.run, pack) for pack in range(spec.packs))
    try:
        tables = list(read_tables(urls, ROWS))
    except NotFound:
        return None
    rows = {name: np.concatenate([table[name] for table in tables]) for name in ROWS}
    return Certificate(spec.solver, joined, rows, SOLVING[solving])


def _finished(run: Run, name: str) -> Facts:
    """What a step remembered when it ended; nothing if it has not, or if there is none."""
    for step in run.steps:
        if step.name == name:
            return Ledger.of(run, step).finished() or {}
    return {}
