"""The parts of a report on a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from bigseg.view import page, svg, text
from bigseg.view.pictures import Picture, encode
from bigseg.view.planes import caption, full_resolution, panels, seams
from bigseg.view.subject import Subject
from bigseg.view.timings import MOST_FAILURES, SAMPLE, Failure, StepTimes

BUDGET = 2_700_000
"""Characters that the pictures of the gallery may take together."""
LISTED = 12
"""Values of a setting that are listed."""
PANELS = {
    "image": "Image",
    "result": "Objects found",
    "truth": "Truth",
    "overview": "",
    "seams": "",
}


def sizes(subject: Subject) -> tuple[NDArray[Any], str]:
    """Sizes of all objects, and their unit."""
    for column, power in (("volume", "³"), ("area", "²")):
        symbol = text.unit(subject.image.units.get("x"))
        if symbol and column in subject.table and not subject.about.anisotropy:
            return subject.table[column], symbol + power
    return subject.table["voxels"], "voxels" if subject.ndim == 3 else "pixels"


def summary(subject: Subject, steps: Sequence[StepTimes]) -> str:
    """Key numbers on top."""
    objects = len(subject.table["id"])
    values, unit = sizes(subject)
    across = int((subject.table["parts"] > 1).sum()) if objects else 0
    numbers = [(f"{objects:,}", "objects")]
    if objects:
        numbers.append((f"{text.number(float(np.median(values)))} {unit}", "median size"))
        numbers.append((text.share(across, objects), f"lie across {subject.about.part} faces"))
    if subject.scores:
        numbers.append((text.score(subject.scores["average_precision"][0]), "AP at IoU 0.5"))
    bars = [bar for step in steps for bar in step.bars]
    if bars:
        wall = max(b.stop for b in bars) - min(b.start for b in bars)
        numbers.append((text.seconds(wall), "first to last block"))
        numbers.append((text.size(max(s.peak_bytes for s in steps)), "peak memory of a worker"))
    return page.strip(numbers)


def setting(subject: Subject, run: str, version: str) -> str:
    """What was run on what."""
    image, volume = subject.image, subject.volume
    z, y, x = subject.spacing
    symbol = text.unit(image.units.get("x")) or "(no unit)"
    voxel = (z, y, x) if "z" in image.axes else (y, x)
    names = [image.channels[c] if c < len(image.channels) else "" for c in subject.channels]
    channels = ", ".join(
        f"{c} ({name})" if name else str(c) for c, name in zip(subject.channels, names, strict=True)
    )
    level = f"{subject.about.level} of {len(image.levels)}, NGFF {image.version}"
    shown = [("Image", image.url), ("Level", level), ("Channels", channels)]
    dtype = f"{volume.dtype}, " if subject.channels else ""
    rows = [
        *(shown if subject.channels else ()),
        ("Axes and shape", f"{', '.join(image.axes)}: {text.shape(volume.level.shape)}"),
        ("Voxels", f"{dtype}{' × '.join(f'{v:.4g}' for v in voxel)} {symbol}"),
        *subject.about.rows,
        ("Objects of", "volumes (3D)" if subject.ndim == 3 else "planes (2D)"),
        ("Blocks", f"{text.shape(subject.grid.block[1:])} voxels (z, y, x), {len(subject.grid):,}"),
        ("Labels", subject.about.target),
        ("Run", run),
        ("Made by", f"bigseg {version}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
    ]
    default, other = _settings(subject.about.settings)
    changed = page.table(("Setting", "Value", "Default"), other, numbers=False) if other else ""
    note = "Settings that differ from the defaults:" if other else "All settings have defaults."
    return (
        page.heading("What was run on what")
        + page.facts(rows)
        + f'<h3>Settings</h3><p class="note">{note}</p>{changed}'
        + page.folded(f"{len(default)} settings at their defaults", page.facts(default))
    )


def _settings(spec: BaseModel) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """Settings at their defaults, and those that are not."""
    default, other = [], []
    for name, field in type(spec).model_fields.items():
        if field.is_required():
            continue
        value = getattr(spec, name)
        if value == field.default:
            default.append((name, _value(value)))
        elif name != "output":
            other.append((name, _value(value), _value(field.default)))
    return default, other


def _value(value: Any) -> str:
    if value is None:
        return "automatic"
    if not isinstance(value, tuple):
        return str(value)
    more = f", … ({len(value):,} in all)" if len(value) > LISTED else ""
    return ", ".join(map(str, value[:LISTED])) + more


def scores(subject: Subject) -> str:
    """How well the objects agree with the truth, if it is known."""
    if not subject.scores:
        return ""
    found = subject.scores
    rows = [
        (f"{iou:g}", f"{true:,}", text.score(precision), text.score(error))
        for iou, true, precision, error in zip(
            found["thresholds"],
            found["true_positives"],
            found["average_precision"],
            found["error_rate"],
            strict=True,
        )
    ]
    more = [
        ("Mean AP, IoU 0.5 to 0.95", text.score(found["mean_average_precision"])),
        ("AJI (Kumar et al., 2017)", text.score(found["aji"])),
        ("AJI (as in Cellpose)", text.score(found["aji_cellpose"])),
        ("VOI split, merge (bits)", f"{_bits(found['voi_split'])}, {_bits(found['voi_merge'])}"),
    ]
    note = (
        f"{found['predicted']:,} objects found, {found['true']:,} in the truth, "
        f"{found.get('truth', '')}."
    )
    head = ("IoU at least", "true objects found", "AP", "error rate")
    return page.heading("Against the truth", note) + page.table(head, rows) + page.facts(more)


def _bits(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def gallery(subject: Subject) -> str:
    """Pictures of the objects and of the block faces."""
    if subject.labels is None:
        return page.heading("Objects", "The run has not written its labels.")
    groups = [(panels(subject, p), caption(p, subject.shape)) for p in full_resolution(subject)]
    across = seams(subject)
    if across is not None:
        groups.append(([across[0]], caption(across[1], subject.shape)))
    sources = iter(encode([picture for group, _ in groups for picture in group], BUDGET))
    drawn = [_row(group, sources, said) for group, said in groups]
    drawn_as = "filled with" if subject.about.filled else "outlined in"
    faces = drawn.pop() if across is not None else ""
    return (
        page.heading(
            "Objects",
            f"Each object is {drawn_as} a colour of its own, the same in every picture.",
        )
        + "".join(drawn)
        + _seams(subject, faces)
    )


def _row(group: list[Picture], sources: Any, said: str) -> str:
    return page.pictures([next(sources) for _ in group], [PANELS[p.caption] for p in group], said)


def _seams(subject: Subject, picture: str) -> str:
    objects = len(subject.table["id"])
    across = int((subject.table["parts"] > 1).sum()) if objects else 0
    part = subject.about.part
    many = f"{len(subject.grid):,} blocks" if subject.borders is None else f"{part}s"
    if len(subject.grid) == 1 and subject.borders is None:
        note = "The image is a single block."
    elif across == 0:
        note = f"No object lies across the faces of the {many}."
    else:
        note = (
            f"{across:,} of {objects:,} objects ({text.share(across, objects)}) lie across the "
            f"faces of the {many}. They are filled; dashed lines are {part} "
            f"faces. An object that ends straight along one was kept by one {part}, but not by its "
            "neighbour."
        )
    return page.heading(f"{part.capitalize()} seams", note) + picture


def distributions(subject: Subject) -> str:
    """Histograms of size and flow error."""
    if len(subject.table["id"]) == 0:
        return ""
    values, unit = sizes(subject)
    median = float(np.median(values))
    sizes_of = (
        "Size",
        svg.histogram(values, f"size ({unit})", mark=(median, f"median {text.number(median)}")),
    )
    other, drawn = _besides_size(subject)
    if not drawn:
        return page.heading("Sizes") + page.pair(sizes_of)
    return page.heading(f"Sizes and {other.lower()}") + page.pair(sizes_of, (other, drawn))


def _besides_size(subject: Subject) -> tuple[str, str]:
    """Name and histogram of what else is known of each object; empty if nothing is."""
    table, limit = subject.table, subject.about.flow_threshold
    if subject.about.pieces and "pieces" in table:
        name = f"{subject.about.pieces}"
        return name.capitalize(), svg.histogram(table["pieces"], f"{name} of an object")
    errors = table.get("flow_error", np.zeros(0))
    if not np.isfinite(errors).any():
        return "", ""
    mark = (limit, "flow_threshold") if limit else None
    return "Flow errors", svg.histogram(errors, "mean squared difference of flows", mark=mark)


def timings(steps: Sequence[StepTimes]) -> str:
    """Table of steps, and which worker did what when."""
    if not steps:
        return ""
    total = sum(step.seconds for step in steps)
    rows = [
        (
            step.name,
            f"{step.done:,} of {step.blocks:,}",
            text.seconds(step.median),
            text.seconds(step.slowest),
            text.seconds(step.seconds),
            text.share(step.seconds, total),
            text.seconds(step.wall),
            text.size(step.peak_bytes),
        )
        for step in steps
    ]
    head = ("Step", "blocks", "median", "slowest", "all blocks", "share", "wall", "peak memory")
    bars = [bar for step in steps for bar in step.bars]
    note = _network(steps, total)
    if any(step.done > SAMPLE for step in steps):
        note += f" Steps of more than {SAMPLE:,} blocks are reckoned from a sample of them."
    return (
        page.heading("Where the time went", note.strip())
        + page.table(head, rows)
        + "<h3>Workers</h3>"
        + svg.timeline(bars, list(dict.fromkeys(bar.kind for bar in bars)))
    )


def _network(steps: Sequence[StepTimes], total: float) -> str:
    for step in steps:
        if "network_seconds" in step.finished:
            took = step.finished["network_seconds"]
            return (
                f"The network took {text.seconds(took)}, {text.share(took, total)} of all workers' "
                f"time, and computed {step.finished.get('tile_redundancy', 0):.2f} pixels for "
                f"each that was kept, up to {step.finished.get('batch', 0)} tiles at once; "
                f"{step.finished.get('empty_blocks', 0):,} blocks were empty and skipped."
            )
    return ""


def failed(failures: Sequence[Failure]) -> str:
    """Blocks that failed, with their sentences."""
    if not failures:
        return page.heading("Failures", "No block failed.")
    rows = [(f.step, f.block, str(f.attempts), _fate(f), f.error) for f in failures]
    holes = sum(bool(f.hole) for f in failures)
    lost = sum(not (f.mended or f.hole) for f in failures)
    note = f"{lost} blocks are not done." if lost else "All of them were done when tried again."
    if holes:
        note = f"{holes} blocks are left out, as they kept failing. " + (note if lost else "")
    if len(failures) == MOST_FAILURES:
        note += f" The first {MOST_FAILURES} are listed."
    head = ("Step", "Block", "Attempts", "Now", "Error")
    return page.heading("Failures", note) + page.table(head, rows, numbers=False)


def _fate(failure: Failure) -> str:
    """What became of a block in the end."""
    if failure.hole:
        return f"left out: {failure.hole}"
    return "done later" if failure.mended else "not done"


def title(subject: Subject) -> str:
    """Head of the page."""
    about = subject.about
    return f'<h1>{escape(about.title)}</h1><p class="sub">{escape(about.said)}</p>'
