"""Show what a run did in one self-contained page, `report/report.html` in its folder.

Only the slices and regions that are shown are read, so the page costs as little for an image of
terabytes as for a small one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from bigseg import files
from bigseg.errors import BigsegError, NotFound
from bigseg.grid import Block, Grid, Index
from bigseg.io.masks import Mask, opened_mask
from bigseg.io.ome import Image, describe
from bigseg.run.folder import is_run, open_run
from bigseg.specs.maps import EmSpec
from bigseg.stages import told, write_tiles
from bigseg.stages.divisions import found_corrections
from bigseg.stages.evaluate import evaluation_url
from bigseg.stages.graph_report import found_certificates, found_seams
from bigseg.stages.opinions import Opinions
from bigseg.types import Facts, StageSpec
from bigseg.version import VERSION
from bigseg.view import page, sections
from bigseg.view.certificate import certificate
from bigseg.view.corrected import corrected
from bigseg.view.region import looked_at
from bigseg.view.seams import seams_in_numbers
from bigseg.view.subject import Subject
from bigseg.view.timings import StepTimes, failures, step_times


class Spec(StageSpec):
    """What is reported on."""

    run: str
    settings: told.Settings
    channels: tuple[int, ...]
    """Of the image that are shown; none if there is no image."""
    opinions: Opinions | None = None
    """Blocks of the labels."""
    tiled: write_tiles.Spec | None = None
    """Tiles that were merged, instead."""

    @property
    def graph(self) -> str:
        """Where the graph of the objects is."""
        return self.opinions.run if self.opinions else self.run

    @property
    def blocks(self) -> Grid:
        """Blocks in which the labels are written."""
        where = self.opinions or self.tiled
        assert where is not None
        return where.grid

    @property
    def ndim(self) -> int:
        """Whether objects are of planes or of volumes."""
        where = self.opinions or (self.tiled and self.tiled.tiles)
        assert where
        return where.ndim

    @property
    def grid(self) -> Grid:
        """One block: there is nothing to share out."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def url(run: str) -> str:
    """Where the page of a run is."""
    return files.join(run, "report", "report.html")


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan of the run has not found."""


def prepare(spec: Spec) -> None:
    """Nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing has to be loaded; `block` reads what it shows."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Write the page."""
    text = make_page(spec)
    files.put(url(spec.run), text.encode())
    return {"bytes": len(text.encode())}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say where the page is."""
    return {"report": url(spec.run)}


def renew(run: str) -> str:
    """Write the page of a run again, after an evaluation or where blocks failed; return its URL.

    Raises
    ------
    NotFound
        If there is no run, or it has no report.
    """
    for step in open_run(run).steps:
        if isinstance(step.spec, Spec):
            block(step.spec, step.spec.grid[0], None)
            return url(run)
    raise NotFound(f"The run {run} has no step that reports.")


def make_page(spec: Spec) -> str:
    """Page of a run, however far it has got."""
    run = open_run(spec.run) if is_run(spec.run) else None
    steps = step_times(run) if run else []
    with _subject(spec) as subject:
        return page.page(
            subject.about.title,
            [
                sections.title(subject),
                sections.summary(subject, steps),
                sections.scores(subject),
                corrected(found_corrections(spec.graph)),
                sections.gallery(subject),
                _looked_at(spec, subject, steps),
                seams_in_numbers(subject, found_seams(run) if run else None),
                *map(certificate, found_certificates(run) if run else ()),
                sections.distributions(subject),
                sections.timings(steps),
                sections.failed(failures(run) if run else []),
                sections.setting(subject, spec.run, run.version if run else VERSION),
            ],
        )


def _looked_at(spec: Spec, subject: Subject, steps: Sequence[StepTimes]) -> str:
    """Part on what was skipped; nothing if objects were looked for everywhere."""
    region = spec.opinions.region if spec.opinions else None
    if region is None:
        return ""
    names = {"predict": "skipped_blocks", "label": "skipped"}
    skipped = {
        step.name: (int(step.finished.get(names[step.name], 0)), step.blocks)
        for step in steps
        if step.name in names
    }
    try:
        seen = region.overview()
    except NotFound:  # the mask has gone since
        seen = None
    return looked_at(seen, subject.grid, subject.spacing[1:], skipped)


@contextmanager
def _subject(spec: Spec) -> Iterator[Subject]:
    """What the page shows; the truth stays open as long as the context."""
    image = told.shown(spec.settings, spec.tiled)
    found = told.ranges_of(spec.run, spec.settings, image, len(spec.channels))
    pieces = isinstance(spec.settings, EmSpec)
    values: dict[str, Any] = {
        "about": told.about(spec.settings, image, spec.tiled),
        "image": image,
        "channels": spec.channels[: len(found[0])],  # a mean of channels has one range
        "ranges": found,
        "grid": spec.blocks,
        "ndim": spec.ndim,
        "table": told.table_of(spec.graph, spec.blocks, pieces=pieces),
        "labels": _labels(spec.settings.target),
        "borders": told.borders(spec.tiled) if spec.tiled else None,
        "scores": _scores(spec.run),
    }
    try:
        truth = opened_mask(values["scores"]["truth"])
        with truth as mask:
            yield Subject(**values, truth=_fitting(mask, spec.blocks.shape))
    except (KeyError, BigsegError):  # nobody knows the truth, or it has gone
        yield Subject(**values)


def _fitting(mask: Mask, shape: Index) -> Mask | None:
    mask = mask.like(Mask("", "tzyx", shape, shape, lambda box: np.zeros(0)))
    return mask if mask.shape == shape else None


def _labels(target: str) -> Image | None:
    try:
        return describe(target)
    except BigsegError:
        return None


def _scores(run: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(files.get(evaluation_url(run)))
        return found
    except FileNotFoundError:
        return {}
