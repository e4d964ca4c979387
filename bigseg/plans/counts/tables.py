"""Small objects, each a request: tables of blocks, histograms, and what is asked for in vain.

Those whose number follows that of blocks are counted; each step has a few more.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import prod
from typing import Any

from bigseg.grid import Grid
from bigseg.stages import (
    components,
    detect,
    detections,
    label,
    links,
    merge,
    normalize,
    objects,
    overlap,
    overlaps,
    regions,
    seams,
    solve,
    stack,
    supervoxels,
    tile_edges,
    tiles,
    windows,
    write,
    write_slices,
    write_tiles,
    write_tracks,
)
from bigseg.types import StageSpec


def table_requests(spec: StageSpec) -> tuple[int, int]:
    """GETs and PUTs of small objects by all blocks of a step, and by its end."""
    return next((count(spec) for kind, count in COUNTS if isinstance(spec, kind)), (0, 0))


def _each(gets: int, puts: int) -> Callable[[Any], tuple[int, int]]:
    """So many for each block."""
    return lambda spec: (gets * len(spec.grid), puts * len(spec.grid))


def _seams(spec: seams.Spec) -> tuple[int, int]:
    """Nodes and edges of all blocks, and what groups of them have counted."""
    return 2 * prod(spec.joined.counts) + 3 * len(spec.grid), 3 * len(spec.grid)


def _and_later(grid: Grid) -> int:
    """Pairs of a block and itself, or a later one that touches it."""
    return sum(
        prod(count - abs(s) for count, s in zip(grid.counts[1:], step, strict=True))
        * grid.counts[0]
        for step in product((-1, 0, 1), repeat=3)
        if step >= (0, 0, 0) and all(abs(s) < c for s, c in zip(step, grid.counts[1:], strict=True))
    )


COUNTS: tuple[tuple[type | tuple[type, ...], Callable[[Any], tuple[int, int]]], ...] = (
    ((normalize.Spec, windows.Spec), _each(1, 1)),
    ((label.Spec, supervoxels.Spec, tiles.Spec, detect.Spec, stack.Spec), _each(0, 1)),
    ((merge.Spec, tile_edges.Spec), _each(1, 1)),
    # Seeds of a block and of later ones that touch it.
    (regions.Spec, lambda spec: (_and_later(spec.grid), len(spec.grid))),
    # Edges of all blocks.
    (components.Spec, lambda spec: (prod(spec.counts), 2 * spec.packs)),
    (solve.Spec, _each(2, 2)),
    # Nodes of all blocks, for what is kept and for what it is.
    (objects.Spec, lambda spec: (2 * prod(spec.counts), 0)),
    # Final ids, and whether anything was divided by hand.
    ((write.Spec, write_tiles.Spec), _each(3, 0)),
    # Gaps, and final ids twice; tracks of a frame.
    (write_slices.Spec, _each(3, 0)),
    (write_tracks.Spec, _each(1, 0)),
    (seams.Spec, _seams),
    # Nodes of planes, and pairs.
    (links.Spec, lambda spec: (len(spec.flat.grid) + len(spec.tiles), len(spec.grid))),
    (detections.Spec, lambda spec: (len(spec.found.grid), 0)),
    (overlap.Spec, _each(2, 1)),  # objects of both frames, to see how the image drifts
    (overlaps.Spec, lambda spec: (len(spec.counted.grid), len(spec.grid))),
)
"""GETs and PUTs of each kind of step."""
