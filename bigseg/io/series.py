"""Label images over time, to read frame by frame: NGFF, one file, or a folder of one per frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import ImageError, NotFound
from bigseg.grid import Box, Index
from bigseg.io.images import KNOWN
from bigseg.io.labels import find_labels
from bigseg.io.masks import Mask, opened_mask
from bigseg.io.ome import Image
from bigseg.io.store import read_node
from bigseg.io.volume import Volume

KEPT = 4
"""Files per process whose labels stay in memory: blocks of one frame follow each other."""


@dataclass(frozen=True)
class Series:
    """Labels of a series as (t, z, y, x)."""

    url: str
    """Label image or file; of a folder of files, that folder."""
    frames: tuple[str, ...]
    """A file per frame; empty where everything is in one place."""
    shape: Index
    """(t, z, y, x)."""
    unit: Index
    """(t, z, y, x) of what is stored together."""
    spacing: tuple[float, float, float]
    """Size of a voxel, (z, y, x)."""
    units: dict[str, str]
    image: Image | None
    """The label image, if it is NGFF."""

    @property
    def ndim(self) -> int:
        """2 where frames are planes, else 3."""
        return 2 if self.shape[1] == 1 else 3

    def read(self, box: Box) -> NDArray[Any]:
        """Labels of a box (t, z, y, x) of one frame: (z, y, x), non-negative whole numbers.

        Raises
        ------
        ImageError
            A file has changed its shape, or holds no labels; labels are negative.
        """
        data = self._read(box)
        if data.dtype.kind == "i" and (lowest := data.min(initial=0)) < 0:
            number = box[0].start
            place = self.frames[number] if self.frames else f"{self.url} in frame {number}"
            raise ImageError(
                f"Labels of {place} go down to {lowest}; labels are whole numbers from 0, which is "
                "the background: renumber them."
            )
        return data

    def _read(self, box: Box) -> NDArray[Any]:
        if self.image is not None:
            data: NDArray[Any] = Volume(self.image, 0).read(box)[0, 0]
            return data
        if self.frames:
            frame = _labels(self.frames[box[0].start])
            if frame.shape != (1, *self.shape[1:]):
                raise _differs(self.frames[box[0].start], frame.shape[1:], self.shape[1:])
            part: NDArray[Any] = frame[0][box[1:]]
            return part
        with opened_mask(self.url) as mask:
            whole: NDArray[Any] = mask.read(box)[0]
            return whole


def open_series(url: str) -> Series:
    """Look at a series of label images; voxels are read later.

    Parameters
    ----------
    url
        Label image (NGFF) with a time axis, or an image that has exactly one; a TIFF or npy file
        with a time axis; or a folder, or a pattern with ``*``, of files of one frame each, in the
        order of the numbers in their names, such as those of the Cell Tracking Challenge.

    Raises
    ------
    NotFound
        Nothing is there.
    ImageError
        These are no labels, there is no time axis, frames are missing, or differ in shape.
    """
    if read_node(url) is not None:
        return _ngff(find_labels(url))
    if "*" in url or (files.is_local(url) and files.local_path(url).is_dir()):
        return _folder(url)
    with opened_mask(url) as mask:
        shape = _named(mask)
        return Series(url, (), shape, (1, *shape[1:]), (1.0, 1.0, 1.0), {}, None)


def check_series(series: Series, given: str) -> None:
    """Refuse what cannot be tracked, as far as the first stored labels show it.

    Many mark the background by -1, which is seen there.

    Raises
    ------
    ImageError
        There is one frame only, or labels are negative.
    """
    if series.shape[0] == 1:
        file, hint = "", ""
        if series.frames:
            file = f", {series.frames[0]}"
            hint = "; if that file holds the whole series, give the file itself"
        raise ImageError(f"{given} has a single frame{file}, so there is nothing to track{hint}.")
    _, z, y, x = (slice(0, min(n, u)) for n, u in zip(series.shape, series.unit, strict=True))
    series.read((slice(0, 1), z, y, x))


def _ngff(url: str) -> Series:
    volume = Volume.open(url)
    if volume.dtype.kind not in "ui":
        raise ImageError(
            f"{url} holds {volume.dtype}, but labels are whole numbers; give the label image."
        )
    if "t" not in volume.axes:
        raise ImageError(
            f"{url} has the axes {', '.join(volume.axes)} and no time, so there is nothing to "
            "track; give a time series."
        )
    t, _, z, y, x = volume.shape
    units = {axis: unit for axis, unit in volume.units.items() if axis != "c"}
    return Series(url, (), (t, z, y, x), volume.unit, volume.spacing, units, volume.image)


def _folder(url: str) -> Series:
    frames = frame_files(url)
    first = _shape(frames[0])
    for frame in frames[1:]:
        if (shape := _shape(frame)) != first:
            raise _differs(frame, shape, first)
    shape = (len(frames), *first)
    return Series(url, tuple(frames), shape, (1, *first), (1.0, 1.0, 1.0), {}, None)


def frame_files(url: str) -> list[str]:
    """Files of a folder or of a pattern, one per frame, in order.

    Raises
    ------
    NotFound
        There are none.
    ImageError
        Their numbers leave some out, or are not unique.
    """
    fs, path = files.filesystem(url)
    found = fs.glob(path) if "*" in url else [str(p) for p in fs.ls(path, detail=False)]
    kept = [str(p) for p in found if str(p).lower().endswith(KNOWN)]
    if not kept:
        raise NotFound(f"There are no label images at {url}; files end in {', '.join(KNOWN)}.")
    numbered = sorted((_number(url, name), name) for name in kept)
    numbers = [number for number, _ in numbered]
    expected = list(range(numbers[0], numbers[0] + len(numbers)))
    if numbers != expected:
        twice = len(set(numbers)) < len(numbers)
        what = "several files of one frame" if twice else f"no frame {_first_missing(numbers)}"
        raise ImageError(
            f"{url} has {what}; a series needs one file for each frame, numbered one after another."
        )
    return [files.absolute(name) for _, name in numbered]


def _first_missing(numbers: Sequence[int]) -> int:
    return next(a + 1 for a, b in pairwise(numbers) if b > a + 1)


def _number(url: str, name: str) -> int:
    numbers = re.findall(r"\d+", name.rsplit("/", 1)[-1].rsplit(".", 1)[0])
    if not numbers:
        raise ImageError(f"{name} in {url} has no number in its name; which frame is it?")
    return int(numbers[-1])


def _shape(path: str) -> Index:
    """(z, y, x) of the labels of one frame."""
    with opened_mask(path) as mask:
        return _space(mask)


def _space(mask: Mask) -> Index:
    lengths = mask.shape if len(mask.shape) == 3 else mask.shape[-3:]
    if mask.axes and len(mask.shape) == 4 and mask.shape[0] > 1 and mask.shape[1] > 1:
        raise ImageError(f"{mask.name} holds several frames; one file of a folder holds one.")
    if len(mask.shape) == 4 and mask.shape[0] > 1:  # slices that a writer called frames
        lengths = (mask.shape[0], *mask.shape[2:])
    return (1,) * (3 - len(lengths)) + tuple(lengths)


def _named(mask: Mask) -> Index:
    """(t, z, y, x) of a file that holds a whole series."""
    shape = mask.shape
    if not mask.axes:
        raise ImageError(
            f"{mask.name} does not say which of its {len(shape)} axes is time; convert it with "
            "'bigseg convert --axes tyx'."
        )
    if shape[0] == 1:
        raise ImageError(f"{mask.name} has no time axis, so there is nothing to track.")
    return shape


@lru_cache(maxsize=KEPT)
def _labels(path: str) -> NDArray[Any]:
    """Labels of a file of one frame: (1, z, y, x)."""
    with opened_mask(path) as mask:
        data = mask.read(tuple(slice(0, n) for n in mask.shape))
        return np.asarray(data).reshape(1, *_space(mask))


def _differs(path: str, shape: Sequence[int], expected: Sequence[int]) -> ImageError:
    return ImageError(
        f"{path} has (z, y, x) = {tuple(shape)} voxels, but the first frame has {tuple(expected)}; "
        "all frames of a series must have the same shape."
    )
