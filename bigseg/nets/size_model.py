"""Typical diameter of the objects of an image from the network's style vector.

The size model of Cellpose 1 to 3 (Stringer et al. 2021, Nature Methods 18:100, Methods, "Size
model"): a linear map from the style of the image, as it is, to the logarithm of the diameter. It
is published as a numpy file that pickles a dict; only arrays and numbers are read from it.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.errors import NotFound, WeightsError
from bigseg.types import Floats

SMALLEST = 5.0
"""No diameter below this is ever believed, pixels."""
_ARRAY = object()
"""Stands for the type `numpy.ndarray`, so that a pickle cannot call it."""
KEYS = ("A", "smean", "diam_mean", "ymean")


@dataclass(frozen=True)
class SizeModel:
    """Linear map from style to the logarithm of a diameter."""

    slope: NDArray[np.float64]
    """(w,), one number for each of the style's."""
    centre: NDArray[np.float64]
    """(w,), mean style of its training."""
    diameter: float
    """Pixels that objects have at the network's scale."""
    offset: float
    """Mean logarithm of diameter / `diameter` in its training."""

    def diameters(self, styles: Floats) -> NDArray[np.float64]:
        """Guess the diameters, (n,) pixels, of the objects of images with styles (n, w).

        The style of an image that was cut into tiles is the sum of the tiles' styles, scaled to
        unit length; it must be taken at the image's own resolution.
        """
        if styles.shape[-1] != len(self.slope):
            raise WeightsError(
                f"The size model is made for styles of {len(self.slope)} numbers, but the network "
                f"gives {styles.shape[-1]}; use the size model that belongs to the network."
            )
        logs = (styles - self.centre) @ self.slope + self.offset
        return np.maximum(self.diameter * np.exp(logs), SMALLEST)


def read_size_model(url: str) -> SizeModel:
    """Read a published size model, `size_*.npy`; code in it is never run.

    Raises
    ------
    NotFound
        If there is no such file.
    WeightsError
        If it is none, or asks for anything but arrays and numbers.
    """
    try:
        values = _unpickle(files.get(url))
        return _checked(values)
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(f"There is no size model at {url}.") from None
    except WeightsError as error:
        raise WeightsError(f"{url} is not a size model: {error}") from None
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(
            f"{url} is not a size model ({type(error).__name__}: {str(error)[:120]}); "
            f"expected a numpy file of a dict with {', '.join(KEYS)}."
        ) from error


def _unpickle(data: bytes) -> Any:
    """Object in a numpy file of one object."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise WeightsError(f"it is a numpy file of the unknown version {version}.")
    shape, _, dtype = read(stream)
    if shape != () or dtype != np.dtype(object):
        raise WeightsError(f"it holds an array {shape} of {dtype}, not a dict.")
    return _OnlyNumbers(stream).load().item()


def _checked(values: Any) -> SizeModel:
    if not isinstance(values, Mapping):
        raise WeightsError(f"it holds a {type(values).__name__}, not a dict.")
    for key in KEYS:
        if key not in values:
            raise WeightsError(f"it lacks '{key}'; it needs {', '.join(KEYS)}.")
    slope, centre, diameter, offset = (np.asarray(values[key], np.float64) for key in KEYS)
    if slope.size != centre.size or diameter.size != 1 or offset.size != 1:
        raise WeightsError(
            f"A has shape {slope.shape}, smean {centre.shape}, diam_mean {diameter.shape}, "
            f"ymean {offset.shape}; it needs two vectors of one length, and two numbers."
        )
    if not all(np.isfinite(each).all() for each in (slope, centre, diameter, offset)):
        raise WeightsError("it holds numbers that are not finite.")
    return SizeModel(slope.ravel(), centre.ravel(), float(diameter.item()), float(offset.item()))


class _OnlyNumbers(pickle.Unpickler):
    """Makes arrays and numbers of numpy, and nothing else that a pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        known = _KNOWN.get((module.replace("numpy._core.", "numpy.core."), name))
        if known is None:
            raise WeightsError(
                f"it asks for {module}.{name}, which is neither an array nor a number; "
                "it may hold code, which is not run."
            )
        return known


def _encode(text: str, encoding: str) -> bytes:
    """Bytes as Python 2 and pickle protocol 2 write them."""
    if encoding != "latin1":
        raise WeightsError(f"it holds bytes in the encoding {encoding!r}.")
    return text.encode(encoding)


def _empty(kind: Any, shape: tuple[int, ...], code: Any) -> Any:
    """Array that the pickle's state fills; numpy asks for length 0, so no memory is taken."""
    if kind is not _ARRAY or np.prod(shape) > 1:
        raise WeightsError(f"it asks for an array of shape {shape}, which numpy never does.")
    return np.empty(shape, np.uint8)


def _known() -> dict[tuple[str, str], Any]:
    scalar: Callable[..., Any] = np.float64(0).__reduce__()[0]  # type: ignore[assignment]
    return {
        ("numpy.core.multiarray", "_reconstruct"): _empty,
        ("numpy.core.multiarray", "scalar"): scalar,
        ("numpy", "ndarray"): _ARRAY,
        ("numpy", "dtype"): np.dtype,
        ("_codecs", "encode"): _encode,
    }


_KNOWN = _known()
