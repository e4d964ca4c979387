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
from bigseg.grid import Block, Grid
from bigseg.io.masks import Mask, opened_mask
from bigseg.io.ome import Image, describe
from bigseg.io.tables import read_table
from bigseg.run.folder import is_run, open_run
from bigseg.specs.segment import SegmentSpec
from bigseg.stages import objects, windows
from bigseg.stages.divisions import found_corrections
from bigseg.stages.evaluate import evaluation_url
from bigseg.stages.graph_report import found_certificates, found_seams
from bigseg.stages.normalize import ranges
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
    settings: SegmentSpec
    channels: tuple[int, ...]
    opinions: Opinions

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
            f"{subject.image.name}: {spec.settings.name}",
            [
                sections.title(subject),
                sections.summary(subject, steps),
                sections.scores(subject),
                corrected(found_corrections(spec.opinions.run)),
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
    region = spec.opinions.region
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
    image = describe(spec.settings.image)
    found = _ranges(spec, len(spec.channels))
    channels = spec.channels[: len(found[0])]  # a mean of channels has one range
    values: dict[str, Any] = {
        "settings": spec.settings,
        "image": image,
        "channels": channels,
        "ranges": found,
        "grid": spec.opinions.grid,
        "ndim": spec.opinions.ndim,
        "table": _table(spec.opinions.run),
        "labels": _labels(spec.settings.target),
        "scores": _scores(spec.run),
    }
    try:
        truth = opened_mask(values["scores"]["truth"])
        with truth as mask:
            yield Subject(**values, truth=_fitting(mask, spec))
    except (KeyError, BigsegError):  # nobody knows the truth, or it has gone
        yield Subject(**values)


def _fitting(mask: Mask, spec: Spec) -> Mask | None:
    shape = spec.opinions.shape
    mask = mask.like(Mask("", "tzyx", shape, shape, lambda box: np.zeros(0)))
    return mask if mask.shape == shape else None


def _ranges(spec: Spec, channels: int) -> list[list[tuple[float, float]]]:
    if spec.settings.intensity is not None:
        return [[spec.settings.intensity] * channels]
    if spec.settings.window is not None:
        return windows.usual_ranges(spec.run) or [[(0.0, 1.0)] * channels]
    try:
        return ranges(spec.run)
    except FileNotFoundError:
        return [[(0.0, 1.0)] * channels]


def _table(run: str) -> dict[str, Any]:
    try:
        table = read_table(objects.table_url(run))
        return {"parts": np.zeros(len(table["id"]), np.int32)} | table  # not known of slices
    except NotFound:
        names = ("id", "frame", "voxels", "z0", "y0", "x0", "z1", "y1", "x1", "z", "y", "x")
        return {name: np.zeros(0, np.int64) for name in (*names, "parts")}


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
