"""Whether blocks agreed: numbers of each face, and pictures of the pairs that are least sure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.grid import Box
from bigseg.types import Facts, Floats
from bigseg.view import page
from bigseg.view.outlines import Rgb, edges, filled, overlay, shade
from bigseg.view.pictures import Picture, encode, resize_labels
from bigseg.view.planes import AXES, Plane, caption, draw_faces, read, shown
from bigseg.view.slices import Table, window
from bigseg.view.subject import Subject

BUDGET = 900_000
"""Characters that all pictures of pairs may take together."""
PAIRS = 10
FACES = 10
SIDE = (48, 128)
"""Voxels of a picture along its finest axis, at least and at most."""
PANEL = 256
"""Pixels of the longer side of a picture."""
FIRST, SECOND, BOTH = (255, 150, 20), (40, 160, 255), (255, 255, 255)
COUNTS = {
    "edges": "pairs",
    "matched": "matched",
    "doubtful": "doubtful",
    "outvoted": "outvoted",
    "split": "split objects",
    "cut_voxels": "cut voxels",
    "alone": "alone",
}
TOUCHING = (
    "Every pair of supervoxels that touch across a face is weighed. Matched: one object in the "
    "end, surely. Doubtful: evidence for what was decided is below three to one; outvoted: it was "
    "against it, but the rest of the graph was for it. Alone: a supervoxel at the face that "
    "touches nothing beyond."
)
NOTE = (
    "Where two blocks have labelled the same voxels, every pair of their objects that overlap is "
    "compared. Matched: one object in the end, surely. Doubtful: evidence for what was decided is "
    "below three to one; outvoted: it was against it, but the rest of the graph was for it. Split "
    "objects: the other block saw them, but gave most of them to another object. Alone: the other "
    "block saw nothing."
)


@dataclass(frozen=True)
class Seams:
    """What is known of the faces of blocks."""

    name: Callable[[int], str]
    """What a block, by its number, is called."""
    box: Callable[[int], Box]
    """Voxels (t, z, y, x) that a block has labelled."""
    faces: Table
    """A row per face."""
    worst: Table
    """Pairs of objects of two blocks, the least sure first."""
    totals: Mapping[str, Facts]
    """Sums over faces, edges and corners."""
    opinion: Callable[[int, Box], NDArray[np.int64]]
    """What a block, by its number, says of the voxels of a box: (z, y, x) local ids; -1 of those
    that it does not know."""
    named: bool = True
    """Whether ids are those of the label image, and not of objects of planes."""


def seams_in_numbers(subject: Subject, found: Seams | None) -> str:
    """Totals, the faces with most trouble, and the worst pairs as pictures."""
    if found is None or len(found.faces["a"]) == 0:
        return ""
    return (
        page.heading(
            "Seams in numbers", _worded(NOTE if _overlapping(found) else TOUCHING, subject)
        )
        + _totals(found, subject)
        + _faces(found, subject)
        + _pairs(subject, found)
    )


def _overlapping(found: Seams) -> bool:
    """Whether what was compared is overlaps, and not contacts."""
    return "contact" not in found.worst or "n_uv" in found.worst


def _worded(text: str, subject: Subject) -> str:
    """Text on blocks, as one on whatever was compared."""
    part = subject.about.part
    return text.replace("block", part).replace("Block", part.capitalize())


def _totals(found: Seams, subject: Subject) -> str:
    counts = _counts(found)
    rows = [
        (
            f"{kind} ({sums['count']:,})" if "count" in sums else kind,
            *(f"{sums[name]:,}" if name in sums else "–" for name in counts),
        )
        for kind, sums in found.totals.items()
        if "count" in sums or subject.borders is None
    ]
    return page.table((_worded("Blocks touch over", subject), *counts.values()), rows)


def _counts(found: Seams) -> dict[str, str]:
    """What is told of each face: of contacts there is no overlap to tell of."""
    overlaps = _overlapping(found)
    return {n: said for n, said in COUNTS.items() if overlaps or n not in ("split", "cut_voxels")}


def _faces(found: Seams, subject: Subject) -> str:
    faces = found.faces
    trouble = faces["doubtful"] + faces["split"] + faces["alone"]
    order = np.argsort(-trouble, kind="stable")[:FACES]
    order = order[trouble[order] > 0]
    if len(order) == 0:
        return "<p>At no face are objects doubtful, split or alone.</p>"
    rows, names = [], _counts(found)
    for row in order.tolist():
        axis = faces["axis"][row]
        place = f"{'tzyx'[axis]} = {faces['position'][row]:,}" if axis > 0 else "–"
        counts = (f"{faces[name][row]:,}" for name in names)
        margin = faces["margin"][row]
        ends = (found.name(int(faces[side][row])) for side in "ab")
        rows.append((" | ".join(ends), place, *counts, f"{margin:.1f}" if margin < 1e9 else "–"))
    head = (_worded("Blocks", subject), "face", *names.values(), "margin")
    said = f"{(trouble > 0).sum():,} of {len(trouble):,} faces have some."
    return f"<h3>Faces with most of them</h3><p>{said}</p>" + page.table(head, rows)


def _pairs(subject: Subject, found: Seams) -> str:
    worst = {name: column[:PAIRS] for name, column in found.worst.items()}
    known = np.flatnonzero(worst["z"] >= 0).tolist()
    if subject.labels is None or not known:
        return ""
    groups = []
    for row in known:
        pair = {name: column[row].item() for name, column in worst.items()}
        plane = _plane(subject, found, pair)
        groups.append(
            (
                _panels(subject, found, pair, plane),
                _said(found, pair, subject.about.part) + caption(plane, subject.shape),
            )
        )
    sources = iter(encode([p for panels, _ in groups for p in panels], BUDGET))
    return (
        "<h3>The pairs that are least sure</h3>"
        + _key(subject)
        + "".join(
            page.pictures([next(sources) for _ in panels], [p.caption for p in panels], said)
            for panels, said in groups
        )
    )


def _key(subject: Subject) -> str:
    part = subject.about.part
    names = (f"the first {part}'s opinion", f"the second {part}'s", "both")
    keys = "".join(
        f'<span><i style="background:rgb{colour};border:1px solid #777"></i>{name}</span>'
        for colour, name in zip((FIRST, SECOND, BOTH), names, strict=True)
    )
    return f'<p class="keys">{keys}<span>dashed: faces of {part}s</span></p>'


def _said(found: Seams, pair: Facts, part: str) -> str:
    """What the evidence was, and what was decided."""
    done = "one object" if pair["kept"] else "kept apart"
    if found.named:
        ids = dict.fromkeys(pair[name] for name in ("id_u", "id_v"))
        done += f" ({' and '.join(str(id) if id else 'dropped' for id in ids)})"
    names = (found.name(pair[f"{side}_block"]) for side in "uv")
    parts = [f"{part.capitalize()}s {' and '.join(names)}"]
    if "n_uv" in pair:
        likeness = pair["n_uv"] / max((pair["n_u"] * pair["n_v"]) ** 0.5, 1)
        counts = f"{pair['n_u']:,} and {pair['n_v']:,} voxels, {pair['n_uv']:,} shared"
        parts.append(f"{counts} (likeness {likeness:.2f})")
    elif "contact" in pair:
        parts.append(f"{pair['contact']:,} voxels in contact")
    side = "for it" if pair["margin"] >= 0 else "against it"
    return f"{', '.join(parts)}, {done}; log-odds {abs(pair['margin']):.1f} {side}: "


def _plane(subject: Subject, found: Seams, pair: Facts) -> Plane:
    """Plane across the face, through the pair, large enough for its objects."""
    boxes = (found.box(pair[name]) for name in ("u_block", "v_block"))
    differ = [a.start != b.start for a, b in zip(*boxes, strict=True)]
    axis = "y" if differ[1] and not any(differ[2:]) else "z"
    voxel = np.array(subject.spacing) / min(subject.spacing)
    ids = [pair["id_u"], pair["id_v"]] if found.named else []
    rows = np.isin(subject.table["id"], ids)
    extents = [subject.table[f"{a}1"][rows] - subject.table[f"{a}0"][rows] for a in AXES]
    side = np.clip(
        1.5 * max(e.max(initial=0) * v for e, v in zip(extents, voxel, strict=True)), *SIDE
    )
    box = [slice(pair["t"], pair["t"] + 1)]
    for name, length, each in zip(AXES, subject.shape[1:], voxel, strict=True):
        at = pair[name]
        around = window(at, length, max(round(side / each), 1))
        box.append(slice(at, at + 1) if name == axis else around)
    return Plane(tuple(box), axis)


def _panels(subject: Subject, found: Seams, pair: Facts, plane: Plane) -> list[Picture]:
    shape = shown(subject, plane, PANEL)
    image, labels = read(subject, plane, PANEL)
    flat = AXES.index(plane.axis)
    said = (found.opinion(pair[f"{side}_block"], plane.box) for side in "uv")
    opinions = [resize_labels(np.take(labels, 0, flat), shape) for labels in said]
    paint = filled if subject.about.filled else overlay
    said_by = _worded("What both blocks said", subject)
    drawn = {said_by: both_opinions(image, opinions, (pair["u"], pair["v"]))}
    drawn["Result"] = paint(image, labels, 2)
    for rgb in drawn.values():
        draw_faces(rgb, subject, plane)
    if subject.channels:
        drawn = {"Image": shade(image), **drawn}
    return [Picture(rgb, name) for name, rgb in drawn.items()]


def both_opinions(
    image: Floats, opinions: list[NDArray[np.int64]], pair: tuple[int, int], width: int = 2
) -> Rgb:
    """Outline the objects of two blocks, the pair strongly and others faintly.

    Parameters
    ----------
    image : (y, x) or (y, x, 3) float
    opinions : two of (y, x)
        Local ids; -1 where a block does not know.
    pair
        Id of an object of each.
    """
    rgb = shade(0.8 * image)
    others = [_outline(labels, labels != own) for labels, own in zip(opinions, pair, strict=True)]
    for mask, colour in zip(others, (FIRST, SECOND), strict=True):
        rgb[mask] = (rgb[mask].astype(np.uint16) + np.array(colour)) // 2 // 16 * 16
    one, two = (
        _outline(labels, labels == own, width) for labels, own in zip(opinions, pair, strict=True)
    )
    for mask, colour in ((one, FIRST), (two, SECOND), (one & two, BOTH)):
        rgb[mask] = colour
    return rgb


def _outline(labels: NDArray[Any], mask: NDArray[np.bool_], width: int = 1) -> NDArray[np.bool_]:
    """Edges of the objects in a mask; where the block knows no further, nothing ends."""
    known = labels >= 0
    if not known.any():
        return np.zeros_like(known)
    rows, columns = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    inside = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    found = np.zeros_like(known)
    found[inside] = edges(labels[inside], width) & mask[inside]
    return found
