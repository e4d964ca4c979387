"""Folders of the Cell Tracking Challenge: masks of one frame each, and lines `L B E P`.

```
01_GT/TRA/man_track000.tif … man_track.txt     truth: markers and their lines
01_GT/SEG/man_seg000.tif, man_seg000_017.tif   truth: outlines of some frames, in 3D of some planes
01_RES/mask000.tif … res_track.txt             result
```

Numbers have three digits, or four where there are more than a thousand frames. Labels are unsigned
16-bit numbers, so there are 65,535 tracks at most. A line says: label, first frame, last frame,
parent (0 for none); the label is in every frame from the first to the last and in no other, and the
parent ends before its children begin.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.tracking.graph import Rows, check_rows
from bigseg.errors import ImageError, NotFound
from bigseg.io.series import Series, open_series

MOST_TRACKS = 65_535
"""What 16 bits can number."""
MOST_FRAMES = 10_000
"""What four digits can number."""
TEXTS = {"man_track.txt": "man_track", "res_track.txt": "mask"}
"""Text files, and how the names of their masks begin."""
_SEG = re.compile(r"man_seg_?(\d{3,4})(?:_(\d{3,4}))?\.tif$")


@dataclass(frozen=True)
class Folder:
    """Masks and lines of one folder."""

    url: str
    """Folder with the text file and the masks."""
    masks: Series
    rows: Rows
    """(tracks, 4) label, first frame, last frame, parent."""
    seg: str | None
    """Folder of outlines beside that of markers, if there is one."""


@dataclass(frozen=True, order=True)
class Outlines:
    """One file of true outlines, which may be of one plane only."""

    frame: int
    plane: int | None
    path: str


def is_ctc(url: str) -> bool:
    """Whether there are lines of tracks at `url`, or in its folder TRA."""
    return _text(url) is not None


def open_ctc(url: str) -> Folder:
    """Look at a folder; masks are read later.

    Parameters
    ----------
    url : str
        A result (`01_RES`), a truth (`01_GT`), its folder `TRA`, or the text file in any.

    Raises
    ------
    NotFound
        If there is no text file, or no masks.
    ImageError
        If lines cannot be read, or frames are missing, differ in shape or hold no labels.
    LineageError
        If lines contradict each other.
    """
    found = _text(url)
    if found is None:
        raise NotFound(
            f"{url} holds neither {' nor '.join(TEXTS)}, nor a folder TRA with one; "
            "give the folder of masks of the Cell Tracking Challenge's form."
        )
    folder, text = found
    masks = open_series(files.join(folder, f"{TEXTS[text]}*.tif"))
    _check_first(masks, folder, TEXTS[text])
    rows = read_rows(files.join(folder, text))
    check_rows(rows)
    last = int(rows[:, 2].max(initial=0))
    if last >= masks.shape[0]:
        raise ImageError(
            f"{files.join(folder, text)} speaks of frame {last}, but the last of the "
            f"{masks.shape[0]} masks is {masks.shape[0] - 1}."
        )
    beside = files.join(folder.rpartition("/")[0], "SEG") if folder.endswith("/TRA") else ""
    return Folder(folder, masks, rows, beside if beside and files.names(beside) else None)


def _text(url: str) -> tuple[str, str] | None:
    """Folder and name of the text file."""
    url = url.rstrip("/")
    if url.rpartition("/")[2] in TEXTS:
        url = url.rpartition("/")[0] or "."
    if url.endswith((".zarr", ".parquet", ".csv", ".tif", ".geff")):
        return None
    for folder in (url, files.join(url, "TRA")):
        for name in sorted(set(TEXTS) & set(files.names(folder))):
            return folder, name
    return None


def _check_first(masks: Series, folder: str, prefix: str) -> None:
    first = re.search(r"(\d+)\.tif$", masks.frames[0])
    if first is not None and int(first[1]) != 0:
        raise ImageError(
            f"The masks in {folder} begin with {prefix}{first[1]}.tif; frames are counted from 0, "
            "so the ones before it are missing."
        )


def read_rows(url: str) -> Rows:
    """Lines `L B E P` of a text file.

    Raises
    ------
    NotFound
        If it is not there.
    ImageError
        If a line is not of four whole numbers.
    """
    try:
        text = files.get(url).decode("utf-8", "replace")
    except FileNotFoundError as error:
        raise NotFound(f"There is no text file at {url}.") from error
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        values = line.split()
        if len(values) != 4 or not all(re.fullmatch(r"[+-]?\d+", v) for v in values):
            raise ImageError(
                f"Line {number} of {url} is '{line.strip()[:60]}'; each line has four whole "
                "numbers: label, first frame, last frame, parent (0 for none)."
            )
        rows.append([int(v) for v in values])
    return np.array(rows, np.int64).reshape(-1, 4)


def outlines(folder: str) -> list[Outlines]:
    """Files of true outlines in a folder SEG, by frame and plane."""
    found = []
    for name in files.names(folder):
        match = _SEG.match(name)
        if match is not None:
            plane = None if match[2] is None else int(match[2])
            found.append(Outlines(int(match[1]), plane, files.join(folder, name)))
    return sorted(found, key=lambda o: (o.frame, -1 if o.plane is None else o.plane))


def check_writable(rows: Rows, frames: int) -> None:
    """Refuse what the format has no numbers for, before anything is written.

    Raises
    ------
    ImageError
        For more than 65,535 tracks, or more than 10,000 frames.
    LineageError
        If lines contradict each other.
    """
    if len(rows) > MOST_TRACKS or rows[:, 0].max(initial=0) > MOST_TRACKS:
        raise ImageError(
            f"There are {max(len(rows), int(rows[:, 0].max())):,} tracks, but a CTC folder has "
            f"16-bit labels and so {MOST_TRACKS:,} tracks at most; write GEFF instead, or split "
            "the series."
        )
    if frames > MOST_FRAMES:
        raise ImageError(
            f"There are {frames:,} frames, but a CTC folder numbers {MOST_FRAMES:,} at most; "
            "write GEFF instead, or split the series."
        )
    check_rows(rows)


def mask_url(folder: str, frame: int, frames: int, prefix: str = "mask") -> str:
    """Where the mask of a frame is, in a series of `frames`."""
    digits = 3 if frames <= 1000 else 4
    return files.join(folder, f"{prefix}{frame:0{digits}d}.tif")


def write_rows(folder: str, rows: Rows, name: str = "res_track.txt") -> None:
    """Write the text file; write it last, as it is what makes the folder a result."""
    ordered = rows[np.argsort(rows[:, 0])]
    lines = "".join(f"{a} {b} {c} {d}\n" for a, b, c, d in ordered.tolist())
    files.put(files.join(folder, name), lines.encode())


def write_mask(
    folder: str, frame: int, labels: NDArray[Any], rows: Rows, frames: int, prefix: str = "mask"
) -> int:
    """Write the mask of one frame; frames may be written in any order, by several processes.

    Parameters
    ----------
    folder, prefix : str
        Where, and how the name begins.
    frame, frames : int
        Which of how many.
    labels : (z, y, x) or (y, x)
        Labels as in the lines; one plane is written in 2D.
    rows : (tracks, 4)
        All lines.

    Returns
    -------
    int
        Objects in the frame. Frames with none are written as they are; py-ctcmetrics warns of
        them, the format does not forbid them.

    Raises
    ------
    ImageError
        If the labels of this frame are not those that the lines say.
    """
    here = np.unique(labels)
    here = here[here != 0].astype(np.int64)
    expected = np.sort(rows[(rows[:, 1] <= frame) & (frame <= rows[:, 2]), 0])
    extra, lacking = np.setdiff1d(here, expected), np.setdiff1d(expected, here)
    if len(extra):
        raise ImageError(f"Frame {frame} has the label {extra[0]}, but no line says so.")
    if len(lacking):
        raise ImageError(
            f"Frame {frame} lacks the label {lacking[0]}, which its line promises; end the track "
            "before, and begin another whose parent it is."
        )
    plane = labels[0] if labels.ndim == 3 and labels.shape[0] == 1 else labels
    sink = io.BytesIO()
    tifffile.imwrite(sink, plane.astype(np.uint16), compression="zlib", photometric="minisblack")
    files.put(mask_url(folder, frame, frames, prefix), sink.getvalue())
    return len(here)


def write_result(
    folder: str, masks: Iterable[NDArray[Any]], rows: Rows, frames: int
) -> tuple[int, ...]:
    """Write a result folder, one frame after the other.

    Parameters
    ----------
    folder : str
        Where; it is created.
    masks : iterable of (z, y, x) or (y, x)
        Frames 0, 1, …, one at a time in memory.
    rows : (tracks, 4)
        As of `bigseg.core.tracking.challenge.challenge_tracks`.
    frames : int
        How many there are.

    Returns
    -------
    tuple of int
        Frames without any object.

    Raises
    ------
    ImageError
        As `check_writable` and `write_mask`; or if there are not as many frames as said.
    """
    check_writable(rows, frames)
    counts = [write_mask(folder, t, labels, rows, frames) for t, labels in enumerate(masks)]
    if len(counts) != frames:
        raise ImageError(f"There were {len(counts)} frames to write to {folder}, not {frames}.")
    write_rows(folder, rows)
    return tuple(t for t, count in enumerate(counts) if not count)
