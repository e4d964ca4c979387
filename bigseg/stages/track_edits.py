"""Find the objects that corrections name, and refuse corrections of what is not there."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.tracking.edits import Edits, no_edits
from bigseg.errors import NotFound, SpecError
from bigseg.grid import Block, Grid
from bigseg.specs.segment import parse_as
from bigseg.specs.track_edits import Link, Named, Object, Place, TrackEdits, frame_of, name_of
from bigseg.stages import detect, detections
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """Which corrections, of the objects of which run."""

    run: str
    edits: TrackEdits
    found: detect.Spec | None = None
    """Labels that places are looked up in; None where points are tracked."""

    @property
    def grid(self) -> Grid:
        """One block: corrections are few."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))


def edits_url(run: str) -> str:
    """Where corrections are, by frame and label."""
    return files.join(run, "tracking", "edits.json")


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """A small object; nothing has to be created."""


def read(spec: Spec, block: Block) -> None:
    """Nothing is loaded ahead."""


def block(spec: Spec, block: Block, data: None) -> Facts:
    """Look up the objects, and write the corrections."""
    found, names = spec.edits, looked_up(spec)
    rows = {
        "links": [[*names[a], *names[b]] for a, b in found.ways],
        "unlinks": [[*names[link.source], *names[link.target]] for link in found.unlink],
        "deleted": [[*names[one]] for one in found.delete],
    }
    files.put(edits_url(spec.run), json.dumps(rows).encode())
    return {name: len(these) for name, these in rows.items()}


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block counted."""
    return facts[0]


def read_edits(run: str) -> Edits:
    """Corrections of a run, by frame and label; none where there are none."""
    try:
        rows = json.loads(files.get(edits_url(run)))
    except (NotFound, FileNotFoundError):
        return no_edits()
    return Edits(
        np.array(rows["links"], np.int64).reshape(-1, 4),
        np.array(rows["unlinks"], np.int64).reshape(-1, 4),
        np.array(rows["deleted"], np.int64).reshape(-1, 2),
    )


def looked_up(spec: Spec) -> dict[Named, Object]:
    """Frame and label of all objects that corrections name.

    Raises
    ------
    SpecError
        If an object is not there, or corrections contradict each other now that it is known who
        is who.
    """
    labels: dict[int, NDArray[np.uint64]] = {}
    names: dict[Named, Object] = {}
    for one in sorted(spec.edits.objects, key=frame_of):
        frame = frame_of(one)
        if frame not in labels:
            labels[frame] = detections.read_frame(spec.run, frame)["label"]
        names[one] = _found(spec, one, labels[frame])
    parse_as(TrackEdits, _renamed(spec.edits, names))
    return names


def _found(spec: Spec, one: Named, labels: NDArray[np.uint64]) -> Object:
    """Frame and label of an object."""
    frame = frame_of(one)
    label = _label_at(spec, one) if isinstance(one, Place) else one[1]
    if label not in labels:
        raise SpecError(
            f"The edits speak of {name_of(one)}, but there is none; frame {frame} has "
            + (f"labels from {labels.min()} to {labels.max()}." if len(labels) else "no objects.")
        )
    return frame, label


def _label_at(spec: Spec, place: Place) -> int:
    if spec.found is None:
        raise SpecError(
            f"The edits speak of {name_of(place)}, but points have no extent; name a point by its "
            "frame and number, as [frame, number]."
        )
    where = (place.frame, place.z, place.y, place.x)
    if any(at >= n for at, n in zip(where, spec.found.shape, strict=True)):
        raise SpecError(
            f"The edits speak of {name_of(place)}, but the labels have (t, z, y, x) = "
            f"{spec.found.shape} voxels."
        )
    t, z, y, x = (slice(at, at + 1) for at in where)
    label = int(detect.series_of(spec.found, place.alternative).read((t, z, y, x)).item())
    return _called(spec, place, label) if spec.found.alternatives and label else label


def _called(spec: Spec, place: Place, label: int) -> int:
    """Label by which an object of a source goes; another's, if it is the same."""
    names = detections.read_names(spec.run, place.frame)
    row = (names["source"] == place.alternative) & (names["id"] == label)
    return int(names["label"][row][0])


def _renamed(edits: TrackEdits, names: dict[Named, Object]) -> dict[str, object]:
    def both(links: Sequence[Link]) -> list[dict[str, Object]]:
        return [{"from": names[one.source], "to": names[one.target]} for one in links]

    return {
        "link": both(edits.link),
        "unlink": both(edits.unlink),
        "divide": [
            {"mother": names[one.mother], "daughters": [names[d] for d in one.daughters]}
            for one in edits.divide
        ],
        "delete": [names[one] for one in edits.delete],
    }
