"""What output maps mean: how they are packed into eight bits and become objects.

For parity with the originals they are kept as they are.

==========  =====================================================  ==========================
name        outputs of the network                                 published with
==========  =====================================================  ==========================
flows       flow y, flow x, logit of an object[, logits of         Cellpose, Cellpose-SAM,
            two or more classes, the first being background]       Scellseg
hover       vertical and horizontal map, logit of an object        HoVer-Net
borders     logits of background, cell[, border]                   U-Net2, U-Net3
labels      no maps: a function makes objects itself               StarDist, filters
==========  =====================================================  ==========================
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bigseg.core.decode.borders import margins, pack_margins
from bigseg.core.quantise import quantise
from bigseg.types import Floats

Name = Literal["flows", "hover", "borders", "labels"]
Packed = NDArray[np.int8] | NDArray[np.float32]

OUTPUTS = {"flows": (3, None), "hover": (3, 3), "borders": (2, 3), "labels": (0, None)}
"""Fewest and most outputs of a network; None: any number."""
THRESHOLDS = {"flows": 0.0, "hover": 0.5, "borders": 2.0, "labels": 0.0}
"""Published thresholds: the logit of an object (flows, hover), that of cell above background."""


def has_vectors(name: Name) -> bool:
    """Whether the first two outputs point along y and x, so that they turn with the image."""
    return name in ("flows", "hover")


def fits(name: Name, outputs: int) -> bool:
    """Whether a network of so many outputs can mean this."""
    least, most = OUTPUTS[name]
    return least <= outputs and (most is None or outputs <= most)


def count_maps(name: Name, outputs: int, ndim: int) -> int:
    """Packed maps that `pack` makes."""
    if name == "flows":
        return ndim + 1 + (count_classes(name, outputs) > 0)
    return outputs - 1 if name == "borders" else outputs


def count_classes(name: Name, outputs: int) -> int:
    """Semantic classes that a network tells apart, background among them; 0: none.

    A single class is background, of which every object would be one.
    """
    return outputs - 3 if name == "flows" and outputs > 4 else 0


def pack(name: Name, field: Floats, ndim: int, exact: bool = False) -> Packed:
    """Pack output maps.

    Parameters
    ----------
    name
        What they mean.
    field : (k, …) float32
        Vector maps along each axis first, if there are any, then the other outputs.
    ndim
        Axes of an object.
    exact
        Whether values stay float32.

    Returns
    -------
    (maps, …) int8, or float32 if `exact`
        See `core.quantise`. Classes become one map: the number of the largest logit.
    """
    if name == "borders":
        return margins(field) if exact else pack_margins(margins(field))
    vectors = ndim if name == "flows" else 2
    packed = field[: vectors + 1] if exact else quantise(field[:vectors], field[vectors])
    if not count_classes(name, len(field) - vectors + 2):
        return packed
    classes = field[vectors + 1 :].argmax(0).astype(packed.dtype)
    if not exact:
        classes[packed[-1] == 0] = 0  # clearly background: nothing is kept there
    return np.concatenate([packed, classes[None]])
