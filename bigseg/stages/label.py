"""Follow the flows of one block, judge its objects, and keep its opinion about its surroundings.

Each block sees its neighbours as far as an object reaches (the halo). It keeps its labels of its
own voxels and of a band around them: there two blocks have an opinion about the same voxels, and
`merge` compares them. Ids are local to the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.classes import count_mapped_votes
from bigseg.core.instances import Criteria, Faces, compact, find_objects, finish_labels
from bigseg.core.objects import Table, measure_objects
from bigseg.core.quantise import BACKGROUND, LOGIT_STEPS
from bigseg.core.representations import Name
from bigseg.core.targets import CUBES
from bigseg.errors import SpecError, WeightsError
from bigseg.grid import Block, size, within
from bigseg.io.scratch import scratch
from bigseg.io.tables import write_table
from bigseg.nets.functions import load_function
from bigseg.stages import predict
from bigseg.stages.graph import nodes_url
from bigseg.stages.opinions import (
    Opinions,
    create_opinions,
    is_outside,
    keep_box,
    write_opinion,
)
from bigseg.stages.totals import totals
from bigseg.types import Facts, Floats


class Spec(Opinions):
    """How objects are found, and in which blocks."""

    cellprob_threshold: float
    judge: bool
    """Whether flow errors are computed."""
    min_size: int
    steps: int
    spacing: tuple[float, float, float] = CUBES
    """Voxel lengths along z, y, x, in those of x."""
    representation: Name = "flows"
    classes: int = 0
    """Semantic classes, background among them; 0: none."""
    diameter: float = 30.0
    """Of a usual object, voxels along x."""
    border_threshold: float = 0.5
    parity: bool = False
    predicted: str | None = None
    """Run whose predictions are followed; None: its own."""
    function: predict.Spec | None = None
    """How a function is shown the image that makes labels itself, without predictions."""

    @property
    def wants_gpu(self) -> bool:
        return self.function is not None

    @property
    def criteria(self) -> Criteria:
        return Criteria(
            self.cellprob_threshold,
            self.judge,
            self.min_size,
            self.steps,
            self.spacing,
            self.diameter,
            self.border_threshold,
            self.parity,
        )


def check(spec: Spec) -> None:
    """Refuse thresholds below what predictions keep, and weights that do not restore."""
    if spec.function is not None:
        predict.check(spec.function)
    elif not spec.parity:
        _check_threshold(spec)


def _check_threshold(spec: Spec) -> None:
    """Refuse thresholds that eight bits cannot be compared with."""
    if spec.cellprob_threshold < BACKGROUND:
        raise SpecError(
            f"cellprob_threshold {spec.cellprob_threshold} is below {BACKGROUND}, "
            "under which predictions are not kept; choose a higher one."
        )
    if spec.cellprob_threshold > 127 / LOGIT_STEPS:
        raise SpecError(
            f"cellprob_threshold {spec.cellprob_threshold} is above {127 / LOGIT_STEPS}, "
            "the largest logit that predictions keep; choose a lower one."
        )


def prepare(spec: Spec) -> None:
    """Create the array of opinions."""
    create_opinions(spec)


def read(spec: Spec, block: Block) -> NDArray[np.int8] | Floats | None:
    """Predictions of a block with its halo, (k, z, y, x); or what a function is shown.

    None where nothing is looked for.
    """
    if is_outside(spec, keep_box(spec, block)):
        return None
    if spec.function is not None:
        return predict.read_image(spec.function, block.read)
    t, *space = block.read
    predictions = scratch(predict.predictions_url(spec.predicted or spec.run))
    return np.asarray(predictions[(t, slice(None), *space)][0])


def block(spec: Spec, block: Block, data: Any) -> Facts:
    """Find the objects of a block and store its opinion and its table."""
    if data is None and is_outside(spec, keep_box(spec, block)):
        return _skip(spec, block)
    flat = spec.ndim == 2
    faces = _open_faces(spec, block)[flat:]
    if spec.function is not None:
        labels, errors = _called(spec, block, data, faces)
    else:
        packed = data[:, 0] if flat else data
        labels, errors = find_objects(spec.representation, packed, spec.criteria, faces)
    labels = labels[None] if flat else labels
    if spec.region is not None:  # holes of the region are filled like any
        labels[~spec.region.read(block.read)] = 0
    table = _measure(spec, block, labels, errors)
    kept = keep_box(spec, block)
    opinion, ids = compact(labels[within(kept, block.read)[1:]])
    write_opinion(spec, block, opinion)
    rows = {name: column[ids - 1] for name, column in table.items()}
    rows["id"] = np.arange(1, len(ids) + 1, dtype=np.uint64)
    if spec.classes:
        rows |= _votes(spec, block, labels, data, ids)
    write_table(nodes_url(spec.run, block.id), rows)
    return {"objects": len(ids), "cut": int(rows["cut"].sum()), "skipped": 0}


def _skip(spec: Spec, block: Block) -> Facts:
    """Store that a block has no objects, without looking."""
    corner = tuple(slice(w.start, w.start + 1) for w in block.write)
    tiny = Block(block.index, corner, corner)
    rows = _measure(spec, tiny, np.zeros((1, 1, 1), np.uint32), np.zeros(0))
    rows["id"] = np.zeros(0, np.uint64)
    if spec.classes:
        rows |= {f"class_{n}": np.zeros(0, np.int64) for n in range(spec.classes)}
    write_table(nodes_url(spec.run, block.id), rows)
    return {"objects": 0, "cut": 0, "skipped": 1}


def leave_out(spec: Spec, block: Block) -> Facts:
    """Store that a block has no objects, and no opinion about its neighbours."""
    shape = size(keep_box(spec, block))[1:]
    write_opinion(spec, block, np.zeros(shape, np.uint32))
    return _skip(spec, block) | {"skipped": 0}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Count what the blocks found; objects at faces are counted by every block that sees them."""
    return totals(facts, ("objects", "cut", "skipped"))


def _called(
    spec: Spec, block: Block, image: Floats | None, faces: Faces
) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
    """Objects that a user's function finds in a block."""
    shape = size(block.read)[2 if spec.ndim == 2 else 1 :]
    if image is None:
        return np.zeros(shape, np.uint32), np.zeros(0)
    name = spec.function.models[0] if spec.function else ""
    found: NDArray[Any] = np.asarray(load_function(name)(image[:, 0] if spec.ndim == 2 else image))
    if found.shape != shape or found.dtype.kind not in "bui" or (found.size and found.min() < 0):
        raise WeightsError(
            f"Model '{name}' made {found.dtype} labels of shape {found.shape}; expected integers "
            f"of shape {shape} that are not negative."
        )
    found = _dense(found)  # large, and not needed twice
    return finish_labels(found, spec.criteria, faces)


def _dense(found: NDArray[Any]) -> NDArray[np.uint32]:
    """Ids 1..n in the same order, whatever they were."""
    if int(found.max(initial=0)) <= found.size:  # as most functions number them; sorting takes long
        same = found.dtype.itemsize == 4 and found.dtype.isnative
        return compact(found.view(np.uint32) if same else found.astype(np.uint32))[0]
    ids, dense = np.unique(found, return_inverse=True)
    return dense.reshape(found.shape).astype(np.uint32) + np.uint32(ids[0] != 0)


def _votes(
    spec: Spec,
    block: Block,
    labels: NDArray[np.uint32],
    packed: NDArray[np.int8] | Floats,
    ids: NDArray[np.intp],
) -> Table:
    """Voxels of each class that the objects have in the block itself; these add up over blocks."""
    place = within(block.write, block.read)[1:]
    classes = packed[-1][place].astype(np.int8)
    votes = count_mapped_votes(labels[place], classes, spec.classes, int(labels.max(initial=0)))
    return {f"class_{number}": votes[ids - 1, number] for number in range(spec.classes)}


def _measure(
    spec: Spec, block: Block, labels: NDArray[np.uint32], errors: NDArray[np.float64]
) -> Table:
    """Rows of all objects that the block sees; a plane has neither border nor cut along z."""
    flat = spec.ndim == 2
    boxes = [(b[0], slice(0, 1), *b[2:]) if flat else b for b in (block.read, block.write)]
    table = measure_objects(
        labels,
        read=boxes[0],
        write=boxes[1],
        shape=(spec.shape[0], 1, *spec.shape[2:]) if flat else spec.shape,
        means={"flow_error": errors},
        count=len(errors),
    )
    if flat:
        z = block.write[1].start
        for name in ("z0", "z1"):
            table[name] += np.where(table["voxels"] > 0, z, 0).astype(table[name].dtype)
        table["sum_z"] += z * table["voxels"]
    return table


def _open_faces(spec: Spec, block: Block) -> Faces:
    """Faces of the read box beyond which the image goes on, along z, y, x."""
    return tuple(
        (box.start > 0, box.stop < n) for box, n in zip(block.read[1:], spec.shape[1:], strict=True)
    )
