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
from bigseg.stages import doubtful, seams, solve, tiles
from bigseg.stages.opinions import Opinions
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
    if not isinstance(spec, seams.Spec):
        return None
    where, planes = spec.opinions or spec.tiled, any(step.stage == "volumes" for step in run.steps)
    if where is None:
        return None
    try:
        faces, worst = (
            read_table(url) for url in (seams.seams_url(run.url), doubtful.doubtful_url(run.url))
        )
    except NotFound:
        return None

    return Seams(
        name=partial(_name, where),
        box=partial(doubtful.box_of, where),
        faces=faces,
        worst=worst,
        totals=totals,
        opinion=partial(_opinion, where),
        named=not planes,
    )


def _name(where: doubtful.Where, number: int) -> str:
    """Place of a block in the grid, or the name of a tile's file."""
    if isinstance(where, Opinions):
        return where.grid[number].id
    known = tiles.placed(where)
    frames = f", frame {known.frames[number]}" if known.frames.max() > 0 else ""
    return str(known.files[number]).rstrip("/").rpartition("/")[2] + frames


def _opinion(where: doubtful.Where, number: int, box: Box) -> NDArray[np.int64]:
    """What a block or a tile says of a box; see `view.seams.Seams`."""
    labels = np.full(size(box)[1:], -1, np.int64)
    part = intersection(doubtful.box_of(where, number), box)
    if part is not None:
        labels[within(part, box)[1:]] = doubtful.labels_of(where, number, part)
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
