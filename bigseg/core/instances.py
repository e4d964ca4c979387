"""Output maps of one block to objects: decode, judge, mend, drop specks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bigseg.core.decode.borders import labels_from_borders
from bigseg.core.decode.flows import labels_from_flows
from bigseg.core.decode.hover import labels_from_hover
from bigseg.core.decode.published import labels_as_published
from bigseg.core.holes import fill_holes
from bigseg.core.quality import flow_errors, sizes
from bigseg.core.quantise import unpack
from bigseg.core.relabel import looked_up
from bigseg.core.representations import Name
from bigseg.core.targets import CUBES, Spacing

Field = NDArray[np.float32] | NDArray[np.int8]

Faces = tuple[tuple[bool, bool], ...]
"""For each axis: whether the array goes on beyond its first and beyond its last voxel."""


@dataclass(frozen=True, slots=True)
class Criteria:
    """What makes an object."""

    cellprob_threshold: float = 0.0
    """Logit above which a voxel is foreground; for borders, of cell above background."""
    judge: bool = True
    """Whether flow errors are wanted, which take half of the time."""
    min_size: int = 15
    """Voxels."""
    steps: int = 200
    """Euler steps along the flow."""
    spacing: Spacing = CUBES
    """Voxel lengths along z, y, x, in those of x."""
    diameter: float = 30.0
    """Of a usual object, voxels."""
    border_threshold: float = 0.5
    """Logit above which a voxel is border, for borders."""
    parity: bool = False
    """Do as the original does where bigseg differs on purpose, its mistakes included."""


def find_objects(
    name: Name, packed: Field, criteria: Criteria, open_faces: Faces
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Objects of a block, whatever its maps mean; see `find_instances`.

    Parameters
    ----------
    name
        What the maps mean.
    packed : (k, y, x) or (k, z, y, x) int8 or float32
        See `core.representations.pack`; a map of classes, if there is one, is not looked at.
    criteria, open_faces
        See `find_instances`.
    """
    ndim = packed.ndim - 1
    if name == "flows":
        return find_instances(packed[:ndim], packed[ndim], criteria, open_faces)
    if name == "borders":
        labels = labels_from_borders(
            packed,
            cell_threshold=criteria.cellprob_threshold,
            border_threshold=criteria.border_threshold,
            reach=max(round(criteria.diameter / 3), 1),
            parity=criteria.parity,
        )
    else:
        maps, logits = unpack(packed)
        labels = labels_from_hover(
            maps,
            logits,
            threshold=criteria.cellprob_threshold,
            min_size=criteria.min_size,
            diameter=criteria.diameter,
            parity=criteria.parity,
        )
    return finish_labels(labels, criteria, open_faces)


def finish_labels(
    labels: NDArray[np.uint32], criteria: Criteria, open_faces: Faces
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Fill holes and drop specks of labels that have no flows to be judged by."""
    cut = cut_objects(labels, open_faces)
    return _mended(labels, cut, np.full(len(cut), np.nan), criteria)


def find_instances(
    flows: Field, logits: Field, criteria: Criteria, open_faces: Faces
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Objects of a block and how far their flows are from what they should be.

    An object that a face of the block cuts, where the image goes on, is not judged: its flow, its
    size and its holes are not known here. Nothing is dropped for its flow error either: a block
    that sees all of an object would drop it and one that sees a part would not. That is decided
    once the parts are merged.

    Parameters
    ----------
    flows : (2, y, x) or (3, z, y, x) float32 or int8
        Voxels per step; int8 is what `core.quantise` makes of it.
    logits : (y, x) or (z, y, x) float32 or int8
    criteria
        What is kept.
    open_faces
        Faces beyond which the image goes on.

    Returns
    -------
    labels : uint32, shape of `logits`
        Ids 1..n.
    errors : (n,) float64
        Flow error of each object; NaN where it was not judged.
    """
    if criteria.parity:
        return _published_instances(flows, logits, criteria, open_faces)
    labels = labels_from_flows(
        flows, logits, cellprob_threshold=criteria.cellprob_threshold, steps=criteria.steps
    )
    return _judged(labels, flows, criteria, open_faces)


def _published_instances(
    flows: Field, logits: Field, criteria: Criteria, open_faces: Faces
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Objects of a block as Cellpose 3 would find them.

    In 3D it adds orientations up where they are averaged here, so that the logit is three times as
    large and a step along each axis twice as long; steps are as long as in the stretched volume,
    where voxels are cubes; and nothing is judged by its flow.
    """
    if logits.ndim == 2:
        labels = labels_as_published(
            flows, logits, cellprob_threshold=criteria.cellprob_threshold, steps=criteria.steps
        )
        return _judged(labels, flows, criteria, open_faces)
    z, y, x = criteria.spacing
    labels = labels_as_published(
        flows,
        logits,
        cellprob_threshold=criteria.cellprob_threshold / 3,
        steps=criteria.steps,
        stride=(2 * z, 2 * y, 2 * x),
    )
    return _judged(labels, flows, replace(criteria, judge=False), open_faces)


def _judged(
    labels: NDArray[np.uint32], flows: Field, criteria: Criteria, open_faces: Faces
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Measure, mend and drop objects that were found."""
    cut = cut_objects(labels, open_faces)
    errors = np.full(len(cut), np.nan)
    if criteria.judge:
        errors[~cut] = flow_errors(labels, flows, cut, criteria.spacing)[~cut]
    return _mended(labels, cut, errors, criteria)


def _mended(
    labels: NDArray[np.uint32],
    cut: NDArray[np.bool_],
    errors: NDArray[np.float64],
    criteria: Criteria,
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Fill holes, drop what is too small to be an object wherever all of it is seen."""
    labels = fill_holes(labels)
    voxels = sizes(labels)
    voxels = np.pad(voxels, (0, len(cut) - len(voxels)))
    drop = (voxels < criteria.min_size) & ~cut
    drop[0] = False
    labels, kept = compact(labels, drop)
    return labels, errors[kept]


def cut_objects(labels: NDArray[np.uint32], open_faces: Faces) -> NDArray[np.bool_]:
    """Which ids, (n + 1,), touch a face beyond which the image goes on; never the background."""
    cut = np.zeros(int(labels.max(initial=0)) + 1, bool)
    for axis, (first, last) in enumerate(open_faces):
        for is_open, place in ((first, 0), (last, -1)):
            if is_open:
                cut[np.unique(labels.take(place, axis))] = True
    cut[0] = False
    return cut


def compact(
    labels: NDArray[np.uint32], drop: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.uint32], NDArray[np.intp]]:
    """Ids 1..n without gaps in the same order, and the former id of each.

    Ids for which `drop`, one for each id from 0, is true become background.
    """
    kept = np.flatnonzero(sizes(labels)[1:]) + 1
    if drop is not None:
        kept = kept[~drop[kept]]
    table = np.zeros(int(labels.max(initial=0)) + 1, np.uint32)
    table[kept] = np.arange(1, len(kept) + 1, dtype=np.uint32)
    return looked_up(labels, table), kept
