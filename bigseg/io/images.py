"""Open one file, array or image of any known kind for conversion."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import ImageError, NotFound
from bigseg.grid import Box
from bigseg.io import tiff
from bigseg.io.ome import describe
from bigseg.io.source import Source
from bigseg.io.store import open_array, read_node

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
KNOWN = (*tiff.SUFFIXES, *PICTURES, ".npy")


def opened(path: str) -> AbstractContextManager[Source]:
    """Open one source.

    Parameters
    ----------
    path : str
        A TIFF, PNG, JPEG, BMP or npy file, a zarr array or OME-Zarr image (also at a URL), or
        anything that bioio can read. `FILE#2` means the third image of a file that holds several.

    Raises
    ------
    NotFound
        If nothing is there.
    ImageError
        If it cannot be read, or its kind is not known.
    """
    if read_node(path) is not None:
        return _opened_zarr(path)
    if not files.is_local(path):
        raise ImageError(
            f"{path} is not a zarr; files of other kinds must be copied to this machine first."
        )
    place, mark, scene = path.rpartition("#")
    if not mark or files.local_path(path).exists():
        place, scene = path, ""
    if not files.local_path(place).exists():
        raise NotFound(f"There is nothing at {place}.")
    lower = place.lower()
    if lower.endswith(tiff.SUFFIXES):
        return tiff.opened_tiff(place, scene or None)
    if lower.endswith(PICTURES):
        return _opened_picture(place)
    if lower.endswith(".npy"):
        return _opened_npy(place)
    return _opened_bioio(place, scene or None)


@contextmanager
def _opened_zarr(url: str) -> Iterator[Source]:
    node = read_node(url)
    if node is None or node.kind == "group":
        image = describe(url)
        level = image.levels[0]
        array = open_array(files.join(url, level.path))
        scale = dict(zip(image.axes, level.scale, strict=True))
        axes, units, channels = "".join(image.axes), image.units, image.channels
    else:
        array = open_array(url)
        names = getattr(array.metadata, "dimension_names", None)
        names = names or node.attributes.get("_ARRAY_DIMENSIONS") or []
        single = len(names) == array.ndim and all(n and len(n) == 1 for n in names)
        axes = "".join(names).lower() if single else _unnamed(array.ndim)
        scale, units, channels = {}, {}, ()
    dtype = np.dtype(array.dtype)
    yield Source(
        url, axes, array.shape, dtype, lambda box: np.asarray(array[box]), scale, units, channels
    )


@contextmanager
def _opened_picture(path: str) -> Iterator[Source]:
    width, height, mode, dtype = _picture_header(path)
    data: list[NDArray[Any]] = []

    def read(box: Box) -> NDArray[Any]:
        if not data:
            data.append(_decoded(path, mode))
        return data[0][box]

    shape = (height, width, 3) if mode == "RGB" else (height, width)
    names = ("red", "green", "blue") if mode == "RGB" else ()
    yield Source(path, "yxc"[: len(shape)], shape, dtype, read, channels=names)


@contextmanager
def _picture(path: str) -> Iterator[PIL.Image.Image]:
    """Open a picture of any size, with errors that name it."""
    limit = PIL.Image.MAX_IMAGE_PIXELS
    PIL.Image.MAX_IMAGE_PIXELS = None  # mosaics are large; whoever names one means it
    try:
        with PIL.Image.open(path) as picture:
            yield picture
    except (OSError, SyntaxError) as error:
        raise ImageError(f"{path} cannot be read as a picture: {error}.") from error
    finally:
        PIL.Image.MAX_IMAGE_PIXELS = limit


def _picture_header(path: str) -> tuple[int, int, str, np.dtype[Any]]:
    with _picture(path) as picture:
        mode = _plain_mode(picture.mode)
        pixel = PIL.Image.new(mode, (1, 1))
        return picture.width, picture.height, mode, np.asarray(pixel).dtype


def _decoded(path: str, mode: str) -> NDArray[Any]:
    with _picture(path) as picture:
        return np.asarray(picture if picture.mode == mode else picture.convert(mode))


def _plain_mode(mode: str) -> str:
    """Mode to read a picture in: without palette and without transparency."""
    if mode in ("1", "L", "I", "F") or mode.startswith("I;"):
        return mode
    return "L" if mode in ("LA", "La") else "RGB"


@contextmanager
def _opened_npy(path: str) -> Iterator[Source]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise ImageError(f"{path} cannot be read as npy: {error}.") from error
    shape, dtype = array.shape, array.dtype
    del array

    def read(box: Box) -> NDArray[Any]:
        # Mapped anew each time, or all pages that were ever read would stay in memory.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[box])

    yield Source(path, _unnamed(len(shape)), shape, dtype, read)


@contextmanager
def _opened_bioio(path: str, scene: str | None) -> Iterator[Source]:
    try:
        from bioio import BioImage
    except ImportError as error:
        raise ImageError(
            f"{path} is no TIFF, PNG, JPEG, BMP, npy or zarr; other formats need bioio and its "
            "reader for that format: pip install 'bigseg[formats]' bioio-czi (or -nd2, -lif, …)."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its readers warn about what they do not need
        try:
            image = BioImage(path)
        except Exception as error:  # each of its readers has exceptions of its own
            reason = str(error).partition(". ")[0]
            raise ImageError(f"bioio cannot read {path}: {reason}.") from error
        _choose_scene(image, path, scene)
        array = image.get_image_dask_data("TCZYX")
    sizes = {"z": image.scale.Z, "y": image.scale.Y, "x": image.scale.X, "t": image.scale.T}
    scale, units = {}, {}
    for axis, size in sizes.items():
        if isinstance(size, timedelta):
            size = size.total_seconds()
        if isinstance(size, float) and size > 0:
            scale[axis], units[axis] = size, "second" if axis == "t" else "micrometer"
    names = tuple(map(str, image.channel_names or ()))
    yield Source(
        path,
        "tczyx",
        array.shape,
        array.dtype,
        lambda box: _computed(array[box]),
        scale,
        units,
        names,
    )


def _computed(lazy: Any) -> NDArray[Any]:
    return np.asarray(lazy.compute(scheduler="synchronous"))


def _choose_scene(image: Any, path: str, scene: str | None) -> None:
    scenes = list(map(str, image.scenes))
    if scene is None and len(scenes) == 1:
        return
    if scene in scenes:
        image.set_scene(scene)
    elif scene is not None and scene.isdecimal() and int(scene) < len(scenes):
        image.set_scene(int(scene))
    else:
        raise ImageError(
            f"{path} holds {len(scenes)} images ({', '.join(scenes)}); "
            f"name one, for example '{path}#0'."
        )


def _unnamed(ndim: int) -> str:
    """Axes of an array that does not say: only planes are clear."""
    return "yx" if ndim == 2 else "?" * ndim
