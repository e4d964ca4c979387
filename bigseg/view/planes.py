"""Pictures of planes: which are shown, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.grid import Box, Index
from bigseg.types import Floats
from bigseg.view.outlines import Rgb, filled, highlight, overlay, shade
from bigseg.view.pictures import Picture, display_shape, resize_image, resize_labels
from bigseg.view.slices import (
    crowded,
    frames,
    fullest,
    of_frame,
    spread,
    window,
)
from bigseg.view.subject import Subject, blend

AXES = "zyx"
NAMES = {"z": "XY", "y": "XZ", "x": "YZ"}
MOST = 640
"""Voxels along an axis of what is shown at full resolution in 3D."""
DETAIL = 320
"""Pixels along an axis of a detail in 2D."""
OVERVIEW = 4096
"""Pixels along an axis that an overview is made of at most."""
SEAMS = 768
"""Pixels along an axis of the picture of block faces."""
PANEL = 560
"""Pixels of the longer side of a picture."""


@dataclass(frozen=True)
class Plane:
    """One plane of an image: a box that is one voxel thick along one axis of space."""

    box: Box
    """(t, z, y, x) at `level`."""
    axis: str
    """Axis that stands on the plane: z, y or x."""
    level: int = 0
    what: str = ""
    """What it is, before the coordinates."""

    @property
    def sides(self) -> tuple[int, int]:
        """Axes of space (0 to 2 for z, y, x) along the rows and columns of the picture."""
        down, across = (i for i in range(3) if AXES[i] != self.axis)
        return down, across


def caption(plane: Plane, shape: Index) -> str:
    """Say where a plane of an image of `shape` (t, z, y, x) lies."""
    at = AXES.index(plane.axis) + 1
    parts = [plane.what] if plane.what else []
    if shape[0] > 1:
        parts.append(f"frame {plane.box[0].start}")
    if shape[1] > 1:
        parts.append(f"{NAMES[plane.axis]} at {plane.axis} = {plane.box[at].start}")
    for side in plane.sides:
        box = plane.box[side + 1]
        parts.append(f"{AXES[side]} {box.start} to {box.stop}")
    if plane.level:
        parts.append(f"level {plane.level}")
    return ", ".join(parts)


def full_resolution(subject: Subject) -> list[Plane]:
    """Planes to show: three directions in 3D; an overview and details in 2D."""
    return _planes_3d(subject) if subject.ndim == 3 else _planes_2d(subject)


def _planes_3d(subject: Subject) -> list[Plane]:
    _, *shape = subject.shape
    chosen = frames(subject.table, subject.shape[0], 3)
    result = []
    for frame in chosen:
        table = of_frame(subject.table, frame)
        best = {axis: fullest(table, axis, n) for axis, n in zip(AXES, shape, strict=True)}
        around = [window(best[axis], n, MOST) for axis, n in zip(AXES, shape, strict=True)]
        positions = {axis: [best[axis]] for axis in AXES}
        if len(chosen) == 1:
            positions["z"] = spread(table, "z", shape[0], 3)
        for axis in AXES:
            for at in positions[axis]:
                space = [
                    slice(at, at + 1) if a == axis else w for a, w in zip(AXES, around, strict=True)
                ]
                result.append(Plane((slice(frame, frame + 1), *space), axis))
    return result


def _planes_2d(subject: Subject) -> list[Plane]:
    t, z, y, x = subject.shape
    chosen = [(frame, 0) for frame in frames(subject.table, t, 3)]
    if z > 1:
        chosen = [(frame, plane) for frame, _ in chosen for plane in _levels_of(subject, frame)][:3]
    result = []
    details = 3 if len(chosen) == 1 else 1
    for frame, plane in chosen:
        place = (slice(frame, frame + 1), slice(plane, plane + 1))
        table = of_frame(subject.table, frame)
        inside = (table["z0"] <= plane) & (plane < table["z1"])
        table = {name: column[inside] for name, column in table.items()}
        if max(y, x) > 2 * DETAIL:
            result.append(overview(subject, frame, plane))
        for region in crowded(table, (y, x), DETAIL, details):
            result.append(Plane((*place, *region), "z", what="Detail"))
    return result


def _levels_of(subject: Subject, frame: int) -> list[int]:
    table = of_frame(subject.table, frame)
    return spread(table, "z", subject.shape[1], 3 if subject.shape[0] == 1 else 1)


def overview(subject: Subject, frame: int, plane: int) -> Plane:
    """Choose the level and the region that show most of a plane in few pixels."""
    wanted = subject.levels()
    fitting = [n for n in wanted if max(subject.shape_at(n)[2:]) >= 800] or wanted[:1]
    level = fitting[-1]
    shape = subject.shape_at(level)
    factor = subject.shape[1] / shape[1]
    at = min(int(plane / factor), shape[1] - 1)
    region = [
        window(fullest(subject.table, a, full) * n / full, n, OVERVIEW)
        for a, n, full in zip("yx", shape[2:], subject.shape[2:], strict=True)
    ]
    return Plane((slice(frame, frame + 1), slice(at, at + 1), *region), "z", level, "Overview")


def read(subject: Subject, plane: Plane, target: int = PANEL) -> tuple[Floats, NDArray[Any]]:
    """Image, (y, x) or (y, x, 3), and labels (y, x) of a plane at display size."""
    flat = AXES.index(plane.axis)
    channels: Floats = np.take(subject.read_image(plane.box, plane.level), 0, flat + 1)
    labels = subject.read_labels(plane.box, plane.level).take(0, flat)
    shape = shown(subject, plane, target)
    return _fit(channels, shape), resize_labels(labels, shape)


def _fit(channels: Floats, shape: tuple[int, int]) -> Floats:
    return blend(np.stack([resize_image(channel, shape) for channel in channels]))


def shown(subject: Subject, plane: Plane, target: int = PANEL) -> tuple[int, int]:
    """Pixels (y, x) of the picture of a plane."""
    full, here = subject.shape, subject.shape_at(plane.level)
    spacing = [s * n / m for s, n, m in zip(subject.spacing, full[1:], here[1:], strict=True)]
    down, across = plane.sides
    lengths = [b.stop - b.start for b in plane.box[1:]]
    if plane.what == "Overview":
        target = 840
    finest = min(spacing[down], spacing[across])
    return display_shape(
        (lengths[down], lengths[across]),
        (spacing[down] / finest, spacing[across] / finest),
        target,
    )


def line_width(subject: Subject, plane: Plane) -> int:
    """Two pixels where voxels are magnified, else one."""
    down = plane.sides[0]
    length = plane.box[down + 1].stop - plane.box[down + 1].start
    return 2 if shown(subject, plane)[0] >= 1.5 * length else 1


def panels(subject: Subject, plane: Plane) -> list[Picture]:
    """The image, the image with outlines, and, if it is known, with those of the truth."""
    image, labels = read(subject, plane)
    width = line_width(subject, plane)
    draw = filled if subject.about.filled else overlay
    drawn = draw(image, labels, width)
    if plane.what == "Overview":
        return [Picture(drawn, "overview")]
    result = [Picture(shade(image), "image")] if subject.channels else []
    result.append(Picture(drawn, "result"))
    if subject.truth is not None:
        truth = subject.truth.read(plane.box)[0].take(0, AXES.index(plane.axis))
        resized = resize_labels(truth, shown(subject, plane))
        result.append(Picture(draw(image, resized, width), "truth"))
    return result


def seams(subject: Subject) -> tuple[Picture, Plane] | None:
    """Block faces, and the objects that cross them filled; None if there is nothing to show."""
    table = subject.table
    crossing = table["parts"] > 1 if "parts" in table else np.zeros(len(table["id"]), bool)
    if not crossing.any() or subject.labels is None:
        return None
    rows = {name: column[crossing] for name, column in table.items()}
    frame = int(np.bincount(rows["frame"]).argmax())
    rows = of_frame(rows, frame)
    _, z, y, x = subject.shape
    at = fullest(rows, "z", z)
    here = (rows["z0"] <= at) & (at < rows["z1"])
    rows = {name: column[here] for name, column in rows.items()}
    region = crowded(rows, (y, x), SEAMS, 1)[0]
    plane = Plane((slice(frame, frame + 1), slice(at, at + 1), *region), "z")
    flat = subject.read_image(plane.box)[:, 0]
    shape = shown(subject, plane, 840)
    labels = resize_labels(subject.read_labels(plane.box)[0], shape)
    width = 2 if shape[0] >= 1.5 * (region[0].stop - region[0].start) else 1
    rgb = highlight(_fit(flat, shape), labels, rows["id"], width)
    draw_faces(rgb, subject, plane)
    return Picture(rgb, "seams"), plane


def draw_faces(rgb: Rgb, subject: Subject, plane: Plane) -> None:
    """Draw the faces of blocks, or of tiles, as dashed white lines."""
    if subject.borders is not None:
        for border in subject.borders(plane.box):
            _draw_border(rgb, border, plane)
        return
    for side, space in enumerate(plane.sides):
        box, step = plane.box[space + 1], subject.grid.block[space + 1]
        zoom = rgb.shape[side] / (box.stop - box.start)
        for face in range((box.start // step + 1) * step, box.stop, step):
            at = min(round((face - box.start) * zoom), rgb.shape[side] - 1)
            line = rgb[at] if side == 0 else rgb[:, at]
            line[np.arange(len(line)) % 10 < 6] = 255


def _draw_border(rgb: Rgb, border: Box, plane: Plane) -> None:
    """Draw the outline of a box, where it lies in a plane."""
    spans, zooms = [], []
    for side, space in enumerate(plane.sides):
        box, own = plane.box[space + 1], border[space + 1]
        zooms.append(rgb.shape[side] / (box.stop - box.start))
        spans.append((own.start - box.start, own.stop - box.start))
    for side, other in ((0, 1), (1, 0)):
        along = slice(*(max(round(end * zooms[other]), 0) for end in spans[other]))
        for at in (round(end * zooms[side]) for end in spans[side]):
            if 0 < at < rgb.shape[side]:
                line = (rgb[at] if side == 0 else rgb[:, at])[along]
                line[np.arange(len(line)) % 10 < 6] = 255
