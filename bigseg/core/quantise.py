"""Network outputs in eight bits: what the scratch space keeps between `predict` and `label`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.types import Floats

FLOW_STEPS = 100
"""Steps per voxel of flow: a flow of one voxel is 100, the error is at most 0.005 voxels."""
LOGIT_STEPS = 16
"""Steps per unit of logit; the error is at most 1/32, and no value lies on a multiple of 1/16."""
SIGN = np.int8(-128)
BACKGROUND = -4.0
"""Below this logit (a probability of 1.8 %) nothing is kept, so that background compresses."""


def quantise(flows: Floats, logits: Floats) -> NDArray[np.int8]:
    """Pack flows and the logit of cell probability.

    Parameters
    ----------
    flows : (d, …) float32
        Voxels per Euler step.
    logits : (…) float32

    Returns
    -------
    (d + 1, …) int8
        Flows in 1/100 voxel, then logits in 1/16: value v means (v + 0.5) / 16, so thresholds that
        are multiples of 1/16 separate the same voxels as before. The sign bit of logits is flipped,
        so that background is 0 everywhere and its chunks are never stored.
    """
    packed = np.empty((len(flows) + 1, *logits.shape), np.int8)
    background = logits < BACKGROUND
    for axis, flow in enumerate(flows):
        steps = np.rint(flow * FLOW_STEPS)
        np.clip(steps, -127, 127, out=steps)
        steps[background] = 0
        packed[axis] = steps
    steps = np.floor(logits * LOGIT_STEPS)
    np.clip(steps, -127, 127, out=steps)
    steps[background] = -128
    packed[-1] = steps.astype(np.int8) ^ SIGN
    return packed


def unpack(packed: NDArray[Any]) -> tuple[Floats, Floats]:
    """Flows (d, …) and logits (…) of `quantise`; float32 are what they are."""
    if packed.dtype == np.float32:
        return packed[:-1], packed[-1]
    flows = packed[:-1].astype(np.float32)
    flows *= np.float32(1 / FLOW_STEPS)
    logits = (packed[-1] ^ SIGN).astype(np.float32)
    logits += np.float32(0.5)
    logits *= np.float32(1 / LOGIT_STEPS)
    return flows, logits
