"""Corrections as people write them: what is one object, and what is not."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.specs.segment import parse_as

Id = Annotated[int, Field(ge=1, strict=True)]
Point = tuple[Annotated[int, Field(ge=0, strict=True)], ...]
"""A voxel of the finest level of the label image, along that image's own axes."""


class Merge(BaseModel):
    """Objects that are one, by their ids or by voxels in them; two or more in all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: tuple[Id, ...] = ()
    points: tuple[Point, ...] = ()

    @model_validator(mode="after")
    def _several(self) -> Merge:
        if len(set(self.ids)) + len(set(self.points)) < 2:
            raise ValueError("a merge needs two different ids or points, or more")
        return self


class Split(BaseModel):
    """Voxels that lie in different objects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Id | None = None
    """The object in which all points lie now, if that is to be made sure of."""
    points: tuple[Point, ...]

    @model_validator(mode="after")
    def _several(self) -> Split:
        if len(self.points) < 2 or len(set(self.points)) < len(self.points):
            raise ValueError("a split needs two points or more, all different")
        return self


class Corrections(BaseModel):
    """All that is to be corrected at once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    merge: tuple[Merge, ...] = ()
    split: tuple[Split, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> Corrections:
        if not self.merge and not self.split:
            raise ValueError("there is nothing to merge or to split")
        return self


def read_corrections(corrections: str | Mapping[str, Any]) -> Corrections:
    """Corrections of a TOML or JSON file, or of its content.

    Raises
    ------
    NotFound
        There is no such file.
    SpecError
        It is not understood.
    """
    if not isinstance(corrections, str):
        return parse_as(Corrections, corrections)
    try:
        text = files.get(corrections).decode()
        found = json.loads(text) if corrections.endswith(".json") else tomllib.loads(text)
    except FileNotFoundError:
        raise NotFound(f"{corrections} does not exist; corrections are a TOML file.") from None
    except ValueError as error:
        raise SpecError(f"{corrections} is neither TOML nor .json: {error}.") from None
    if not isinstance(found, dict):
        raise SpecError(f"{corrections} holds no lists 'merge' or 'split'.")
    return parse_as(Corrections, found)
