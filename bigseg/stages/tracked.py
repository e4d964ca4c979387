"""Tracks in whatever form they come: CTC folders, label images, GEFF graphs, tables of points."""

from __future__ import annotations

from dataclasses import dataclass

from bigseg import files
from bigseg.core.tracking.graph import Rows
from bigseg.errors import NotFound, SpecError
from bigseg.io.ctc import is_ctc, open_ctc, read_rows
from bigseg.io.geff import is_geff, read_geff
from bigseg.io.series import Series, open_series
from bigseg.io.track_points import Points
from bigseg.io.track_tables import is_table, read_lines, read_points


@dataclass(frozen=True)
class Masks:
    """Label images whose labels are tracks."""

    name: str
    series: Series
    rows: Rows | None
    """What descends from what; None if nobody says."""
    strict: bool
    """Whether every label must be in exactly the frames that its line says, as in CTC folders."""
    seg: str | None
    """Folder of true outlines."""
    markers: bool
    """Whether masks are markers, perhaps, and no outlines to measure SEG by."""


Tracked = Masks | Points


def open_tracked(url: str, lines: str | None = None) -> Tracked:
    """Look at tracks of any kind; see `evaluate_tracks`."""
    if is_ctc(url):
        folder = open_ctc(url)
        rows = folder.rows if lines is None else _read_lines(lines)
        markers = not folder.masks.url.endswith("/mask*.tif")
        return Masks(url, folder.masks, rows, True, folder.seg, markers)
    if is_geff(url):
        _refuse_lines(url, lines)
        return read_geff(url)
    if is_table(url):
        return read_points(url, None if lines is None else _read_lines(lines))
    if url.rstrip("/").endswith(".geff"):
        raise NotFound(f"There is no GEFF graph at {url}.")
    series = open_series(url)
    place = lines or _beside(series.url)
    return Masks(url, series, None if place is None else _read_lines(place), False, None, False)


def _refuse_lines(url: str, lines: str | None) -> None:
    if lines is not None:
        raise SpecError(f"{url} says itself what descends from what; leave {lines} out.")


def _beside(labels: str) -> str | None:
    """Table of tracks that `bigseg track` has written with its labels."""
    for place in (files.join(labels, "tracks.parquet"), f"{labels}.bigseg/tables/tracks.parquet"):
        if files.exists(place):
            return place
    return None


def _read_lines(url: str) -> Rows:
    if not (url.lower().endswith(".txt") or is_table(url)):
        raise SpecError(
            f"{url} is no table of tracks: that is CSV or Parquet with the columns track, begin, "
            "end and parent, or a text file of a CTC folder."
        )
    return read_rows(url) if url.lower().endswith(".txt") else read_lines(url)
