"""Take points as the objects of a series: what others have found, without outlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.tracking.detections import gather
from bigseg.core.tracking.link import bordered
from bigseg.grid import Block, Grid
from bigseg.io.geff import is_geff, read_geff
from bigseg.io.tables import write_table
from bigseg.io.track_points import Points
from bigseg.io.track_tables import read_places
from bigseg.stages import detections
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """Which points."""

    run: str
    url: str
    frames: int
    spacing: tuple[float, float, float]
    """Size of the points' unit along z, y, x, in physical units."""

    @property
    def grid(self) -> Grid:
        """One block: a table is read at once."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def open_points(url: str) -> Points:
    """Points of a table or a GEFF graph, whose links mean nothing here.

    Raises
    ------
    NotFound, ImageError, LineageError
        There are none, or they cannot be objects of a series.
    """
    return read_geff(url) if is_geff(url) else read_places(url)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Points:
    """All points."""
    return open_points(spec.url)


def block(spec: Spec, block: Block, data: Points) -> Facts:
    """Write the points of each frame as detections; what is outermost is at the border."""
    label = data.id if (data.id > 0).all() else np.arange(1, len(data.id) + 1)
    position = data.position * spec.spacing
    known: dict[str, NDArray[Any] | None] = {
        name: data.properties.get(name) for name in ("size", "intensity")
    }
    d = bordered(gather(data.frame, label, position, known))
    order = np.lexsort((label, data.frame))
    table = {
        "label": d.label.astype(np.uint64),
        "id": data.id[order],
        "frame": d.frame,
        **{axis: data.position[order, k] for k, axis in enumerate("zyx")},
        **{f"centroid_{axis}": d.position[:, k] for k, axis in enumerate("zyx")},
        "touches_border": np.zeros(0, np.bool_) if d.border is None else d.border,
    }
    if d.size is not None:
        table["voxels"] = d.size
    if d.intensity is not None:
        table["intensity"] = d.intensity
    starts = np.searchsorted(d.frame, np.arange(spec.frames + 1))
    for frame in range(spec.frames):
        rows = slice(starts[frame], starts[frame + 1])
        part = {name: column[rows] for name, column in table.items()}
        write_table(detections.frame_url(spec.run, frame), part)
    counts = np.diff(starts)
    return {
        "detections": len(d),
        "counts": counts.tolist(),
        "empty": np.flatnonzero(counts == 0).tolist(),
    }


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block counted."""
    return facts[0]
