"""The motion model that projects masks into the next frame."""

import numpy as np
import pytest

from bigseg.core.tracking.projection import mean_motion, project_mask
from bigseg.errors import ImageError


def test_no_motion_is_known_before_the_second_step() -> None:
    centres = np.array([[0.0, 0.0], [3.0, 1.0]])
    assert mean_motion(centres[:1]).tolist() == [0, 0]
    assert mean_motion(centres).tolist() == [0, 0]


def test_motion_is_the_running_mean_of_steps() -> None:
    centres = np.array([[0.0, 0.0], [9.0, 9.0], [13.0, 9.0], [13.0, 11.0]])
    assert mean_motion(centres[:3]).tolist() == [4, 0]
    assert mean_motion(centres).tolist() == [2, 1]
    assert mean_motion(centres, 0.75).tolist() == [3, 0.5]


def test_a_mask_moves_and_leaves() -> None:
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = mask[3, 0] = True
    moved = project_mask(mask, np.array([1.0, 2.0]))
    assert np.argwhere(moved).tolist() == [[2, 4]]


def test_smoothing_is_a_share() -> None:
    with pytest.raises(ImageError, match=r"smoothed by 2; give a number from 0 to 1"):
        mean_motion(np.zeros((3, 2)), 2)
