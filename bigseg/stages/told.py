"""What a report is told of a run of each kind: what was asked for, and what its pages show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from bigseg.core.objects import HIGH, LOW
from bigseg.errors import NotFound
from bigseg.grid import Box, Grid
from bigseg.io.ome import Image, describe
from bigseg.io.tables import read_table
from bigseg.specs.maps import EmSpec
from bigseg.specs.segment import SegmentSpec
from bigseg.specs.tiles import MergeSpec
from bigseg.stages import objects, tiles, windows, write_tiles
from bigseg.stages.normalize import ranges
from bigseg.view.slices import Table
from bigseg.view.subject import About

Settings = SegmentSpec | EmSpec | MergeSpec
Ranges = list[list[tuple[float, float]]]


def about(settings: Settings, image: Image, tiled: write_tiles.Spec | None) -> About:
    """What the page says of what was asked for."""
    if isinstance(settings, MergeSpec):
        return _about_tiles(settings, tiled)
    if isinstance(settings, EmSpec):
        return About(
            title=f"{image.name}: {settings.name}",
            said=f"Segmented by bigseg from maps of {settings.source}",
            rows=[("Maps of", settings.source), ("Supervoxels by", settings.method)],
            target=settings.target,
            settings=settings,
            level=settings.level,
            filled=True,
            pieces="supervoxels",
        )
    return About(
        title=f"{image.name}: {settings.name}",
        said=f"Segmented by bigseg with the model {settings.model}",
        rows=[("Model", settings.model)],
        target=settings.target,
        settings=settings,
        level=settings.level,
        anisotropy=settings.anisotropy,
        flow_threshold=settings.flow_threshold,
    )


def _about_tiles(settings: MergeSpec, tiled: write_tiles.Spec | None) -> About:
    rows = []
    if tiled is not None:
        named = list(dict.fromkeys(map(str, tiles.placed(tiled.tiles).files)))
        rows = [("Tiles", f"{len(named):,}, the first {named[0]}")]
    return About(
        title=settings.target.rstrip("/").rpartition("/")[2],
        said="Labels of tiles, merged by bigseg",
        rows=rows,
        target=settings.target,
        settings=settings,
        filled=True,
        part="tile",
    )


def shown(settings: Settings, tiled: write_tiles.Spec | None) -> Image:
    """Image that the labels are of; of tiles there is none, and the label image's plan serves."""
    if tiled is not None:
        return write_tiles.planned_image(tiled, 1)
    assert not isinstance(settings, MergeSpec)
    return describe(settings.image)


def ranges_of(run: str, settings: Settings, image: Image, channels: int) -> Ranges:
    """Low and high of each channel, for each frame or for all."""
    usual = [[(0.0, 1.0)] * channels]
    if isinstance(settings, MergeSpec):
        return usual
    if isinstance(settings, EmSpec):
        return [[(0.0, 1.0 if image.dtype.kind == "f" else 255.0)] * channels]
    if settings.intensity is not None:
        return [[settings.intensity] * channels]
    if settings.window is not None:
        return windows.usual_ranges(run) or usual
    try:
        return ranges(run)
    except FileNotFoundError:
        return usual


def table_of(run: str, grid: Grid, *, pieces: bool) -> Table:
    """Object table; `parts` above 1 means that an object lies across the faces of blocks.

    Parameters
    ----------
    pieces
        Whether a block may have several pieces of one object, so that their number says nothing.
    """
    try:
        table = dict(read_table(objects.table_url(run)))
    except NotFound:
        names = ("id", "frame", "voxels", *LOW, *HIGH, "z", "y", "x", "parts")
        return {name: np.zeros(0, np.int64) for name in names}
    if pieces or "parts" not in table:
        spans = zip(grid.block[1:], LOW, HIGH, strict=True)
        across = [table[low] // n != (table[high] - 1) // n for n, low, high in spans]
        table["pieces"] = table.get("parts", np.zeros(len(table["id"]), np.int32))
        table["parts"] = 1 + np.logical_or.reduce(across).astype(np.int32)
    return table


def borders(tiled: write_tiles.Spec) -> Callable[[Box], Sequence[Box]]:
    """Boxes of the tiles that meet a box."""
    return partial(_meeting, tiled.tiles)


def _meeting(tiled: tiles.Spec, box: Box) -> list[Box]:
    layout = tiles.placed(tiled).layout
    return [layout.box(int(number)) for number in layout.meeting(box)]
