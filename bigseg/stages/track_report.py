"""Show what tracking found in one self-contained page: trees, film strips, numbers, times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.tracking.lineage import Lineages
from bigseg.core.tracking.link import reach_of
from bigseg.grid import Block, Box, Grid
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.run.folder import Run, open_run
from bigseg.specs.track import TrackSpec
from bigseg.stages import learn, lineages, write_tracks
from bigseg.stages.report import url
from bigseg.types import Facts, Floats, StageSpec
from bigseg.version import VERSION
from bigseg.view import film, page, sections, svg, text
from bigseg.view.lineage_tree import lineage_trees
from bigseg.view.pictures import Picture, encode
from bigseg.view.timings import StepTimes, failures, step_times

STRIPS = 3
BUDGET = 1_500_000
"""Characters that all pictures may take together."""
WIDEST = 1500
"""Pixels of a frame that is read for the overview."""


class Spec(StageSpec):
    """What is reported on."""

    settings: TrackSpec
    run: str
    frames: int
    unit: str | None = None
    """Of positions, where known."""
    write: write_tracks.Spec | None
    """How labels are written, of which pictures are made; None where points are tracked."""

    @property
    def grid(self) -> Grid:
        """One block: there is nothing to share out."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing has to be loaded; `block` reads what it shows."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Write the page."""
    content = make_page(spec).encode()
    files.put(url(spec.run), content)
    return {"bytes": len(content)}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say where the page is."""
    return {"report": url(spec.run)}


def make_page(spec: Spec) -> str:
    """Page of a run."""
    run = open_run(spec.run)
    steps = step_times(run)
    table, found = lineages.read_lineages(run.url)
    tracks = read_table(lineages.tracks_url(run.url))
    name = escape(spec.settings.target.rstrip("/").rsplit("/", 1)[-1])
    return page.page(
        f"Tracks: {name}",
        [
            f'<h1>{name}</h1><p class="sub">Tracked by bigseg, {escape(spec.settings.labels)}</p>',
            _summary(spec, found, steps),
            "" if spec.write is None else _overview(spec, spec.write),
            _trees(spec, found),
            "" if spec.write is None else _divisions(spec, spec.write, table, found),
            _distributions(spec, table, tracks),
            _learned(run),
            _sources(spec, steps),
            sections.timings(steps),
            sections.failed(failures(run)),
            _setting(spec, run),
        ],
    )


def _summary(spec: Spec, found: Lineages, steps: Sequence[StepTimes]) -> str:
    facts = {step.name: step.finished for step in steps}
    counted = facts.get("lineages", {})
    solved = facts.get("link", {})
    numbers = [
        (f"{counted.get('detections', 0):,}", "objects in all frames"),
        (f"{len(found):,}", "tracks"),
        (f"{counted.get('lineages', 0):,}", "lineages"),
        (f"{counted.get('divisions', 0):,}", "divisions"),
        (f"{counted.get('rejected', 0):,}", "objects taken for false"),
    ]
    if counted.get("rivals"):
        numbers.append((f"{counted['rivals']:,}", "objects given up for rivals"))
    if spec.settings.merging:
        numbers.append((f"{counted.get('merges', 0):,}", "merges"))
    if solved.get("worst_gap") is not None:
        numbers.append((f"{solved['worst_gap']:.2g}", "farthest from the optimum, of all parts"))
    return page.strip(numbers)


def _overview(spec: Spec, write: write_tracks.Spec) -> str:
    reel = _reel(spec, write, max(write.found.shape[2:]))
    last = reel.shape[0] - 1
    pictures = film.overview(reel, sorted({0, last // 2, last}))
    return page.heading(
        "The series", "Each object has the colour of its track, in all frames."
    ) + _row(pictures, "First, middle and last frame.")


def _trees(spec: Spec, found: Lineages) -> str:
    drawing, count = lineage_trees(found, spec.frames)
    merge = ", where two lines meet a merge" if spec.settings.merging else ""
    note = f"The {count} largest lineages: time runs to the right, a fork is a division{merge}."
    return page.heading("Lineages", note if count else "") + drawing


def _divisions(spec: Spec, write: write_tracks.Spec, table: Table, found: Lineages) -> str:
    """Film strips of some divisions."""
    spacing = np.array(write.found.spacing)
    centre = np.stack([table[axis] for axis in "zyx"], axis=1) / spacing
    width = np.maximum(table["x1"] - table["x0"], table["y1"] - table["y0"]).astype(float)
    chosen = film.events(found, centre, width, STRIPS)
    if not chosen:
        return ""
    reel = _reel(spec, write, 0)
    rows = [
        _row(
            film.strip(reel, event),
            f"Track {event.mother} divides after frame {event.frame} into "
            f"{' and '.join(map(str, event.daughters))}.",
        )
        for event in chosen
    ]
    note = "The family in its colours, all others dimmed."
    return page.heading("Divisions", note) + "".join(rows)


def _row(pictures: Sequence[Picture], caption: str) -> str:
    sources = encode(pictures, BUDGET // (STRIPS + 1))
    names = [picture.caption for picture in pictures]
    style = f"grid-template-columns:repeat({len(pictures)},1fr)"
    return page.pictures(sources, names, caption).replace(
        f'class="row n{len(pictures)}"', f'class="row" style="{style}"'
    )


def _distributions(spec: Spec, table: Table, tracks: Table) -> str:
    unit = text.unit(spec.unit) or "voxels"
    left = svg.histogram(table["displacement"], f"{unit} from one frame to the next")
    right = svg.histogram(tracks["end"] - tracks["begin"] + 1, "frames")
    return page.heading("How far, how long") + page.pair(("Steps", left), ("Tracks", right))


def _learned(run: Run) -> str:
    """Numbers behind the costs."""
    try:
        model = learn.read_model(run.url)
    except FileNotFoundError:
        return ""
    percent = {
        "divides": "divides",
        "disappears": "disappears",
        "appears": "appears",
        "missed": "is missed in a frame",
        "false": "is false",
    }
    rows = [
        (f"Share that {what}", f"{100 * getattr(model, name):.3g} %")
        for name, what in percent.items()
    ]
    if model.merges:
        rows.append(("Share that two became", f"{100 * model.merges:.3g} %"))
    rows.append(("Usual step", f"{model.steps[0].scale:.3g}"))
    rows.append(("Usual distance of daughters", f"{np.exp(model.separation[0]):.3g}"))
    spec = next(step.spec for step in run.steps if isinstance(step.spec, learn.Spec))
    reach = reach_of(model, spec.settings)
    rows.append(("Farthest step that was sought", f"{reach.move[0]:.3g}"))
    rows.append(("Farthest daughter that was sought", f"{reach.division:.3g}"))
    if model.drift:
        far = np.linalg.norm(np.diff(model.drift, axis=0), axis=1).max()
        rows.append(("Most that the image drifts in a frame, taken back", f"{far:.3g}"))
    note = (
        "Estimated from the series itself"
        if spec.model is None
        else "Fitted to true tracks of a like series"
    ) + "; all costs follow from them. Lengths are in the unit of the voxel size."
    return page.heading("What was learned", note) + page.facts(rows)


def _sources(spec: Spec, steps: Sequence[StepTimes]) -> str:
    """How much was taken from each of several label images."""
    facts = next((step.finished for step in steps if step.name == "lineages"), {})
    names = [spec.settings.source, *spec.settings.alternatives]
    if len(names) == 1:
        return ""
    rows = [(name, f"{n:,} objects") for name, n in zip(names, facts["sources"], strict=True)]
    note = "At each place those labels were taken that go best with the frames before and after."
    return page.heading("Labels that compete", note) + page.facts(rows)


def _setting(spec: Spec, run: Run) -> str:
    values = spec.settings.model_dump()
    rows = [(name, str(value)) for name, value in values.items() if value is not None]
    made = f"bigseg {VERSION}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return page.heading("What was run on what") + page.facts(
        [*rows, ("run", run.url), ("made by", made)]
    )


def _reel(spec: Spec, write: write_tracks.Spec, widest: int) -> film.Reel:
    """Frames at the finest level, or at one that is small enough to be shown whole."""
    image, number = write_tracks.label_image(write), 0
    while widest and max(Volume(image, number).shape[3:]) > WIDEST:
        if number + 1 == len(image.levels):
            break
        number += 1
    volume = Volume(image, number)
    t, _, z, y, x = volume.shape

    def labels(box: Box) -> NDArray[Any]:
        found: NDArray[Any] = volume.read(box)[0, 0]
        return found

    return film.Reel((t, z, y, x), labels, _bright(spec, write, number), volume.spacing)


def _bright(spec: Spec, write: write_tracks.Spec, level: int) -> Any:
    """Brightness of boxes at a level, scaled by the frame's own; None without an image."""
    if spec.settings.image is None:
        return None
    source = Volume.open(spec.settings.image, level)
    channel = write.found.channel

    def bright(box: Box) -> Floats:
        data = source.read(box, (channel,))[0, 0].astype(np.float32)
        low, high = np.percentile(data, (1, 99.8))
        scaled: Floats = (data - low) / max(float(high - low), 1e-6)
        return scaled

    return bright
