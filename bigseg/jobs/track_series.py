"""Which series a batch is of: arguments, patterns, or the rows of a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bigseg import files
from bigseg.errors import NotFound, SpecError
from bigseg.io.images import KNOWN
from bigseg.io.track_tables import read_columns
from bigseg.specs.segment import parse_as
from bigseg.specs.track import TrackSpec


def is_many(labels: str) -> bool:
    """Whether a pattern means several series: what it matches are no files of one frame each."""
    if "*" not in labels:
        return False
    found = files.matching(labels)
    return bool(found) and not any(name.lower().endswith(KNOWN) for name in found)


def expanded(series: Sequence[str]) -> list[str]:
    """Series that arguments name; a pattern may name several.

    Raises
    ------
    NotFound
        A pattern matches nothing.
    """
    found = []
    for one in series:
        if "*" in one and not files.matching(one):
            raise NotFound(f"Nothing matches {one}.")
        found += sorted(files.matching(one)) if is_many(one) else [one]
    return found


def read_series(url: str) -> list[dict[str, Any]]:
    """Rows of a table of series: settings of each, of which `labels` is needed.

    Raises
    ------
    NotFound, ImageError
        There is no table, or it cannot be read.
    SpecError
        It has no column `labels`, or a row without labels.
    """
    columns = read_columns(url)
    if "labels" not in columns:
        raise SpecError(
            f"{url} has no column 'labels'; a table of series has it, and perhaps output, image, "
            "voxel_size and other settings."
        )
    count = len(columns["labels"])
    rows = [{name: _value(columns[name][n]) for name in columns} for n in range(count)]
    for number, row in enumerate(rows, 1):
        if row["labels"] is None:
            raise SpecError(f"Row {number} of {url} has no labels.")
    return [{name: _split(name, v) for name, v in row.items() if v is not None} for row in rows]


def _value(value: Any) -> Any:
    """A field as Python has it; an empty one is None."""
    value = value.item() if isinstance(value, np.generic) else value
    empty = value is None or value == "" or (isinstance(value, float) and np.isnan(value))
    return None if empty else value


def _split(name: str, value: Any) -> Any:
    """Several numbers in one field are told apart by commas, spaces or semicolons.

    Alternatives only by semicolons, as settings have commas.
    """
    if name == "alternatives" and isinstance(value, str):
        return tuple(one.strip() for one in value.split(";") if one.strip())
    if name == "voxel_size" and isinstance(value, str):
        return tuple(re.split(r"[,;\s]+", value.strip()))
    return value


def specifications(
    series: Sequence[str | Mapping[str, Any]], output: str | None, settings: Mapping[str, Any]
) -> list[TrackSpec]:
    """What is asked for, series by series.

    Parameters
    ----------
    series
        Labels, patterns, or settings of single series.
    output
        Folder of all results that are given no output of their own; None: beside the labels.
    settings
        Of all series; what a series says itself comes first.

    Raises
    ------
    SpecError
        If a setting is wrong, or two series would be written to one place.
    """
    rows: list[Mapping[str, Any]] = []
    for one in series:
        rows += [{"labels": name} for name in expanded([one])] if isinstance(one, str) else [one]
    if not rows:
        raise SpecError("There are no series to track.")
    values = [{**settings, **row} for row in rows]
    if output is not None:
        for row in values:
            row.setdefault("output", files.join(output, f"{_name(str(row['labels']))}.zarr"))
    specs = [parse_as(TrackSpec, row) for row in values]
    targets = Counter(files.absolute(spec.target) for spec in specs)
    twice = next((target for target, count in targets.items() if count > 1), None)
    if twice is not None:
        raise SpecError(
            f"{targets[twice]} series would be written to {twice}; give each an output of its own "
            "in a table, with --series."
        )
    return specs


def _name(labels: str) -> str:
    """What a result is called: as its labels, or as the image of which they are."""
    image, found, name = labels.rstrip("/").rpartition("/labels/")
    base = (image or name if found else labels).rstrip("/").rsplit("/", 1)[-1]
    stem = base.split("*")[0].rstrip("._-") if "*" in base else base
    for suffix in (".zarr", ".ome", ".geff", ".parquet", ".csv.gz", ".csv", *KNOWN):
        stem = stem.removesuffix(suffix)
    return stem or "tracks"
