"""Corrections of tracks: what a user knows better."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.specs.segment import parse_as

Number = Annotated[int, Field(ge=0)]
Object = tuple[Number, Annotated[int, Field(ge=1)]]
"""Frame, from 0, and label in the labels that are tracked.

Where other labels compete, objects of those go by the label that the table of detections gives.
"""


class Place(BaseModel):
    """The object that lies at a place, in voxels of the labels that are tracked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: Number
    z: Number = 0
    y: Number
    x: Number
    alternative: Number = 0
    """Which labels the object is of, where several compete: 0 is the first."""


Named = Object | Place
Thing = TypeVar("Thing")


class Link(BaseModel):
    """Two objects of different frames that are one, or are not."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    source: Named = Field(alias="from")
    target: Named = Field(alias="to")

    @model_validator(mode="after")
    def _forward(self) -> Link:
        if frame_of(self.source) >= frame_of(self.target):
            raise ValueError(
                f"the link from {name_of(self.source)} to {name_of(self.target)} does not go "
                "forward in time; exchange its ends"
            )
        return self


class Division(BaseModel):
    """An object that divides in two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mother: Named
    daughters: tuple[Named, ...]

    @model_validator(mode="after")
    def _two_later(self) -> Division:
        name, count = name_of(self.mother), len(set(self.daughters))
        if count != 2 or len(self.daughters) != 2:
            raise ValueError(f"{name} has {count} daughter(s); an object divides in two")
        if any(frame_of(one) <= frame_of(self.mother) for one in self.daughters):
            raise ValueError(f"a daughter of {name} is not in a later frame; choose one that is")
        return self


class TrackEdits(BaseModel):
    """A file of corrections: `link`, `unlink` and `divide` entries, and objects to `delete`.

    Every link goes forward in time, so that there can be no cycles.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    link: tuple[Link, ...] = ()
    """These are the same object."""
    unlink: tuple[Link, ...] = ()
    """These are not."""
    divide: tuple[Division, ...] = ()
    delete: tuple[Named, ...] = ()
    """These are no objects."""

    @model_validator(mode="after")
    def _consistent(self) -> TrackEdits:
        ways = self.ways
        if twice := _several(ways):
            raise ValueError(
                f"the link from {name_of(twice[0])} to {name_of(twice[1])} is there twice; once is "
                "enough"
            )
        if crowded := _several((a for a, _ in ways), 2):
            count = sum(a == crowded for a, _ in ways)
            raise ValueError(f"{name_of(crowded)} has {count} daughters; an object divides in two")
        if joined := _several(b for _, b in ways):
            raise ValueError(
                f"{name_of(joined)} is said to come from two objects; choose one of them"
            )
        for link in self.unlink:
            if (link.source, link.target) in ways:
                raise ValueError(
                    f"{name_of(link.source)} and {name_of(link.target)} are linked and unlinked; "
                    "choose one"
                )
        linked = {end for way in ways for end in way}
        for one in self.delete:
            if one in linked:
                raise ValueError(f"{name_of(one)} is deleted, but linked as well; choose one")
        return self

    @property
    def ways(self) -> list[tuple[Named, Named]]:
        """All links that must be there, daughters included."""
        links = [(link.source, link.target) for link in self.link]
        return links + [(one.mother, d) for one in self.divide for d in one.daughters]

    @property
    def objects(self) -> set[Named]:
        """All that are named."""
        ways = [*self.ways, *((link.source, link.target) for link in self.unlink)]
        return {end for way in ways for end in way} | set(self.delete)


def frame_of(one: Named) -> int:
    """Frame of an object, whatever it is named by."""
    return one.frame if isinstance(one, Place) else one[0]


def name_of(one: Named) -> str:
    """How an object is called in messages."""
    if isinstance(one, Place):
        among = f" of alternative {one.alternative}" if one.alternative else ""
        return f"the object of frame {one.frame} at z, y, x = {one.z}, {one.y}, {one.x}{among}"
    return f"label {one[1]} of frame {one[0]}"


def _several(things: Iterable[Thing], most: int = 1) -> Thing | None:
    """The first of some things that is there more than `most` times."""
    return next((thing for thing, count in Counter(things).items() if count > most), None)


def read_edits(url: str) -> TrackEdits:
    """Read a file of corrections, TOML or JSON.

    Raises
    ------
    NotFound
        If there is no file.
    SpecError
        If it cannot be read, or says what cannot be.
    """
    try:
        text = files.get(url).decode()
        values = json.loads(text) if url.lower().endswith(".json") else tomllib.loads(text)
    except FileNotFoundError:
        raise NotFound(f"{url} does not exist; --edits wants a TOML or JSON file.") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        kind = "JSON" if url.lower().endswith(".json") else "TOML"
        raise SpecError(f"{url} is not {kind}: {error}.") from None
    if not isinstance(values, dict):
        raise SpecError(f"{url} holds a {type(values).__name__}, not named lists of corrections.")
    try:
        return parse_as(TrackEdits, values)
    except SpecError as error:
        raise SpecError(f"{url}: {error}") from None
