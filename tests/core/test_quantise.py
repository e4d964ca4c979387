"""Eight bits keep flows and logits within stated bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bigseg.core.quantise import quantise, unpack

flows = arrays(np.float32, (2, 9), elements=st.floats(-1.25, 1.25, width=32))
logits = arrays(np.float32, 9, elements=st.floats(-3.875, 7.875, width=32))


@settings(deadline=None)
@given(flows, logits)
def test_errors_are_bounded(flow: np.ndarray, logit: np.ndarray) -> None:
    back_flow, back_logit = unpack(quantise(flow, logit))
    assert np.abs(back_flow - flow).max() <= 0.005 + 1e-6
    assert np.abs(back_logit - logit).max() <= 1 / 32 + 1e-6


@settings(deadline=None)
@given(logits, st.integers(-64, 126))
def test_thresholds_of_sixteenths_part_the_same_voxels(logit: np.ndarray, number: int) -> None:
    threshold = number / 16
    _, back = unpack(quantise(np.zeros((2, 9), np.float32), logit))
    np.testing.assert_array_equal(back > threshold, logit >= threshold)


def test_background_is_zero_and_stays_background() -> None:
    packed = quantise(np.ones((3, 2), np.float32), np.array([-4.1, -90], np.float32))
    assert not packed.any()
    flow, logit = unpack(packed)
    assert not flow.any()
    assert (logit < -4).all()


@pytest.mark.parametrize(("value", "kept"), [(5.0, 1.27), (-5.0, -1.27)])
def test_long_flows_are_clipped(value: float, kept: float) -> None:
    flow, _ = unpack(quantise(np.full((1, 1), value, np.float32), np.zeros(1, np.float32)))
    assert flow[0, 0] == pytest.approx(kept)
