"""Corrections in numbers: points and ids resolved, and what they contradict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bigseg.core.constraints import conflicts, settle_links
from bigseg.core.objects import Table
from bigseg.corrections.spec import Corrections
from bigseg.corrections.state import Spot, State, find_spots
from bigseg.errors import SpecError


@dataclass(frozen=True)
class Links:
    """Corrections in numbers: elements are points, and after these objects as wholes."""

    spots: list[Spot]
    ids: list[int]
    """Objects that are merged as wholes."""
    together: list[tuple[int, ...]]
    apart: list[tuple[int, ...]]
    roots: NDArray[np.int64]
    """(elements,) which are surely one."""
    hostile: set[tuple[int, int]]
    """Roots that must be apart."""


def find_links(state: State, corrections: Corrections) -> Links:
    """Resolve points, and find contradictions."""
    points = [p for merge in corrections.merge for p in merge.points]
    points += [p for split in corrections.split for p in split.points]
    known = {point: number for number, point in enumerate(dict.fromkeys(points))}
    spots = find_spots(state, list(known))
    ids = sorted({id for entry in corrections.merge for id in entry.ids})
    whole = {id: len(spots) + number for number, id in enumerate(ids)}
    groups, names = [], []
    for number, merge in enumerate(corrections.merge, 1):
        group = [known[p] for p in merge.points] + [whole[i] for i in merge.ids]
        # An object that is merged by its id is merged with all that lies in it.
        group += [n for n, spot in enumerate(spots) if spot.id in merge.ids]
        groups.append(tuple(dict.fromkeys(group)))
        names.append(f"merge {number}")
    apart = []
    for number, split in enumerate(corrections.split, 1):
        apart.append(tuple(known[p] for p in split.points))
        for spot in (spots[n] for n in apart[-1]):
            if split.id is not None and spot.id != split.id:
                raise SpecError(
                    f"Split {number} is of object {split.id}, but {spot.name} lies in {spot.id}."
                )
    elements = [spot.name for spot in spots] + [f"object {id}" for id in ids]
    roots = settle_links(elements, groups, apart, names)
    return Links(spots, ids, groups, apart, roots, conflicts(roots, apart))


def check_places(state: State, links: Links, found: Table) -> None:
    """Refuse to merge over frames, or over planes that have objects of their own."""
    frame = dict(zip(found["id"].tolist(), found["frame"].tolist(), strict=True))
    plane = dict(zip(found["id"].tolist(), found["z0"].tolist(), strict=True))
    of = [spot.id for spot in links.spots] + links.ids
    for number, group in enumerate(links.together, 1):
        for what, where in (("frame", frame), ("plane", plane)):
            places = {where[of[element]]: of[element] for element in group}
            if len(places) > 1 and (what == "frame" or state.nodes.flat):
                (one, a), (two, b) = sorted(places.items())[:2]
                raise SpecError(
                    f"Merge {number} joins object {a} of {what} {one} with {b} of {what} {two}; "
                    f"objects of different {what}s are never one."
                )
