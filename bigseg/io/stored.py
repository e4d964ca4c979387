"""How much of an image is stored, by a few of its objects."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from bigseg import files
from bigseg.io.store import open_array
from bigseg.io.volume import Volume


def stored_share(volume: Volume, most: int = 64) -> float:
    """Bytes stored for each byte of an image, by some of its objects from all over it."""
    counts = [ceil(n / u) for n, u in zip(volume.level.shape, volume.level.unit, strict=True)]
    url = files.join(volume.image.url, volume.level.path)
    array = open_array(url, format=volume.image.zarr_format)
    numbers = np.unique(np.linspace(0, prod(counts) - 1, most).astype(np.int64))
    found = raw = 0
    for number in numbers.tolist():
        place = tuple(int(i) for i in np.unravel_index(number, counts))
        lengths = (
            min(u, n - i * u)
            for i, u, n in zip(place, volume.level.unit, volume.level.shape, strict=True)
        )
        raw += prod(lengths) * volume.dtype.itemsize
        try:
            found += files.size(files.join(url, array.metadata.encode_chunk_key(place)))
        except FileNotFoundError:  # empty ones are not stored
            continue
    return found / raw if raw else 1.0
