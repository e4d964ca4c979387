"""Write lineages as others read them: GEFF, and a table and a graph for napari."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bigseg import files
from bigseg.grid import Block, Grid
from bigseg.io.geff import About, write_geff
from bigseg.io.napari_tracks import napari_tracks, write_napari
from bigseg.stages import lineages
from bigseg.types import Facts, StageSpec

PROPERTIES = ("voxels", "touches_border", "speed", "source")
"""Columns of detections that nodes have, too, where there are any."""


class Spec(StageSpec):
    """Where lineages are written to."""

    run: str
    target: str
    """Folder, such as a label image."""
    axes: str
    """Of positions: zyx or yx."""
    units: dict[str, str]
    """Of axes, where known."""
    labels: bool = True
    """Whether there is a label image numbered by track at the target."""

    @property
    def grid(self) -> Grid:
        """One block: a graph is written at once."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def geff_url(target: str) -> str:
    """Where the graph is."""
    return files.join(target, "tracks.geff")


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing is loaded ahead."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Write the graph and the table."""
    table, found = lineages.read_lineages(spec.run)
    position = np.stack([table[axis] for axis in "zyx"], axis=1)
    about = About(
        axes=spec.axes,
        units=spec.units,
        labels=spec.target if spec.labels else None,
        nodes={name: table[name] for name in PROPERTIES if name in table},
    )
    # In the label image each object has the number of its track.
    write_geff(geff_url(spec.target), found, table["track"], position, about, overwrite=True)
    data_, graph = napari_tracks(found, position, axes=spec.axes)
    write_napari(files.join(spec.target, "napari"), data_, graph, axes=spec.axes)
    return {"nodes": len(found.frame), "edges": len(found.links)}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block counted."""
    return facts[0]
