"""Learn how the objects of a series move, divide and get lost, and share the series out.

Numbers come from a sample of successive frames; see `core.tracking.rates`. What each task links is
settled here, too: it follows from where the objects are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.tracking import link
from bigseg.core.tracking.blocks import Core
from bigseg.core.tracking.costs import Model
from bigseg.core.tracking.detections import Detections, Ints, gather
from bigseg.core.tracking.rivals import numbered
from bigseg.errors import SpecError
from bigseg.grid import Block, Grid
from bigseg.stages import detections
from bigseg.stages.overlaps import read_overlaps
from bigseg.types import Facts, StageSpec

POSITION = ("centroid_z", "centroid_y", "centroid_x")
COLUMNS = ("frame", "label", *POSITION, "voxels", "intensity", "touches_border", "claim")


class Spec(StageSpec):
    """Which series, and how it is linked."""

    run: str
    frames: int
    settings: link.Settings
    sources: int = 1
    """From how many label images objects come; those of several compete."""
    overlaps: bool = False
    """Whether voxels that objects of successive frames share have been counted."""
    model: Model | None = None
    """What is known already, from tracks of a like series; None: it is estimated."""

    @property
    def grid(self) -> Grid:
        """One block: what is learned holds for all."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def model_url(run: str) -> str:
    """Where what was learned is, as JSON; see `core.tracking.costs.Model`."""
    return files.join(run, "tracking", "model.json")


def cores_url(run: str) -> str:
    """Where it is what each task owns, as JSON; see `core.tracking.blocks.Core`."""
    return files.join(run, "tracking", "cores.json")


def read_model(run: str) -> Model:
    """What was learned."""
    return TypeAdapter(Model).validate_python(json.loads(files.get(model_url(run))))


def read_cores(run: str) -> list[Core]:
    """What each task owns."""
    return TypeAdapter(list[Core]).validate_python(json.loads(files.get(cores_url(run))))


def load(spec: Spec, frames: Iterable[int]) -> Detections:
    """Detections of some frames, sorted by frame and label."""
    frames = list(frames)
    tables = list(detections.read_frames(spec.run, frames))
    names = [name for name in COLUMNS if name in tables[0]]
    labels = [table["label"] for table in tables]
    sets = read_sets(spec, frames, labels)
    d = gathered({name: np.concatenate([t[name] for t in tables]) for name in names}, sets)
    if not spec.overlaps:
        return d
    return replace(d, overlaps=read_overlaps(spec.run, frames, labels))


def read_sets(spec: Spec, frames: Sequence[int], labels: Sequence[NDArray[Any]]) -> Ints | None:
    """Sets of which at most one is real: rows of some frames that have these labels, and number."""
    if spec.sources == 1:
        return None
    found = [
        np.stack([np.searchsorted(label, table["label"]), table["set"]], axis=1)
        for label, table in zip(labels, detections.read_sets(spec.run, frames), strict=True)
    ]
    return numbered(found, [len(label) for label in labels])


def gathered(table: Table, sets: Ints | None = None) -> Detections:
    """Rows of detections as tracking wants them; points may have no size or brightness."""
    bright = table.get("intensity", np.zeros(0))
    columns = {
        "size": table.get("voxels"),
        "intensity": bright if len(bright) and bool((bright > 0).all()) else None,
        "border": table["touches_border"],
        "claim": table.get("claim"),
    }
    position = np.stack([table[name] for name in POSITION], axis=1)
    return gather(table["frame"], table["label"].astype(np.int64), position, columns, sets)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Detections:
    """All detections."""
    return load(spec, range(spec.frames))


def block(spec: Spec, block: Block, data: Detections) -> Facts:
    """Learn, share out, and store both; of a series without objects nothing can be learned."""
    if not len(data):
        files.put(cores_url(spec.run), b"[]")
        return {"detections": 0, "cores": 0}
    drift = link.find_drift(data)
    data = link.steady(data, drift)
    model = replace(spec.model or link.learn(data, spec.settings), drift=drift)
    if model.dimensions != data.dimensions:
        raise SpecError(
            f"The costs were fitted in {model.dimensions} dimensions, but the objects of this "
            f"series lie in {data.dimensions}; give those of a like series, or none."
        )
    cores = link.cores(data, spec.settings)
    # Boxes reach to infinity, which Python's own JSON can say.
    files.put(model_url(spec.run), json.dumps(asdict(model), indent=1).encode())
    files.put(cores_url(spec.run), json.dumps([asdict(core) for core in cores]).encode())
    return {"detections": len(data), "cores": len(cores), "model": asdict(model)}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block found."""
    return facts[0]
