"""Pictures for a page: planes of an image at display size, as PNG inside HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from bigseg.types import Floats
from bigseg.view.outlines import Rgb

WIDEST = 900
"""Pixels of a picture."""
SMALLEST = 0.3
"""Pictures are not shrunk further than this to save space."""


@dataclass(frozen=True)
class Picture:
    """One picture of a page."""

    rgb: Rgb
    caption: str


def display_shape(
    shape: tuple[int, int], spacing: tuple[float, float], target: int
) -> tuple[int, int]:
    """Pixels (y, x) that show a plane in its true proportions, about `target` at its longer side.

    Small planes are magnified eight times at most.
    """
    lengths = [n * s for n, s in zip(shape, spacing, strict=True)]
    zoom = min(target / max(lengths), 8 / min(spacing))
    y, x = (max(round(length * zoom), 1) for length in lengths)
    return y, x


def resize_image(plane: Floats, shape: tuple[int, int]) -> Floats:
    """(y, x) to `shape`: averaged where it shrinks, interpolated where it grows."""
    picture = PIL.Image.fromarray(np.ascontiguousarray(plane, np.float32))
    y, x = shape
    return np.asarray(picture.resize((x, y), PIL.Image.Resampling.BILINEAR), np.float32)


def resize_labels(plane: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """(y, x) to `shape`, the nearest label for each pixel."""
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * (m / n)).astype(np.int64), m - 1)
        for n, m in zip(shape, plane.shape, strict=True)
    )
    resized: NDArray[Any] = plane[rows[:, None], columns]
    return resized


def png(rgb: Rgb) -> bytes:
    """(y, x, 3) as PNG of at most 256 colours: exact if it has no more."""
    flat = rgb.astype(np.uint32)
    keys = (flat[..., 0] << 16) | (flat[..., 1] << 8) | flat[..., 2]
    colours, inverse = np.unique(keys, return_inverse=True)
    if len(colours) <= 256:
        picture = PIL.Image.fromarray(inverse.reshape(keys.shape).astype(np.uint8))
        entries = np.stack([colours >> 16, (colours >> 8) & 255, colours & 255], 1)
        picture.putpalette(entries.astype(np.uint8).tobytes())
    else:
        picture = PIL.Image.fromarray(rgb).quantize(256, dither=PIL.Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def encode(pictures: Sequence[Picture], budget: int) -> list[str]:
    """Pictures as `data:` URLs that together take at most about `budget` characters."""
    encoded = [_url(picture.rgb) for picture in pictures]
    scale = 1.0
    while sum(map(len, encoded)) > budget and scale > SMALLEST:
        # Noise costs the same per pixel at any size, so the area must shrink by the excess.
        scale *= min((budget / sum(map(len, encoded))) ** 0.5, 0.95)
        encoded = [_url(_shrunk(picture.rgb, scale)) for picture in pictures]
    return encoded


def _url(rgb: Rgb) -> str:
    return "data:image/png;base64," + base64.b64encode(png(rgb)).decode()


def _shrunk(rgb: Rgb, scale: float) -> Rgb:
    y, x = (max(round(n * scale), 1) for n in rgb.shape[:2])
    picture = PIL.Image.fromarray(rgb).resize((x, y), PIL.Image.Resampling.BOX)
    return np.asarray(picture)
