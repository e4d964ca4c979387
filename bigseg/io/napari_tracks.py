"""Tracks for napari: a table of points, and which track comes from which.

`viewer.add_tracks(np.loadtxt("tracks.csv", delimiter=",", skiprows=1), graph=read_graph(…))` shows
what was written.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.tracking.lineage import Lineages
from bigseg.io.track_points import Floats

Table = NDArray[np.float64]
Graph = dict[int, list[int]]


def napari_tracks(found: Lineages, position: Floats, *, axes: str = "zyx") -> tuple[Table, Graph]:
    """Arguments of `napari.layers.Tracks`.

    Parameters
    ----------
    found : Lineages
        Of n detections.
    position : (n, 3) float
        z, y, x in the units in which the image is shown.
    axes : str
        zyx, or yx of a plane.

    Returns
    -------
    data : (n, 2 + len(axes)) float64
        Track, frame and position, sorted by track, then frame.
    graph : dict of int to list of int
        Parents of each track that has any; of a merge, all.
    """
    place = position[:, ["zyx".index(axis) for axis in axes]]
    data = np.column_stack([found.track, found.frame, place]).astype(np.float64)
    data = data[np.lexsort((data[:, 1], data[:, 0]))]
    graph: Graph = {}
    for parent, child in found.joints.tolist():
        graph.setdefault(child, []).append(parent)
    return data, graph


def write_napari(folder: str, data: Table, graph: Graph, *, axes: str = "zyx") -> tuple[str, str]:
    """Write `tracks.csv` and `graph.json` into a folder; return where they are."""
    sink = io.StringIO()
    formats = ["%d", "%d", *["%.17g"] * len(axes)]
    header = ",".join(["track_id", "t", *axes])
    np.savetxt(sink, data, fmt=formats, delimiter=",", header=header, comments="")
    table, tree = files.join(folder, "tracks.csv"), files.join(folder, "graph.json")
    files.put(table, sink.getvalue().encode())
    files.put(tree, json.dumps({str(k): v for k, v in graph.items()}).encode())
    return table, tree


def read_graph(url: str) -> Graph:
    """Parents of tracks, as written."""
    found: dict[str, Any] = json.loads(files.get(url))
    return {
        int(child): [int(p) for p in np.atleast_1d(parents)] for child, parents in found.items()
    }
